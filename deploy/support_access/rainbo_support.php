<?php
// RAINBO's support access in a PHP application: copy rainbo_*.php into the project, and begin each
// request with it, before any output:
//
//   $rainbo = new RainboSupport([
//       'issuer' => …, 'instance' => 3, // RAINBO's address, and what it calls this instance
//       'keys' => …, 'cache' => …, // their address, and a file to keep them; or their file alone
//       'cookie_key' => getenv('COOKIE_KEY'), // 32 characters or more that nobody knows
//       'pdo' => fn () => new PDO(…), // of the writer
//   ]);
//   $support = $rainbo->begin(); // the session, or null; then sign in its ghost_id
declare(strict_types=1);

require_once __DIR__ . '/rainbo_assertion.php';
require_once __DIR__ . '/rainbo_banner.php';
require_once __DIR__ . '/rainbo_events.php';

final class RainboSupport
{
    private const DEFAULTS = [
        'ghost' => "SELECT 1 FROM users WHERE id = ? AND rainbo_admin_id = ? AND is_ghost_admin"
            . " AND status = 'Active'",
        'tenant' => 'SELECT 1 FROM tenants WHERE id = ?',
        'tenant_of' => null, // a function: the id of the tenant that the request is for, or null
        'protected' => '~passw|e-?mail|two-?factor|2fa|mfa|otp|recovery|token|api-?key~i', // a path
        'base' => '', // the path of the application's root, without a slash at its end
        'home' => '/', // where one arrives, below it
        'secure' => true, // whether browsers reach the application by https alone
        'cache' => null,
        'secret' => '', // of application_secret: with it, RAINBO's trail has what a session did
        'events' => '', // the file where they wait, in a folder that only the application can write
    ];
    private const REDEEM = '
        INSERT INTO rainbo_support_sessions AS known (jti, ghost_id, tenant_id, person, reason,
            ticket, read_only, redeemed_at, active_at, ends_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, now(), now(), now() + make_interval(secs => ?))
        ON CONFLICT (jti) DO UPDATE SET refused = known.refused + 1, refused_at = now()
        RETURNING (refused = 0)::integer AS redeemed';
    private const REQUEST = '
        UPDATE rainbo_support_sessions SET active_at = now(), requests = requests + 1
         WHERE jti = ? AND redeemed_at IS NOT NULL AND ended_at IS NULL AND ends_at > now()
        RETURNING jti::text, ghost_id, tenant_id, person, reason, read_only::integer,
                  ceil(extract(epoch FROM ends_at - now()) / 60)::integer AS minutes';
    private const BLOCK = 'UPDATE rainbo_support_sessions SET blocked = blocked + 1 WHERE jti = ?';
    private const END = "UPDATE rainbo_support_sessions SET ended_at = now(),
        ended_by = 'the person' WHERE jti = ? AND ended_at IS NULL";
    private const COOKIE = 'rainbo_support';

    private array $options;
    private ?PDO $pdo = null;
    private string $method;
    private ?array $session = null;
    private ?RainboReporter $reporter = null;

    public function __construct(array $given)
    {
        $this->options = $given + self::DEFAULTS;
        $this->method = $_SERVER['REQUEST_METHOD'];
        if (strlen((string) ($given['cookie_key'] ?? '')) < 32) {
            throw new LogicException('RainboSupport: cookie_key needs 32 characters or more');
        }
        ['issuer' => $issuer, 'secret' => $secret, 'events' => $file] = $this->options;
        if ($secret) {
            $instance = $this->options['instance'];
            $this->reporter = new RainboReporter(rtrim($issuer, '/'), $instance, $secret, $file);
        }
    }

    /** The session of this request, or null. A request that may not go on is answered here. */
    public function begin(): ?array
    {
        $path = substr(explode('?', $_SERVER['REQUEST_URI'])[0], strlen($this->options['base']));
        try {
            if ($path === '/rainbo/enter') {
                $this->enter();
            }
            return isset($_COOKIE[self::COOKIE]) ? $this->inside(rawurldecode($path)) : null;
        } catch (RainboRefused $error) {
            error_log('support access refused: ' . $error->getMessage());
            $this->answer(403, 'Support access was refused. Enter again from RAINBO.');
        } catch (PDOException | RainboUnavailable $error) {
            error_log('support access is unavailable: ' . strtok($error->getMessage(), "\n"));
            $this->answer(503, 'Support access is unavailable now. Try again in a minute.');
        }
    }

    /** Have RAINBO's trail name an action of this session, such as invoice.viewed. */
    public function report(string $action, string $text = ''): void
    {
        $this->session && $this->reporter?->add($this->session, $action, $text);
    }

