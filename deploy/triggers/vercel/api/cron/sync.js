// Called by Vercel on the schedule of vercel.json; passes the call on to RAINBO. Variables of the
// project: CRON_SECRET (Vercel sends it) and ADMIN_KEY (a token); API_URL and SYNC_PATH, instead of
// the address and the sync below.
import { createHash, timingSafeEqual } from 'node:crypto';

const apiUrl = process.env.API_URL || 'https://rainbo.example.com';
const syncPath = process.env.SYNC_PATH || '/admin/model-sync/all';

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
  try {
    const answer = await fetch(apiUrl.replace(/\/+$/, '') + syncPath, {
      method: 'POST',
      headers: { Authorization: `Bearer ${process.env.ADMIN_KEY}` },
      redirect: 'error',
      signal: AbortSignal.timeout(50_000),
    });
    const result = await answer.json();
    // 202: the sync goes on by itself. Other than that only a success may look like one: neither a
    // failure nor that nothing was connected, or that a run was skipped.
    const isDone = answer.status === 202 || result.success === true;
    return response.status(answer.ok && !isDone ? 502 : answer.status).json({
      success: answer.ok ? result.success : false,
      timestamp: new Date().toISOString(),
      sync_result: result,
    });
  } catch (error) {
    console.error('RAINBO did not answer:', error.name);
    return response.status(502).json({ success: false, error: 'RAINBO did not answer' });
  }
}
