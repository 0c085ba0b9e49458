#!/bin/sh
# The whole chain on generated media, then a report page in demo-out/.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/affectrt demo --out demo-out --overwrite "$@"