    private function enter(): never
    {
        $form = file_get_contents('php://input', false, null, 0, 16385);
        if ($this->method !== 'POST') {
            $this->answer(405, 'A form is sent here by RAINBO.');
        }
        $count = substr_count("&$form", '&assertion=');
        $given = $_POST['assertion'] ?? null;
        if (strlen($form) > 16384 || $count !== 1 || !is_string($given)) {
            throw new RainboRefused('no assertion, or a body that is too large');
        }
        $keys = new RainboKeys($this->options['keys'], $this->options['cache']);
        ['issuer' => $issuer, 'instance' => $instance] = $this->options;
        $claims = rainbo_verify($given, $keys, rtrim($issuer, '/'), $instance, microtime(true));
        ['jti' => $jti, 'sub' => $ghost, 'act' => $act, 'tenant' => $tenant] = $claims;
        if (!$this->execute($this->options['ghost'], $ghost, $act['sub'])) {
            throw new RainboRefused("$jti: no such active ghost user here");
        }
        if (!$this->execute($this->options['tenant'], $tenant)) {
            throw new RainboRefused("$jti: no such tenant here");
        }
        $rest = [$claims['ticket'], (int) $claims['read_only'], $claims['session_seconds']];
        $stored = [$jti, $ghost, $tenant, $act['name'], $claims['reason'], ...$rest];
        if ($this->execute(self::REDEEM, ...$stored)[0]['redeemed'] !== 1) {
            throw new RainboRefused("$jti: it was used or ended before");
        }
        $this->setCookie($this->sign($jti));
        header('Location: ' . $this->options['base'] . $this->options['home']);
        $this->answer(303, 'The support session begins.');
    }

    private function inside(string $path): array
    {
        $cookie = is_string($_COOKIE[self::COOKIE]) ? $_COOKIE[self::COOKIE] : '';
        $jti = explode('.', $cookie)[0];
        $isOurs = hash_equals($this->sign($jti), $cookie);
        $session = $isOurs ? $this->execute(self::REQUEST, $jti)[0] ?? null : null;
        $ends = $path === '/rainbo/end' && $this->method === 'POST';
        if ($session === null || $ends) {
            $session === null || $this->execute(self::END, $jti);
            $this->setCookie('', 1);
            $this->answer($session ? 200 : 403, 'The support session is over.');
        }
        // The browser may have a page from before the session: it has no banner.
        unset($_SERVER['HTTP_IF_NONE_MATCH'], $_SERVER['HTTP_IF_MODIFIED_SINCE']);
        rainbo_place_banner($session, $this->options['base']);
        $this->session = $session;
        $why = $this->whyBlocked($path, $session);
        $kind = $why === '' ? 'request' : 'blocked';
        register_shutdown_function(function () use ($kind, $path): void {
            $this->report("$kind.$this->method", http_response_code() . " $path");
            function_exists('fastcgi_finish_request') && fastcgi_finish_request();
            $this->reporter?->send();
        });
        if ($why !== '') {
            $this->execute(self::BLOCK, $jti);
            $this->answer(403, $why);
        }
        return $session;
    }

    private function whyBlocked(string $path, array $session): string
    {
        $tenant = $this->options['tenant_of'] ? $this->options['tenant_of']() : null;
        if ($tenant !== null && $tenant !== $session['tenant_id']) {
            return 'The support session is for another tenant.';
        }
        if (preg_match($this->options['protected'], $path)) {
            return 'Support sessions have no access to passwords, e-mail, factors and tokens.';
        }
        $isSafe = !$session['read_only'] || in_array($this->method, ['GET', 'HEAD', 'OPTIONS']);
        return $isSafe ? '' : 'The support session is read-only: nothing was changed.';
    }

    private function execute(string $statement, mixed ...$values): array
    {
        $this->pdo ??= $this->options['pdo']();
        $prepared = $this->pdo->prepare($statement);
        $prepared->execute($values);
        return $prepared->columnCount() ? $prepared->fetchAll(PDO::FETCH_ASSOC) : [];
    }

    private function sign(string $jti): string
    {
        $text = "rainbo_support:{$this->options['instance']}:$jti";
        return "$jti." . hash_hmac('sha256', $text, $this->options['cookie_key']);
    }

    private function setCookie(string $value, int $expires = 0): void
    {
        $kept = ['path' => $this->options['base'] . '/', 'secure' => $this->options['secure']];
        $kept += ['expires' => $expires, 'httponly' => true, 'samesite' => 'Lax'];
        setcookie(self::COOKIE, $value, $kept);
    }

    private function answer(int $status, string $text): never
    {
        http_response_code($status);
        header('Content-Type: text/html; charset=utf-8');
        header('Cache-Control: no-store');
        echo "<!DOCTYPE html><html lang=\"en\"><title>Support access</title><body><p>$text</p>";
        exit;
    }
}
