#!/bin/sh
# Make the bucket that blobs lie in, unless it is there: S3_BUCKET at S3_ENDPOINT, with the keys of the folder S3_SECRETS.
set -eu

folder=${S3_SECRETS:-/run/secrets}
key=$(cat "$folder/emmetd_s3_access_key_id")
secret=$(cat "$folder/emmetd_s3_secret_access_key")

# The status that the store answers with. The keys go through a pipe: command lines can be read by others.
ask() {
    printf 'user = "%s:%s"\n' "$key" "$secret" |
        curl --config - --silent --show-error --max-time 20 --retry "${S3_RETRIES:-5}" --retry-connrefused \
            --aws-sigv4 "aws:amz:$S3_REGION:s3" --output /dev/null --write-out '%{http_code}' "$@"
}

found=$(ask --head "$S3_ENDPOINT/$S3_BUCKET")
case $found in
    200) echo "the bucket $S3_BUCKET is there" ;;
    404)
        made=$(ask --request PUT "$S3_ENDPOINT/$S3_BUCKET")
        # 409: somebody else has made it meanwhile.
        case $made in
            200 | 409) echo "the bucket $S3_BUCKET was made" ;;
            *) echo "the bucket $S3_BUCKET cannot be made: $S3_ENDPOINT answers $made" >&2; exit 1 ;;
        esac
        ;;
    *) echo "the bucket $S3_BUCKET cannot be looked for: $S3_ENDPOINT answers $found" >&2; exit 1 ;;
esac
