#!/bin/sh
# The tests, without the slow ones; `--all` runs those too. Other arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
# What simulates NVIDIA's hardware takes two minutes to compile, once; the tests that need it come late and wait for it.
(cd tests && exec nice ../.venv/bin/python -m doubles.nvidia.prepare >/dev/null 2>&1) &
if [ "${1:-}" = --all ]; then
    shift
    exec .venv/bin/python -m pytest "$@"
fi
exec .venv/bin/python -m pytest -m "not slow" "$@"
