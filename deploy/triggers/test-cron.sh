#!/bin/sh
# Plays the cron service while you develop: requests a sync again and again, until Ctrl-C.
# sync-cron.sh must lie in the same folder.
#
#   APP_URL         default: http://localhost:8000
#   CRON_SECRET     the server's RAINBO_CRON_SECRET
#   INTERVAL        15min, 30min, or a sync's name; default: all services
#   EVERY_SECONDS   default: 900
#   TIMES           how often; default: without end
set -eu
OPERATOR_TOKEN=${CRON_SECRET:-}
SYNC_PATH=/api/cron/sync-integrations${INTERVAL:+?interval=$INTERVAL}
LOG_FILE=${LOG_FILE:-${TMPDIR:-/tmp}/rainbo-test-cron-$(id -u).log}
export OPERATOR_TOKEN SYNC_PATH LOG_FILE
export DEBUG="${DEBUG:-1}"

code=0
count=0
while :; do
    count=$((count + 1))
    code=0
    "$(dirname -- "$0")/sync-cron.sh" || code=$?
    if [ "$code" = 2 ] || [ "$count" = "${TIMES:-}" ]; then exit "$code"; fi
    sleep "${EVERY_SECONDS:-900}"
done
