#!/bin/sh
# Fetches model catalogues and their prices: sync-cron.sh, which must lie in the same folder, under
# the names that API_URL's users know.
#
#   API_URL      where RAINBO serves
#   ADMIN_KEY    a token with the scopes models:run and syncs:read
#   LOG_FILE     default: cron_sync.log, where sync-cron.sh has its log
# The other variables and the exit codes are those of sync-cron.sh.
set -eu
APP_URL=${API_URL:-http://localhost:8000}
OPERATOR_TOKEN=${ADMIN_KEY:-}
SYNC_PATH=${SYNC_PATH:-/admin/model-sync/all}
export APP_URL OPERATOR_TOKEN SYNC_PATH LOG_NAME=cron_sync.log
exec "$(dirname -- "$0")/sync-cron.sh"
