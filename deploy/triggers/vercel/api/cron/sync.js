// Called by Vercel on the schedule of vercel.json; passes the call on to RAINBO. Variables of the
// project: CRON_SECRET (Vercel sends it), API_URL (where RAINBO serves), ADMIN_KEY (a token), and
// SYNC_PATH, default: /admin/model-sync/all.
import { createHash, timingSafeEqual } from 'node:crypto';

const digest = (text) => createHash('sha256').update(text).digest();

function mayCall(request) {
  const secret = process.env.CRON_SECRET;
  const given = request.headers.authorization ?? '';
  return Boolean(secret) && timingSafeEqual(digest(given), digest(`Bearer ${secret}`));
}

export default async function handler(request, response) {
  if (!mayCall(request)) {
    response.setHeader('WWW-Authenticate', 'Bearer');
    return response.status(401).json({ success: false, error: 'Unauthorized' });
  }
  const base = (process.env.API_URL ?? 'http://localhost:8000').replace(/\/+$/, '');
  try {
    const answer = await fetch(base + (process.env.SYNC_PATH ?? '/admin/model-sync/all'), {
      method: 'POST',
      headers: { Authorization: `Bearer ${process.env.ADMIN_KEY}` },
      redirect: 'error',
      signal: AbortSignal.timeout(50_000),
    });
    const result = await answer.json();
    // 202: the sync goes on by itself. RAINBO's own status is passed on, so that a failure shows.
    const failed = !answer.ok || result.success === false;
    return response.status(failed && answer.ok ? 502 : answer.status).json({
      success: failed ? false : result.success,
      timestamp: new Date().toISOString(),
      sync_result: result,
    });
  } catch (error) {
    console.error('RAINBO did not answer:', error.name);
    return response.status(502).json({ success: false, error: 'RAINBO did not answer' });
  }
}
