// A small application of one instance: a tenant's page, a form, a password. Arguments: its port.
'use strict';

const http = require('node:http');
const { Pool } = require('pg');
const { supportAccess } = require(`${process.env.SUPPORT_ACCESS}/rainbo_support.cjs`);

const { name, ...known } = JSON.parse(process.env.APPLICATION_DATABASE);
const pool = new Pool({ ...known, database: name, connectionTimeoutMillis: 5000 });
pool.on('error', () => {}); // of an idle connection: the next query opens another one

const support = supportAccess({
  issuer: process.env.APPLICATION_ISSUER,
  instance: Number(process.env.APPLICATION_INSTANCE),
  keys: process.env.APPLICATION_KEYS,
  cookieKey: process.env.APPLICATION_SECRET_KEY,
  query: (sql, values) => pool.query(sql, values),
  tenantOf: (req) => (/^\/tenants\/([^/]+)/.exec(req.url) || [])[1],
  secure: false,
  secret: process.env.APPLICATION_EVENT_SECRET,
});

async function formOf(req) {
  let body = '';
  for await (const chunk of req) body += chunk;
  return new URLSearchParams(body);
}

async function answer(req, res) {
  const path = req.url.split('?')[0];
  res.setHeader('Content-Type', 'text/html; charset=utf-8');
  if (!req.support) {
    res.statusCode = 401;
    res.end('<!DOCTYPE html><title>Sign in</title><body><p>Sign in');
    return;
  }
  const { tenant_id: tenant } = req.support;
  if (path === '/') {
    res.writeHead(302, ['Location', `/tenants/${tenant}/`]).end();
  } else if (path === '/tenants.json') {
    res.setHeader('Content-Type', 'application/json');
    res.end('{"tenant": "<body>"}');
  } else if (path === `/tenants/${tenant}/locations` && req.method === 'POST') {
    const form = await formOf(req);
    const values = [tenant, form.get('name')];
    req.support.report('location.added', form.get('name'));
    await pool.query('INSERT INTO locations (tenant_id, name) VALUES ($1, $2)', values);
    res.writeHead(302, { Location: `/tenants/${tenant}/` }).end();
  } else if (req.headers['if-none-match']) {
    res.writeHead(304).end();
  } else {
    const { rows } = await pool.query('SELECT name FROM tenants WHERE id = $1', [tenant]);
    const head = `<!DOCTYPE html><html lang="en"><title>${rows[0].name}</title><body class="wide">`;
    await new Promise((written) => { res.write(head, written); });
    res.end(`<h1>${rows[0].name}</h1><p>user ${req.user.id}</p></body></html>`);
  }
}

http.createServer((req, res) => {
  const failed = () => { res.statusCode = 500; res.end(); };
  support(req, res, () => answer(req, res).catch(failed));
}).listen(Number(process.argv[2]), '127.0.0.1');
