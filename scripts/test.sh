#!/bin/sh
# The tests, without the slow ones; `--all` runs those too. Other arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" = --all ]; then
    shift
    exec .venv/bin/python -m pytest "$@"
fi
exec .venv/bin/python -m pytest -m "not slow" "$@"
