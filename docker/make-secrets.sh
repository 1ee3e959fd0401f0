#!/bin/sh
# Write the secrets that docker-compose.yml and docker-compose.s3.yml read into docker/secrets, each with a new random value. A file that is
# there already is kept, so that running this again changes nothing; for your own value, write the file first.
#   sh docker/make-secrets.sh [FOLDER]
set -eu

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
# Compose hands the files to containers as they are, and those run as other users: the files can be read by all, but
# nobody else gets into the folder on this machine.
chmod 700 "$folder"

random() {
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

keep_or_write() {
    if [ ! -e "$folder/$1" ]; then
        printf '%s' "$2" > "$folder/$1"
        chmod 444 "$folder/$1"
        echo "wrote $folder/$1"
    fi
}

keep_or_write emmetd_api_key "$(random)"
keep_or_write emmetd_hf_token ""
keep_or_write emmetd_s3_access_key_id "emmetd$(random | cut -c1-14)"
keep_or_write emmetd_s3_secret_access_key "$(random | cut -c1-40)"
keep_or_write grafana_admin_password "$(random)"
keep_or_write postgres_password "$(random)"
keep_or_write redis_password "$(random)"
keep_or_write emmetd_database_url "postgresql://emmetd:$(cat "$folder/postgres_password")@postgres:5432/emmetd"
keep_or_write emmetd_redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
