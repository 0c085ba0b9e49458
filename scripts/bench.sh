#!/bin/sh
# Latency and throughput on this machine: of the bundle given, else of bundles of the demos' and the papers' size.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/affectrt bench "$@"
