// Verifies the assertions by which RAINBO lets support in: copy it next to rainbo_support.cjs.
// It needs Node 18 or newer and no package. Redeeming comes after it.
'use strict';

const crypto = require('node:crypto');
const { readFile } = require('node:fs/promises');

const TYPES = {
  iss: 'string', aud: 'string', sub: 'string', act: 'object', tenant: 'string', reason: 'string',
  ticket: 'string', read_only: 'boolean', session_seconds: 'number', jti: 'string', iat: 'number',
  nbf: 'number', exp: 'number',
};
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

class Refused extends Error {} // nobody is let in; its text is for the log
class Unavailable extends Error {} // RAINBO's keys can't be had now

// RAINBO's public keys: of a file, or fetched and kept for five minutes.
class Keys {
  constructor(place) {
    this.place = place;
    this.isFile = !/^https?:\/\//.test(place);
    if (/^http:\/\/(?!(localhost|127\.0\.0\.1|\[::1\])[:/])/.test(place)) {
      throw new Error("RAINBO's keys: fetch them with https");
    }
    this.known = new Map();
    this.fetched = this.tried = -Infinity;
    this.reading = null;
  }

  // The public key, undefined if there is none. Throws Unavailable.
  async find(kid) {
    const now = performance.now() / 1000;
    const isFresh = () => !this.isFile && now - this.fetched < 300;
    const hasWaited = this.isFile || now - this.tried >= (isFresh() ? 60 : 5);
    if (!this.reading && hasWaited && !(isFresh() && this.known.has(kid))) {
      if (isFresh()) this.tried = now; // an unknown key
      this.reading = this.read().finally(() => { this.reading = null; });
    }
    let failed = false;
    if (this.reading && !(isFresh() && this.known.has(kid))) {
      await this.reading.catch((error) => {
        failed = true;
        this.tried = now;
        console.error(`RAINBO's keys (${this.place}) could not be read: ${error.message}`);
      });
    }
    if (this.isFile ? failed : !isFresh()) throw new Unavailable("RAINBO's keys");
    return this.known.get(kid);
  }

  async read() {
    const text = this.isFile ? await readFile(this.place, 'utf8') : await this.fetch();
    const keys = JSON.parse(text).keys.filter((jwk) => jwk.kty === 'OKP' && jwk.crv === 'Ed25519');
    const pairs = keys.map((jwk) => [jwk.kid, crypto.createPublicKey({ key: jwk, format: 'jwk' })]);
    this.known = new Map(pairs);
    this.fetched = performance.now() / 1000;
  }

  async fetch() {
    const signal = AbortSignal.timeout(5000);
    const answer = await fetch(this.place, { redirect: 'error', signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.text();
  }
}

function parse(part) {
  const found = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  if (found === null || typeof found !== 'object') throw new Refused('no object');
  return found;
}

function isOfType(value, type) {
  const isRight = typeof value === type && value !== null;
  return isRight && (type !== 'number' || Number.isSafeInteger(value));
}

// The claims of an assertion that is right. now: in seconds. Throws Refused, Unavailable.
async function verify(token, keys, issuer, instance, now) {
  if (token.length > 8192 || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    throw new Refused('not a signed token');
  }
  const [head, body, signature] = token.split('.');
  let claims;
  try {
    const header = parse(head);
    if (Object.keys(header).sort().join() !== 'alg,kid,typ') {
      throw new Refused('another header than RAINBO writes');
    }
    if (header.typ !== 'rainbo-support+jwt' || !['EdDSA', 'Ed25519'].includes(header.alg)) {
      throw new Refused("another type or algorithm than RAINBO's");
    }
    const key = await keys.find(header.kid);
    if (!key) throw new Refused('an unknown key');
    const signed = Buffer.from(`${head}.${body}`);
    if (!crypto.verify(null, signed, key, Buffer.from(signature, 'base64url'))) {
      throw new Refused('a wrong signature');
    }
    claims = parse(body);
  } catch (error) {
    if (error instanceof Refused || error instanceof Unavailable) throw error;
    throw new Refused(`not signed by RAINBO: ${error.name}`);
  }
  const wrong = Object.keys(TYPES).filter((name) => !isOfType(claims[name], TYPES[name]));
  if (wrong.length || !isOfType(claims.act.sub, 'string') || !isOfType(claims.act.name, 'string')) {
    throw new Refused(`claims are missing or of another type: ${wrong.join() || 'act'}`);
  }
  if (claims.iss !== issuer || claims.aud !== `instance:${instance}`) {
    throw new Refused(`of ${claims.iss}, for ${claims.aud}: see issuer and instance`);
  }
  const reason = [...claims.reason].length;
  const lengths = reason >= 10 && reason <= 500 && [...claims.ticket].length <= 100;
  if (!lengths || !UUID.test(claims.jti) || !claims.sub || !claims.tenant) {
    throw new Refused('a claim is out of bounds');
  }
  const seconds = claims.session_seconds;
  if (seconds < 60 || seconds > 3600 || claims.exp - claims.iat > 60) {
    throw new Refused('valid for longer than RAINBO makes any');
  }
  if (now < claims.nbf - 5 || now > claims.exp + 5) {
    throw new Refused("expired or not valid yet: compare this server's clock with RAINBO's");
  }
  return claims;
}

// Of a form that a body parser has read, or that is still to be read.
async function readAssertion(req) {
  if (req.body && typeof req.body.assertion === 'string') return req.body.assertion;
  let body = '';
  for await (const chunk of req) {
    body += chunk;
    if (body.length > 16384) throw new Refused('a body that is too large');
  }
  const found = new URLSearchParams(body).getAll('assertion');
  if (found.length !== 1) throw new Refused('no assertion');
  return found[0];
}

module.exports = { Keys, Refused, Unavailable, readAssertion, verify };
