// The banner on the pages of a support session: copy it next to rainbo_support.cjs.
'use strict';

// Put the banner on a page; the browser stores nothing of a support session.
function placeBanner(res, session, base) {
  const { write, end, writeHead } = res;
  const parts = [];
  const isPage = () => /^text\/html/i.test(res.getHeader('content-type') || '');
  const keep = (chunk, encoding) => {
    if (chunk && typeof chunk !== 'function') parts.push(Buffer.from(chunk, encoding));
  };
  res.writeHead = (status, ...rest) => {
    res.statusCode = status;
    const given = rest.find((one) => one && typeof one === 'object') || {};
    const pairs = Array.isArray(given) ? inPairs(given) : Object.entries(given);
    for (const [name, value] of pairs) res.setHeader(name, value);
    return res;
  };
  res.write = (...given) => {
    if (!isPage()) return write.apply(res, given);
    keep(given[0], given[1]);
    const done = given.find((one) => typeof one === 'function');
    if (done) process.nextTick(done);
    return true;
  };
  res.end = (...given) => {
    Object.assign(res, { write, end, writeHead });
    if (!res.headersSent) res.setHeader('Cache-Control', 'no-store');
    if (!isPage()) return end.apply(res, given);
    keep(given[0], given[1]);
    const text = Buffer.concat(parts).toString('latin1'); // byte for byte, whatever they mean
    const tag = /<body[^>]*>/i.exec(text);
    const isWhole = tag || /<(!doctype|html)/i.test(text);
    const at = tag ? tag.index + tag[0].length : text.length;
    const made = isWhole ? text.slice(0, at) + banner(session, base) + text.slice(at) : text;
    if (!res.headersSent) res.setHeader('Content-Length', made.length);
    const done = given.find((one) => typeof one === 'function');
    return end.call(res, Buffer.from(made, 'latin1'), done);
  };
}

// Of headers in one list: a name, its value, a name, …
function inPairs(list) {
  return list.flatMap((name, at) => (at % 2 ? [] : [[name, list[at + 1]]]));
}

function banner(session, base) {
  const named = (sign) => `&#${sign.codePointAt(0)};`;
  const safe = (text) => text.replace(/[&<>"']|[^\x20-\x7e]/gu, named);
  return '<aside id="rainbo-support" role="status" style="position:sticky;top:0;z-index:9999;'
    + 'padding:.5rem 1rem;background:#7a1f1f;color:#fff;font:1rem/1.5 sans-serif">Support session'
    + ` of ${safe(session.person)} in tenant ${safe(session.tenant_id)}, `
    + `${session.read_only ? 'read-only, ' : ''}ends in ${session.minutes} min: `
    + `${safe(session.reason)} <form method="post" action="${base}/rainbo/end" `
    + 'style="display:inline"><button>end now</button></form></aside>';
}

module.exports = { placeBanner };
