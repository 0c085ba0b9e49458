#!/bin/sh
# Style, types and the rooms' walls; every check runs, then the exit code tells. Types and imports are checked on a
# normal install (build/site), because static checkers do not follow setuptools' package-dir map: they see what ships.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
failed=""

check() { # a name, then the command
    name=$1
    shift
    printf '==> %s\n' "$name"
    "$@" || failed="$failed $name,"
}

install_site() {
    # setuptools would ship what an older build left; what else lies in build/ (bundles for benchmarks) stays.
    rm -rf build/site build/lib build/bdist.*
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip install -qq --no-deps --no-build-isolation --target build/site .
}

check "ruff check" .venv/bin/ruff check .
check "ruff format" .venv/bin/ruff format --check .
install_site
check mypy env MYPYPATH=build/site "$python" -m mypy --strict -p affectrt
check "import contracts" env PYTHONPATH=build/site .venv/bin/lint-imports

[ -z "$failed" ] || { printf 'check: failed: %s\n' "${failed%,}" >&2; exit 1; }
