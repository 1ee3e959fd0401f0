#!/bin/sh
# Secrets come as files and emmetd reads variables: each file emmetd_NAME in the folder EMMETD_SECRETS (by default
# /run/secrets) becomes the variable EMMETD_NAME, unless that is set already. An empty file says nothing.
set -eu

folder=${EMMETD_SECRETS:-/run/secrets}
unset EMMETD_SECRETS

for file in "$folder"/emmetd_*; do
    [ -e "$file" ] || continue
    name=$(basename "$file" | tr '[:lower:]' '[:upper:]')
    case $name in
        *[!A-Z0-9_]*)
            echo "entrypoint: $file: a secret's name has letters, digits and underscores only" >&2
            exit 2
            ;;
    esac
    if ! value=$(cat "$file"); then
        echo "entrypoint: $file cannot be read by user $(id -u); give it that owner, or mode 0444" >&2
        exit 2
    fi
    eval "already=\${$name:-}"
    if [ -z "$already" ] && [ -n "$value" ]; then
        export "$name=$value"
    fi
done

exec "$@"
