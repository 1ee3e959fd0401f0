#!/usr/bin/env bash
# Puts the published builds of Swagger UI and Redoc here, with their licences, and writes down what each file is.
# A newer release: change its number, run this, look at /docs and /redoc, and commit. Needs Node's npm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

SWAGGER_UI=5.35.0
REDOC=2.5.4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf swagger-ui-* redoc-*

# name, release, then the files of its package that are kept
keep() {
    local name=$1 release=$2 folder=${1%-dist}-$2
    shift 2
    (cd "$work" && npm pack --silent "$name@$release" >/dev/null && mkdir "$name" && tar xzf "$name-$release.tgz" -C "$name")
    mkdir "$folder"
    for file in "$@"; do install -m 644 "$work/$name/package/$file" "$folder/"; done
}

keep swagger-ui-dist "$SWAGGER_UI" LICENSE NOTICE swagger-ui.css swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt
keep redoc "$REDOC" LICENSE bundles/redoc.standalone.js bundles/redoc.standalone.js.LICENSE.txt

# The only change: below its menu Redoc draws its maker's logo from another host. The words stay.
logo=https://cdn.redoc.ly/redoc/logo-mini.svg
grep -q "$logo" "redoc-$REDOC/redoc.standalone.js"
sed -i "s#$logo#data:,#" "redoc-$REDOC/redoc.standalone.js"
# Maps are not kept.
sed -i '/^\/\/# sourceMappingURL=/d' ./*/*.js
sed -i '/^\/\*# sourceMappingURL=.*\*\/$/d' ./*/*.css

sha256sum ./*-[0-9]*/* | sed 's# \./# #' >SHA256SUMS
