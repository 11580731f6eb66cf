<?php
// The banner on the pages of a support session: copy it next to rainbo_support.php.
declare(strict_types=1);

/** Put it on the page; the browser stores nothing of a support session. */
function rainbo_place_banner(array $session, string $base): void
{
    $placed = false; // what the application prints can't remove the banner from its page
    header('Cache-Control: no-store');
    ob_start(function (string $text) use ($session, $base, &$placed): string {
        headers_sent() || header('Cache-Control: no-store');
        $type = preg_grep('~^content-type:(?! *text/html)~i', headers_list());
        if ($placed || $type || !preg_match('~<(!doctype|html|body)~i', $text)) {
            return $text;
        }
        $placed = true;
        headers_sent() || header_remove('Content-Length');
        $shown = rainbo_banner($session, $base);
        $found = preg_match('~<body[^>]*>~i', $text, $tag, PREG_OFFSET_CAPTURE);
        $at = $found ? $tag[0][1] + strlen($tag[0][0]) : strlen($text);
        return substr($text, 0, $at) . $shown . substr($text, $at);
    }, 0, PHP_OUTPUT_HANDLER_CLEANABLE);
}

function rainbo_banner(array $session, string $base): string
{
    $safe = array_map(fn ($value) => htmlspecialchars((string) $value), $session);
    $read = $session['read_only'] ? 'read-only, ' : '';
    return '<aside id="rainbo-support" role="status" style="position:sticky;top:0;z-index:9999;'
        . 'padding:.5rem 1rem;background:#7a1f1f;color:#fff;font:1rem/1.5 sans-serif">Support'
        . " session of {$safe['person']} in tenant {$safe['tenant_id']}, {$read}ends in "
        . "{$safe['minutes']} min: {$safe['reason']} <form method=\"post\" style=\"display:"
        . "inline\" action=\"{$base}/rainbo/end\"><button>end now</button>"
        . '</form></aside>';
}
