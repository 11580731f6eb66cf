#!/bin/sh
# Requests a sync of RAINBO over HTTP and waits for its end: for crontab, containers and people.
# Needs a POSIX shell and curl.
#
#   APP_URL           where RAINBO serves; default: http://localhost:8000
#   OPERATOR_TOKEN    the token, or OPERATOR_TOKEN_FILE: a file that holds it
#   SYNC              which sync; default: bakalari. SYNC_PATH: another address instead
#   LOG_FILE          default: /var/log/rainbo/sync-cron.log, or ~/.local/state/rainbo/sync-cron.log
#                     if that can't be written; kept below LOG_MAX_BYTES, five of them
#   DEBUG=1           shows on stderr what is logged
#   ATTEMPTS          requests in all, if the fault can pass by itself; default: 3
#   RETRY_SECONDS     between them, growing; default: 10. A server's Retry-After counts, up to 60
#   REQUEST_SECONDS   how long one request may take; default: 60
#   WAIT_SECONDS      how long to wait for the end of the sync; default: 600
#
# Exit codes: 0 done · 1 failed · 2 can't work as configured (also: token rejected) · 3 done in part
# or held for review · 4 nothing is connected · 75 another call or run was running, or still is.
set -eu
umask 077

APP_URL=${APP_URL:-http://localhost:8000}
APP_URL=${APP_URL%/}
SYNC=${SYNC:-bakalari}
SYNC_PATH=${SYNC_PATH:-/api/sync/$SYNC}
LOG_MAX_BYTES=${LOG_MAX_BYTES:-1000000}
DEBUG=${DEBUG:-0}
ATTEMPTS=${ATTEMPTS:-3}
RETRY_SECONDS=${RETRY_SECONDS:-10}
REQUEST_SECONDS=${REQUEST_SECONDS:-60}
WAIT_SECONDS=${WAIT_SECONDS:-600}
LONGEST_PAUSE=60
call=$(date -u +%Y%m%dT%H%M%SZ)-$$

log() {
    line="$(date -u +%Y-%m-%dT%H:%M:%SZ) call=$call $1"
    printf '%s\n' "$line" >>"$LOG_FILE"
    if [ "$DEBUG" = 1 ]; then printf '%s\n' "$line" >&2; fi
}

stop() { # code text
    if [ "$DEBUG" != 1 ]; then printf '%s\n' "$2" >&2; fi
    log "exit=$1 $2"
    exit "$1"
}

misconfigured() { # before there is a log
    printf '%s\n' "$1" >&2
    exit 2
}

is_writable() {
    (: >>"$LOG_FILE") 2>/dev/null
}

# The token goes to curl by its standard input: arguments are seen by every user of the machine.
send() { # method address
    status=000
    : >"$work/head"
    : >"$work/body"
    status=$(printf 'header = "Authorization: Bearer %s"\n' "$OPERATOR_TOKEN" |
        curl --config - -s --request "$1" --header 'Content-Type: application/json' \
            --header 'Content-Length: 0' --connect-timeout 10 --max-time "$REQUEST_SECONDS" \
            --max-filesize 1000000 --proto '=http,https' --dump-header "$work/head" \
            --output "$work/body" --write-out '%{http_code}' "$2") && curl_code=0 || curl_code=$?
    case $curl_code in
        0) ;;
        1 | 3 | 60 | 63 | 77) stop 2 "APP_URL $APP_URL can't be used: curl error $curl_code" ;;
        *) status=000 ;;
    esac
    log "method=$1 path=${2#"$APP_URL"} status=$status"
}

header() { # name in small letters
    tr -d '\r' <"$work/head" |
        awk -v name="$1" 'BEGIN { FS = ":" }
            tolower($1) == name { sub(/^[^:]*: */, ""); print; exit }'
}

# What the server says, without the token if it sends that back, and without control characters.
detail() {
    sed -n 's/.*"detail": *"\([^"]*\)".*/\1/p' "$work/body" | head -n 1 | tr -d '\000-\037' |
        cut -c 1-300 | awk '{
            while (at = index($0, ENVIRON["OPERATOR_TOKEN"]))
                $0 = substr($0, 1, at - 1) "***" substr($0, at + length(ENVIRON["OPERATOR_TOKEN"]))
            print }'
}

pause() { # seconds that the server named, or ours
    seconds=$(header retry-after)
    case $seconds in
        '' | *[!0-9]* | ??????*) seconds=$1 ;;
        0*) seconds=1 ;;
    esac
    if [ "$seconds" -gt "$LONGEST_PAUSE" ]; then seconds=$LONGEST_PAUSE; fi
    sleep "$seconds"
}

reject() { # for what no repetition changes
    case $status in
        401) stop 2 "RAINBO rejected the token: it is wrong, expired or revoked. $(detail)" ;;
        403) stop 2 "The token may not do this. $(detail)" ;;
        3??) stop 2 "APP_URL $APP_URL redirects: give the final address, with https" ;;
        *) stop 1 "RAINBO answered $status. $(detail)" ;;
    esac
}

rotate() {
    if [ ! -f "$LOG_FILE" ] || [ "$(wc -c <"$LOG_FILE")" -lt "$LOG_MAX_BYTES" ]; then return; fi
    for number in 4 3 2 1; do
        if [ -f "$LOG_FILE.$number" ]; then mv -f "$LOG_FILE.$number" "$LOG_FILE.$((number + 1))"; fi
    done
    mv -f "$LOG_FILE" "$LOG_FILE.1"
}

