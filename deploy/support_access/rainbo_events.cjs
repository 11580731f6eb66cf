// Reports what is done in support sessions to RAINBO: copy it next to rainbo_support.cjs.
//
// No request waits for RAINBO: events wait in memory until they are sent. A process that is killed
// loses those of the last seconds.
'use strict';

const crypto = require('node:crypto');

const MOST = 1000; // events that wait; what comes then is lost
const AT_ONCE = 20; // in one request: they fit into 64 KiB, whatever they say
const [PAUSE, LONGEST_PAUSE] = [2000, 60000]; // from one request to the next; after it failed

class Reporter {
  // issuer: RAINBO's address. secret: of this instance (manage.py application_secret).
  constructor(issuer, instance, secret) {
    if (!/^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1|\[::1\])([:/]|$))/.test(issuer)) {
      throw new Error("RAINBO's events: send them with https");
    }
    Object.assign(this, { address: `${issuer}/api/v1/activity`, instance, secret });
    this.events = [];
    this.pause = PAUSE;
    this.timer = null;
  }

  // Report an action of a session, such as invoice.viewed.
  add(session, action, text = '') {
    if (this.events.length >= MOST) {
      console.error(`an event of a support session is lost: ${MOST} wait already`);
      return;
    }
    const named = String(action).toLowerCase().replace(/[^a-z0-9._:-]/g, '_');
    const shown = [...String(text).replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, ' ')];
    this.events.push({
      id: crypto.randomUUID(),
      at: new Date().toISOString(),
      action: named.slice(0, 100) || 'unnamed',
      session: session.jti,
      tenant: session.tenant_id,
      user: session.ghost_id,
      text: shown.slice(0, 500).join(''),
    });
    if (!this.timer) this.timer = setTimeout(() => this.send(), 100);
  }

  async send() {
    const batch = this.events.slice(0, AT_ONCE);
    const isDone = await this.post(JSON.stringify({ events: batch }));
    if (isDone) this.events.splice(0, batch.length);
    this.pause = isDone ? PAUSE : Math.min(this.pause * 2, LONGEST_PAUSE);
    this.timer = this.events.length ? setTimeout(() => this.send(), this.pause) : null;
  }

  // Whether RAINBO has answered, and would not answer otherwise the next time.
  async post(body) {
    const at = String(Math.floor(Date.now() / 1000));
    const mac = crypto.createHmac('sha256', this.secret).update(`${at}.${body}`).digest('hex');
    const headers = {
      'Content-Type': 'application/json',
      'X-Rainbo-Instance': String(this.instance),
      'X-Rainbo-Timestamp': at,
      'X-Rainbo-Signature': `v1=${mac}`,
    };
    const signal = AbortSignal.timeout(5000);
    let status = 0;
    try {
      const sent = { method: 'POST', headers, body, redirect: 'manual', signal };
      const answer = await fetch(this.address, sent);
      status = answer.status;
      await answer.arrayBuffer();
      if (answer.ok) return true;
    } catch (error) {
      console.error(`RAINBO did not take events: ${error.name}`);
      return false;
    }
    console.error(`RAINBO did not take events: ${status}`);
    return status !== 429 && status < 500;
  }
}

module.exports = { Reporter };
