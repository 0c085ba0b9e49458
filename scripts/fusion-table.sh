#!/bin/sh
# Every fusion of both systems, trained and compared; writes docs/fusion-table.*, keeps its work in build/fusion-table.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m affectrt.training.fusion_table "$@"
