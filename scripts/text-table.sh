#!/bin/sh
# RCMA with and without text, trained and compared; writes docs/text-table.*, keeps its work in build/text-table.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m affectrt.training.text_table "$@"
