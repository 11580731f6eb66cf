// RAINBO's support access in an Express application (or one like it): copy rainbo_*.cjs into the
// project, and use it before all routes, after compression:
//
//   app.use(supportAccess({
//     issuer: 'https://rainbo.example.com', // RAINBO's address
//     instance: 3, // what RAINBO calls this instance
//     keys: 'https://rainbo.example.com/.well-known/jwks.json', // or a file of support_keys
//     cookieKey: process.env.COOKIE_KEY, // 32 characters or more that nobody knows
//     query: (sql, values) => pool.query(sql, values), // of the writer; `pg` has it
//   }));
//
// DEFAULTS has what else can be set. Routes find the session in req.support, or null there.
'use strict';

const crypto = require('node:crypto');
const { Keys, Refused, readAssertion, verify } = require('./rainbo_assertion.cjs');
const { placeBanner } = require('./rainbo_banner.cjs');
const { Reporter } = require('./rainbo_events.cjs');

const DEFAULTS = {
  ghost: "SELECT 1 FROM users WHERE id = $1 AND rainbo_admin_id = $2 AND is_ghost_admin"
    + " AND status = 'Active'",
  tenant: 'SELECT 1 FROM tenants WHERE id = $1',
  tenantOf: () => null, // the id of the tenant that a request is for, as text
  protected: /passw|e-?mail|two-?factor|2fa|mfa|otp|recovery|token|api-?key/i, // in a path
  signIn: (req) => { req.user = { id: req.support.ghost_id }; },
  base: '', // the path of the application's root, without a slash at its end
  home: '/', // where one arrives, below it
  secure: true, // whether browsers reach the application by https alone
  secret: '', // of application_secret: with it, RAINBO's trail has what a session did
};
const REDEEM = `
  INSERT INTO rainbo_support_sessions AS known
      (jti, ghost_id, tenant_id, person, reason, ticket, read_only, redeemed_at, active_at, ends_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now(), now() + make_interval(secs => $8))
  ON CONFLICT (jti) DO UPDATE SET refused = known.refused + 1, refused_at = now()
  RETURNING refused = 0 AS redeemed`;
const REQUEST = `
  UPDATE rainbo_support_sessions SET active_at = now(), requests = requests + 1
   WHERE jti = $1 AND redeemed_at IS NOT NULL AND ended_at IS NULL AND ends_at > now()
  RETURNING jti::text, ghost_id, tenant_id, person, reason, read_only,
            ceil(extract(epoch FROM ends_at - now()) / 60)::integer AS minutes`;
const BLOCK = 'UPDATE rainbo_support_sessions SET blocked = blocked + 1 WHERE jti = $1';
const END = `UPDATE rainbo_support_sessions SET ended_at = now(), ended_by = 'the person'
              WHERE jti = $1 AND ended_at IS NULL`;
const COOKIE = 'rainbo_support';

