#!/bin/sh
# Style, types and the rooms' walls. Types and imports are checked on a normal install (build/site), because static
# checkers do not follow setuptools' package-dir map; so they see exactly what ships.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python

.venv/bin/ruff check .
.venv/bin/ruff format --check .

rm -rf build # setuptools would ship what an older build left in build/lib
PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip install -q --no-deps --no-build-isolation --target build/site .
MYPYPATH=build/site "$python" -m mypy --strict -p affectrt
PYTHONPATH=build/site .venv/bin/lint-imports