if [ -n "${OPERATOR_TOKEN_FILE:-}" ]; then
    IFS= read -r OPERATOR_TOKEN <"$OPERATOR_TOKEN_FILE" || [ -n "${OPERATOR_TOKEN:-}" ] ||
        misconfigured "OPERATOR_TOKEN_FILE can't be read"
fi
case ${OPERATOR_TOKEN:-} in
    '') misconfigured "OPERATOR_TOKEN is not set: manage.py api_token create makes a token" ;;
    *[!A-Za-z0-9._~+/=-]*) misconfigured "OPERATOR_TOKEN has characters that no token has" ;;
esac
export OPERATOR_TOKEN
case $APP_URL in http://?* | https://?*) ;; *) misconfigured "APP_URL must begin with https://" ;; esac
for number in "$ATTEMPTS" "$RETRY_SECONDS" "$REQUEST_SECONDS" "$WAIT_SECONDS" "$LOG_MAX_BYTES"; do
    case $number in
        '' | *[!0-9]* | 0?* | ?????????*) misconfigured "ATTEMPTS, *_SECONDS and LOG_MAX_BYTES are whole numbers" ;;
    esac
done
if [ -z "${LOG_FILE:-}" ]; then
    LOG_FILE=/var/log/rainbo/${LOG_NAME:-sync-cron.log}
    own=${HOME:-}/.local/state/rainbo
    if [ -n "${HOME:-}" ] && ! is_writable && mkdir -p "$own"; then
        elsewhere="$LOG_FILE can't be written: the log is in $own"
        LOG_FILE=$own/${LOG_NAME:-sync-cron.log}
        if [ ! -e "$LOG_FILE" ]; then printf '%s\n' "$elsewhere" >&2; fi # once, and not by each mail
    fi
fi
is_writable ||
    misconfigured "LOG_FILE $LOG_FILE can't be written: create its folder, or choose another file"

if command -v flock >/dev/null; then
    exec 9>>"$LOG_FILE.lock"
    flock -n 9 || stop 75 "Another call is running"
else # on macOS
    mkdir "$LOG_FILE.lock.d" 2>/dev/null ||
        stop 75 "Another call is running; if none is, remove $LOG_FILE.lock.d"
    trap 'rmdir "$LOG_FILE.lock.d"' EXIT
fi
work=$(mktemp -d)
trap 'rm -rf "$work"; rmdir "$LOG_FILE.lock.d" 2>/dev/null || :' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rotate
if [ -n "${elsewhere:-}" ]; then log "$elsewhere"; fi

attempt=1
while :; do
    send POST "$APP_URL$SYNC_PATH"
    case $status in
        200 | 202) break ;;
        000 | 429 | 502 | 503 | 504) ;; # these pass by themselves
        *) reject ;;
    esac
    if [ "$attempt" -ge "$ATTEMPTS" ]; then
        if [ "$status" = 000 ]; then stop 1 "No answer from $APP_URL after $attempt attempts"; fi
        stop 1 "RAINBO answered $status, at the last of $attempt attempts. $(detail)"
    fi
    pause $((RETRY_SECONDS * attempt))
    attempt=$((attempt + 1))
done

deadline=$(($(date +%s) + WAIT_SECONDS))
address=
while [ "$status" != 200 ]; do
    if [ "$status" = 202 ]; then address=$(header location); fi
    case $address in /[!/]*) ;; *) stop 1 "The server named no address of its own to ask at" ;; esac
    if [ "$(date +%s)" -ge "$deadline" ]; then
        stop 75 "The sync still runs after $WAIT_SECONDS s: see $APP_URL$address"
    fi
    pause 2
    send GET "$APP_URL$address"
    case $status in 200 | 202 | 000 | 429 | 502 | 503 | 504) ;; *) reject ;; esac
done

# The worst that a run came to decides. Its states come first; without any, nothing was there to run.
run=$(sed -n 's/.*"runId": *\([0-9]*\).*/\1/p' "$work/body" | head -n 1)
states=$(grep -o '"state": *"[a-z_]*"' "$work/body" | sed 's/.*"\([a-z_]*\)"$/\1/' | sort -u | tr '\n' ' ')
if grep -q '"success": *true' "$work/body"; then
    log "run=${run:-none} exit=0 sync_ok"
    exit 0
fi
worst=0
for state in $states; do
    case $state in
        succeeded) ;;
        skipped) if [ "$worst" = 0 ]; then worst=75; fi ;;
        partial | held) if [ "$worst" != 1 ]; then worst=3; fi ;;
        *) worst=1 ;;
    esac
done
if [ -z "$states" ] && grep -q '"success": *null' "$work/body"; then worst=4; fi
case $worst in
    3) stop 3 "run=${run:-none} sync_fail: done in part, or held for review" ;;
    4) stop 4 "run=none sync_none: nothing is connected, so nothing was synced" ;;
    75) stop 75 "run=${run:-none} sync_skipped: another run of the sync was in progress" ;;
    *) stop 1 "run=${run:-none} sync_fail: see the run in RAINBO" ;;
esac
