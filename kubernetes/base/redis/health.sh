#!/bin/sh
# Healthy is a server that has loaded its data and knows our password.
set -eu

password=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
[ "$(REDISCLI_AUTH=$password VALKEYCLI_AUTH=$password valkey-cli -p "${REDIS_PORT:-6379}" ping)" = PONG ]
