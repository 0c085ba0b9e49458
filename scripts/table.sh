#!/bin/sh
# One of the tables of docs/: fusion, text or modality. Writes docs/NAME-table.*, keeps its work in build/NAME-table.
set -eu
cd "$(dirname "$0")/.."
name=${1:?fusion, text or modality}
shift
exec .venv/bin/python -m "affectrt.training.${name}_table" "$@"
