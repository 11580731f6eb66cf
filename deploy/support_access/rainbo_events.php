<?php
// Reports what is done in support sessions to RAINBO: copy it next to rainbo_support.php.
//
// Events wait in a file, and are sent when a request has been answered; those that could not be
// sent go with the next request of a support session.
declare(strict_types=1);

final class RainboReporter
{
    private const MOST = 1_000_000; // bytes that wait; what comes then is lost
    private const AT_ONCE = 20; // events in one request: they fit into 64 KiB, whatever they say
    private const PAUSE = 10; // seconds after a request that failed

    /**
     * $issuer: RAINBO's address. $secret: of this instance (manage.py application_secret).
     * $file: where events wait, in a folder that only the application can write.
     */
    public function __construct(
        private string $issuer,
        private int $instance,
        private string $secret,
        private string $file
    ) {
        if (!preg_match('~^(https://|http://(localhost|127\.0\.0\.1|\[::1\])([:/]|$))~', $issuer)) {
            throw new LogicException("RAINBO's events: send them with https");
        }
    }

    /** Report an action of a session, such as invoice.viewed. */
    public function add(array $session, string $action, string $text = ''): void
    {
        $shown = preg_replace('/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u', ' ', $text);
        $named = preg_replace('/[^a-z0-9._:-]/', '_', strtolower($action));
        preg_match('/^.{0,500}/u', $shown ?? 'no UTF-8', $start);
        $now = new DateTimeImmutable('now', new DateTimeZone('UTC'));
        $event = [
            'id' => bin2hex(random_bytes(16)),
            'at' => $now->format('Y-m-d\TH:i:s.vP'),
            'action' => substr($named, 0, 100) ?: 'unnamed',
            'session' => $session['jti'],
            'tenant' => $session['tenant_id'],
            'user' => $session['ghost_id'],
            'text' => $start[0],
        ];
        clearstatcache(true, $this->file);
        if ((@filesize($this->file) ?: 0) > self::MOST) {
            error_log('an event of a support session is lost: too many wait already');
            return;
        }
        $line = json_encode($event, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES) . "\n";
        if (!@file_put_contents($this->file, $line, FILE_APPEND | LOCK_EX)) {
            error_log('an event of a support session is lost: its file can not be written');
        }
    }

    /** Send what waits. One process does so at a time. */
    public function send(): void
    {
        $turn = @fopen("$this->file.turn", 'c+');
        $isOurs = $turn && flock($turn, LOCK_EX | LOCK_NB);
        if (!$isOurs || time() < (int) stream_get_contents($turn)) { // another does, or one failed
            return;
        }
        while ($lines = $this->first()) {
            if (!$this->post('{"events":[' . implode(',', array_map('trim', $lines)) . ']}')) {
                rewind($turn);
                fwrite($turn, (string) (time() + self::PAUSE));
                return;
            }
            $this->first(strlen(implode('', $lines)));
        }
    }

    /** The lines that wait longest, after so many bytes are removed; others append meanwhile. */
    private function first(int $removed = 0): array
    {
        $file = fopen($this->file, 'c+');
        flock($file, LOCK_EX);
        $text = stream_get_contents($file, -1, $removed);
        if ($removed) {
            ftruncate($file, 0);
            rewind($file);
            fwrite($file, $text);
        }
        fclose($file);
        preg_match_all('/.+\n/', $text, $found);
        return array_slice($found[0], 0, self::AT_ONCE);
    }

    /** Whether RAINBO has answered, and would not answer otherwise the next time. */
    private function post(string $body): bool
    {
        $at = (string) time();
        $headers = [
            'Content-Type: application/json',
            "X-Rainbo-Instance: $this->instance",
            "X-Rainbo-Timestamp: $at",
            'X-Rainbo-Signature: v1=' . hash_hmac('sha256', "$at.$body", $this->secret),
        ];
        $sent = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'timeout' => 3];
        $sent += ['follow_location' => 0, 'ignore_errors' => true];
        @file_get_contents(
            "$this->issuer/api/v1/activity",
            false,
            stream_context_create(['http' => $sent])
        );
        preg_match('~^HTTP/\S+ (\d+)~', $http_response_header[0] ?? '', $found);
        $status = (int) ($found[1] ?? 0);
        if ($status !== 200) {
            error_log("RAINBO did not take events: status $status");
        }
        return $status !== 0 && $status !== 429 && $status < 500;
    }
}
