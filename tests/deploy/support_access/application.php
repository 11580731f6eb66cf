<?php
// A small application of one instance, served by php -S: a tenant's page, a form, a password.
declare(strict_types=1);

require getenv('SUPPORT_ACCESS') . '/rainbo_support.php';

function pdo(): PDO
{
    ['host' => $host, 'port' => $port, 'name' => $name, 'user' => $user, 'password' => $password]
        = json_decode(getenv('APPLICATION_DATABASE'), true);
    return new PDO("pgsql:host=$host;port=$port;dbname=$name;connect_timeout=5", $user, $password);
}

$path = explode('?', $_SERVER['REQUEST_URI'])[0];
preg_match('~^/tenants/([^/]+)~', $path, $named);
$rainbo = new RainboSupport([
    'issuer' => getenv('APPLICATION_ISSUER'),
    'instance' => (int) getenv('APPLICATION_INSTANCE'),
    'keys' => getenv('APPLICATION_KEYS'),
    'cache' => getenv('APPLICATION_CACHE'),
    'cookie_key' => getenv('APPLICATION_SECRET_KEY'),
    'pdo' => pdo(...),
    'tenant_of' => fn () => $named[1] ?? null,
    'secure' => false,
    'secret' => getenv('APPLICATION_EVENT_SECRET'),
    'events' => getenv('APPLICATION_CACHE') . '.events',
]);
$support = $rainbo->begin();

if ($support === null) {
    http_response_code(401);
    echo '<!DOCTYPE html><title>Sign in</title><body><p>Sign in';
    exit;
}
$tenant = $support['tenant_id'];
if ($path === '/') {
    header("Location: /tenants/$tenant/", true, 302);
} elseif ($path === '/tenants.json') {
    header('Content-Type: application/json');
    echo '{"tenant": "<body>"}';
} elseif ($path === "/tenants/$tenant/locations" && $_SERVER['REQUEST_METHOD'] === 'POST') {
    $statement = pdo()->prepare('INSERT INTO locations (tenant_id, name) VALUES (?, ?)');
    $statement->execute([$tenant, $_POST['name']]);
    $rainbo->report('location.added', $_POST['name']);
    header("Location: /tenants/$tenant/", true, 302);
} elseif (isset($_SERVER['HTTP_IF_NONE_MATCH'])) {
    http_response_code(304);
} else {
    $statement = pdo()->prepare('SELECT name FROM tenants WHERE id = ?');
    $statement->execute([$tenant]);
    $name = htmlspecialchars($statement->fetchColumn());
    echo "<!DOCTYPE html><html lang=\"en\"><title>$name</title><body class=\"wide\">";
    flush();
    echo "<h1>$name</h1><p>user {$support['ghost_id']}</p></body></html>";
}
