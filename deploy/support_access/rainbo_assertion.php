<?php
// Verifies the assertions by which RAINBO lets support in: copy it next to rainbo_support.php.
// It needs PHP 8.1 or newer with sodium, and no package. Redeeming comes after it.
declare(strict_types=1);

final class RainboRefused extends RuntimeException {} // nobody is let in; its text is for the log
final class RainboUnavailable extends RuntimeException {} // RAINBO's keys can't be had now

/** RAINBO's public keys: of a file, or fetched and kept for five minutes in the file $cache. */
final class RainboKeys
{
    private bool $isFile;

    public function __construct(private string $place, private ?string $cache = null)
    {
        $this->isFile = !preg_match('~^https?://~', $place);
        if (preg_match('~^http://(?!(localhost|127\.0\.0\.1|\[::1\])[:/])~', $place)) {
            throw new LogicException("RAINBO's keys: fetch them with https");
        }
        if (!$this->isFile && $cache === null) {
            throw new LogicException("RAINBO's keys: name a cache in a folder of the application");
        }
    }

    /** The public key, null if there is none. Throws RainboUnavailable. */
    public function find(string $kid): ?string
    {
        if ($this->isFile) {
            return ($this->read() ?? throw new RainboUnavailable())[$kid] ?? null;
        }
        $file = fopen($this->cache, 'c+') ?: throw new RainboUnavailable("RAINBO's keys");
        flock($file, LOCK_EX);
        chmod($this->cache, 0600);
        $kept = json_decode(stream_get_contents($file), true) ?: [];
        $kept += ['keys' => [], 'fetched' => 0, 'tried' => 0];
        $isFresh = abs(time() - $kept['fetched']) < 300;
        $hasWaited = abs(time() - $kept['tried']) >= ($isFresh ? 60 : 5);
        if ($hasWaited && !($isFresh && isset($kept['keys'][$kid]))) {
            $keys = $this->read();
            if ($isFresh || $keys === null) { // an unknown key, or no answer
                $kept['tried'] = time();
            }
            if ($keys !== null) {
                $kept = ['keys' => $keys, 'fetched' => time()] + $kept;
                $isFresh = true;
            }
            ftruncate($file, 0);
            rewind($file);
            fwrite($file, json_encode($kept));
        }
        fclose($file);
        return $isFresh ? $kept['keys'][$kid] ?? null : throw new RainboUnavailable("RAINBO's keys");
    }

    /** The keys by their ids, in base64; null if they can't be read. */
    private function read(): ?array
    {
        $http = ['timeout' => 5, 'follow_location' => 0];
        $context = stream_context_create(['http' => $http]);
        $text = @file_get_contents($this->place, false, $context, 0, 65536);
        $found = json_decode((string) $text, true);
        if (!is_array($found['keys'] ?? null)) {
            error_log("RAINBO's keys ($this->place) could not be read");
            return null;
        }
        $usable = fn ($jwk) => ($jwk['kty'] ?? '') === 'OKP' && ($jwk['crv'] ?? '') === 'Ed25519';
        return array_column(array_filter($found['keys'], $usable), 'x', 'kid');
    }
}

/** The claims of an assertion that is right. $now: in seconds. Throws RainboRefused, … */
function rainbo_verify(
    string $token,
    RainboKeys $keys,
    string $issuer,
    int $instance,
    float $now
): array {
    if (strlen($token) > 8192 || !preg_match('/^[\w-]+\.[\w-]+\.[\w-]+$/D', $token)) {
        throw new RainboRefused('not a signed token');
    }
    [$head, $body, $signature] = explode('.', $token);
    $binary = fn ($text) => sodium_base642bin($text, SODIUM_BASE64_VARIANT_URLSAFE_NO_PADDING);
    $parse = fn ($part) => (array) json_decode($binary($part), true, 8, JSON_THROW_ON_ERROR);
    try {
        $header = $parse($head);
        ksort($header);
        if (array_keys($header) !== ['alg', 'kid', 'typ']) {
            throw new RainboRefused('another header than RAINBO writes');
        }
        $isOurs = $header['typ'] === 'rainbo-support+jwt';
        if (!$isOurs || !in_array($header['alg'], ['EdDSA', 'Ed25519'], true)) {
            throw new RainboRefused("another type or algorithm than RAINBO's");
        }
        $key = is_string($header['kid']) ? $keys->find($header['kid']) : null;
        if ($key === null) {
            throw new RainboRefused('an unknown key');
        }
        $bytes = $binary($signature);
        if (!sodium_crypto_sign_verify_detached($bytes, "$head.$body", $binary($key))) {
            throw new RainboRefused('a wrong signature');
        }
        $claims = $parse($body);
    } catch (SodiumException | JsonException $error) {
        throw new RainboRefused('not signed by RAINBO: ' . get_class($error));
    }
    $texts = array_fill_keys(['iss', 'aud', 'sub', 'tenant', 'reason', 'ticket', 'jti'], 'string');
    $numbers = array_fill_keys(['session_seconds', 'iat', 'nbf', 'exp'], 'integer');
    foreach ($texts + $numbers + ['act' => 'array', 'read_only' => 'boolean'] as $name => $type) {
        if (gettype($claims[$name] ?? null) !== $type) {
            throw new RainboRefused("the claim $name is missing or of another type");
        }
    }
    $act = $claims['act'];
    if (!is_string($act['sub'] ?? null) || !is_string($act['name'] ?? null)) {
        throw new RainboRefused('the claim act does not say who it is');
    }
    if ($claims['iss'] !== $issuer || $claims['aud'] !== "instance:$instance") {
        throw new RainboRefused("of {$claims['iss']}, for {$claims['aud']}: see issuer and instance");
    }
    $uuid = '/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/D';
    $lengths = preg_match('/^.{10,500}$/Dsu', $claims['reason'])
        && preg_match('/^.{0,100}$/Dsu', $claims['ticket']);
    $named = $claims['sub'] !== '' && $claims['tenant'] !== '';
    if (!$lengths || !$named || !preg_match($uuid, $claims['jti'])) {
        throw new RainboRefused('a claim is out of bounds');
    }
    $seconds = $claims['session_seconds'];
    if ($seconds < 60 || $seconds > 3600 || $claims['exp'] - $claims['iat'] > 60) {
        throw new RainboRefused('valid for longer than RAINBO makes any');
    }
    if ($now < $claims['nbf'] - 5 || $now > $claims['exp'] + 5) {
        throw new RainboRefused("expired or not valid yet: compare the clock with RAINBO's");
    }
    return $claims;
}
