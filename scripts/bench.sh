#!/bin/sh
# Latency and throughput of the demo's bundle on this machine.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/affectrt bench "$@"
