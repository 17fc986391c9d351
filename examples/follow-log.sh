#!/usr/bin/env bash
# Follows a log file and lets any number of readers watch it: each line becomes an event of kind `line`.
#
#     examples/follow-log.sh app.log
#     curl -N http://127.0.0.1:7575/v1/events                                   # in another terminal, or a browser
#     curl -sN http://127.0.0.1:7575/v1/events | jq -r --unbuffered '.text // empty'
#
# Further arguments go to `fanout serve`. The file may be rotated, and need not exist yet.
set -euo pipefail

[ $# -gt 0 ] || {
    echo "usage: $0 FILE [flags of fanout serve]" >&2
    exit 64
}
file=$1
shift
tail -n 0 -F -- "$file" | fanout serve --stdin --text "$@"
