#!/bin/sh
# Everything real on a machine with an NVIDIA GPU, with or without network; figures into benchmarks/results/.
#
#   scripts/gpu-check.sh           the check, with .venv if it is there and works, else with PYTHON
#   scripts/gpu-check.sh --fetch   on a machine with network: what another one without it will need, into
#                                  build/gpu-check (--fetch-python 3.12 --fetch-machine aarch64 --fetch-cuda 13: for which)
#   PYTHON=python3                 the interpreter; it needs numpy, pydantic, typer, rich and onnxruntime, and takes
#                                  part with what else it has (torch, onnx, tensorrt, GStreamer's binding)
#   PYCUDA_SDIST=pycuda-X.tar.gz   PyCUDA's source archive, where PyCUDA is not installed
#   CUDA_ROOT=/usr/local/cuda      the toolkit with whose headers PyCUDA is compiled
set -eu
cd "$(dirname "$0")/.."
site=build/gpu-check/site

die() { printf 'gpu-check: %s\n' "$*" >&2; exit 1; }

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if .venv/bin/python -c 'import affectrt.cli' 2>/dev/null; then PYTHON=.venv/bin/python; fi
fi
command -v "$PYTHON" >/dev/null || die "there is no $PYTHON; name one: PYTHON=/path/to/python3 scripts/gpu-check.sh"

# A virtual environment brought from elsewhere does not run here, and this machine may have no network: without an
# installation the rooms are linked into a folder, which is all that `affectrt.<room>` needs.
if ! "$PYTHON" -c 'import affectrt.cli' 2>/dev/null; then
    linked=$(mktemp -d)
    trap 'rm -rf "$linked"' EXIT
    mkdir "$linked/affectrt"
    for room in models training bundle export calibration runtime benchmarks cli; do
        ln -s "$PWD/$room" "$linked/affectrt/$room"
    done
    PYTHONPATH=$linked${PYTHONPATH:+:$PYTHONPATH}
fi
PYTHONPATH=$PWD/$site${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
for module in numpy pydantic typer rich onnxruntime; do
    "$PYTHON" -c "import $module" 2>/dev/null || die "$PYTHON has no $module; take another: PYTHON=… scripts/gpu-check.sh,
    or bring it: $PYTHON -m pip install --target $site $module"
done
"$PYTHON" -m affectrt.cli.gpu_check "$@"
