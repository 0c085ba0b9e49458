#!/bin/sh
# Latency and throughput on this machine: of the bundle given, else of one of the demos' and the papers' size.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/affectrt bench "$@"
