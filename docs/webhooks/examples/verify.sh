#!/bin/sh
# Checks one webhook, as a CGI program gets it: the body on standard input, headers and secret in the environment.
#
#     WEBHOOK_SECRET=whsec_… HTTP_WEBHOOK_ID=… HTTP_WEBHOOK_TIMESTAMP=… HTTP_WEBHOOK_SIGNATURE=… \
#         sh verify.sh standard [folder] < body
#
# `body` instead of `standard` checks X-Mailement-Signature or X-Maily-Signature. With a folder, `standard` keeps
# the ids there. Prints `first` or `again` and ends with 0; ends with 1 if the webhook is not genuine.
set -eu

# region receive
# is_genuine SECRET ID TIMESTAMP SIGNATURES BODY_FILE
is_genuine() {
  case "$3" in "" | 0* | *[!0-9]* | ?????????????*) return 1 ;; esac
  age=$(($(date +%s) - $3))
  [ -n "$2" ] && [ "${age#-}" -le 300 ] || return 1
  key=$(printf %s "${1#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
  digest=$({ printf '%s.%s.' "$2" "$3" && cat "$5"; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
  [ -n "$digest" ] || return 1
  for one in $4; do
    if is_same "v1,$digest" "$one"; then return 0; fi
  done
  return 1
}

# Comparing digests, the time that it takes tells nothing about the signature.
is_same() {
  [ "$(printf %s "$1" | openssl dgst -sha256 -binary | od -An -tx1)" = \
    "$(printf %s "$2" | openssl dgst -sha256 -binary | od -An -tx1)" ]
}

# is_signed_body SECRET SIGNATURE BODY_FILE
is_signed_body() {
  expected=$(openssl dgst -sha256 -hmac "whsec_${1#whsec_}" -r < "$3")
  [ -n "$expected" ] && is_same "${expected%% *}" "${2#sha256=}"
}

# is_first FOLDER ID: after is_genuine, which knows the id to be ours, as it becomes the name of a folder.
is_first() {
  if mkdir "$1/$2" 2> /dev/null; then return 0; fi
  [ -d "$1/$2" ] || { echo "cannot write to $1" >&2 && exit 2; }
  return 1
}
# endregion

body=$(mktemp)
trap 'rm -f "$body"' EXIT
cat > "$body"
if [ "$1" = standard ]; then
  is_genuine "$WEBHOOK_SECRET" "${HTTP_WEBHOOK_ID-}" "${HTTP_WEBHOOK_TIMESTAMP-}" \
    "${HTTP_WEBHOOK_SIGNATURE-}" "$body" || exit 1
else
  is_signed_body "$WEBHOOK_SECRET" "${HTTP_X_MAILEMENT_SIGNATURE-${HTTP_X_MAILY_SIGNATURE-}}" "$body" || exit 1
fi
if [ $# -lt 2 ] || is_first "$2" "$HTTP_WEBHOOK_ID"; then echo first; else echo again; fi
