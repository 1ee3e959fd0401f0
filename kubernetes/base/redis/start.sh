#!/bin/sh
# Start the queue server with its password from a file: neither the command line nor the environment shows it.
set -eu

exec valkey-server - <<CONFIGURATION
$(cat "${VALKEY_CONF:-/etc/valkey/valkey.conf}")
requirepass $(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
CONFIGURATION
