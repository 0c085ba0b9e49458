#!/bin/sh
# The tests, without the slow ones; `--all` runs those too. Other arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
slow="not slow"
if [ "${1:-}" = --all ]; then
    shift
    slow=""
fi
case "$*" in *tests*) exec .venv/bin/python -m pytest -m "$slow" "$@" ;; esac
# Two processes: after everything else, with GStreamer's libraries loaded, a backward pass of torch was seen to abort.
.venv/bin/python -m pytest -m "$slow" "$@" tests/models
exec .venv/bin/python -m pytest -m "$slow" "$@" --ignore tests/models