function supportAccess(given) {
  const options = { ...DEFAULTS, ...given };
  if (String(options.cookieKey || '').length < 32) {
    throw new Error('supportAccess: cookieKey needs 32 characters or more');
  }
  const keys = new Keys(options.keys);
  const issuer = options.issuer.replace(/\/+$/, '');
  const rows = async (sql, ...values) => (await options.query(sql, values)).rows;
  const { instance, secret } = options;
  const reporter = secret ? new Reporter(issuer, instance, secret) : { add() {} };

  function signed(jti) {
    const mac = crypto.createHmac('sha256', options.cookieKey);
    return `${jti}.${mac.update(`rainbo_support:${instance}:${jti}`).digest('base64url')}`;
  }

  function jtiOf(cookie) {
    const jti = cookie.split('.')[0];
    const [found, right] = [Buffer.from(cookie), Buffer.from(signed(jti))];
    return found.length === right.length && crypto.timingSafeEqual(found, right) ? jti : null;
  }

  function setCookie(res, value, rest = '') {
    const flags = `HttpOnly; SameSite=Lax${options.secure ? '; Secure' : ''}${rest}`;
    res.setHeader('Set-Cookie', `${COOKIE}=${value}; Path=${options.base}/; ${flags}`);
  }

  async function enter(req, res) {
    if (req.method !== 'POST') return page(res, 405, 'A form is sent here by RAINBO.');
    const assertion = await readAssertion(req);
    const claims = await verify(assertion, keys, issuer, instance, Date.now() / 1000);
    const { jti, sub, act, tenant } = claims;
    if (!(await rows(options.ghost, sub, act.sub)).length) {
      throw new Refused(`${jti}: no such active ghost user here`);
    }
    if (!(await rows(options.tenant, tenant)).length) {
      throw new Refused(`${jti}: no such tenant here`);
    }
    const rest = [claims.reason, claims.ticket, claims.read_only, claims.session_seconds];
    const [answer] = await rows(REDEEM, jti, sub, tenant, act.name, ...rest);
    if (answer.redeemed !== true) throw new Refused(`${jti}: it was used or ended before`);
    setCookie(res, signed(jti));
    res.setHeader('Location', options.base + options.home);
    return page(res, 303, 'The support session begins.');
  }

  // Whether the request may go on; otherwise it is answered.
  async function inside(req, res, path, cookie) {
    const jti = jtiOf(cookie);
    const [session] = jti ? await rows(REQUEST, jti) : [];
    const ends = path === '/rainbo/end' && req.method === 'POST';
    if (!session || ends) {
      if (session) await rows(END, jti);
      setCookie(res, '', '; Max-Age=0');
      page(res, session ? 200 : 403, 'The support session is over.');
      return false;
    }
    req.support = session;
    // The browser may have a page from before the session: it has no banner.
    for (const name of ['if-none-match', 'if-modified-since']) delete req.headers[name];
    session.report = (action, text) => reporter.add(session, action, text);
    placeBanner(res, session, options.base);
    const why = whyBlocked(req, path);
    const kind = why ? 'blocked' : 'request';
    res.on('close', () => session.report(`${kind}.${req.method}`, `${res.statusCode} ${path}`));
    if (why) {
      await rows(BLOCK, jti);
      page(res, 403, why);
      return false;
    }
    await options.signIn(req);
    return true;
  }

  function whyBlocked(req, path) {
    const tenant = options.tenantOf(req);
    if (tenant != null && tenant !== req.support.tenant_id) {
      return 'The support session is for another tenant.';
    }
    if (path.search(options.protected) >= 0) { // whatever its flags are
      return 'Support sessions have no access to passwords, e-mail, factors and tokens.';
    }
    const isSafe = !req.support.read_only || ['GET', 'HEAD', 'OPTIONS'].includes(req.method);
    return isSafe ? '' : 'The support session is read-only: nothing was changed.';
  }

  return async function support(req, res, next) {
    req.support = null;
    try {
      const path = (req.originalUrl || req.url).split('?')[0].slice(options.base.length);
      const cookie = new RegExp(`(?:^|;) *${COOKIE}=([^;]*)`).exec(req.headers.cookie || '');
      if (path === '/rainbo/enter') return await enter(req, res);
      if (cookie && !(await inside(req, res, decoded(path), cookie[1].trim()))) return undefined;
    } catch (error) {
      const isRefused = error instanceof Refused;
      console.error(`support access: ${error.message.split('\n')[0]}`);
      if (isRefused) return page(res, 403, 'Support access was refused. Enter again from RAINBO.');
      return page(res, 503, 'Support access is unavailable now. Try again in a minute.');
    }
    return next();
  };
}

function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new Refused('an address that can not be decoded');
  }
}

function page(res, status, text) {
  res.statusCode = status;
  res.setHeader('Content-Type', 'text/html; charset=utf-8');
  res.setHeader('Cache-Control', 'no-store');
  res.end(`<!DOCTYPE html><html lang="en"><title>Support access</title><body><p>${text}</p>`);
}

module.exports = { supportAccess };
