#!/bin/sh
# Everything affectrt needs on this machine, in one idempotent command: system packages, one virtual environment
# (.venv), the Python packages, a self-check.
#
#   PYTHON=/usr/bin/python3   the interpreter that sees the distribution's python3-gi (never pyenv's or conda's)
#   WITH_TORCH=1              install PyTorch on a Jetson too (it is left out there: the runtime does not use it)
#   ALLOW_CUDA_TORCH=1        accept PyTorch's CUDA build (gigabytes) on a machine without an NVIDIA GPU
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-/usr/bin/python3}
TORCH=2.13.0
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
# python3-gi-cairo: without it pip would try to compile pycairo for packages that name PyGObject.
# plugins-ugly: x264enc, with which the demo and the tests write real H.264. plugins-bad: HLS, JPEG and NVIDIA's
# decoders. gstreamer1.0-pulseaudio: microphones. espeak-ng: the voices of drawn people who speak.
# gir1.2-gst-rtsp-server-1.0 and pulseaudio (a null sink of the tests' own): the network camera and the microphone of the
# tests.
PACKAGES="python3 python3-venv python3-gi python3-gi-cairo python3-gst-1.0
    gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-alsa
    gstreamer1.0-plugins-bad gstreamer1.0-pulseaudio espeak-ng ca-certificates make git"
TEST_PACKAGES="gir1.2-gst-rtsp-server-1.0"
# Nobody's desktop gets a sound daemon from us: without one, the test of the microphone skips and says so.
[ -z "${CI:-}" ] || command -v pipewire-pulse >/dev/null || TEST_PACKAGES="$TEST_PACKAGES pulseaudio"
PACKAGES="$PACKAGES $TEST_PACKAGES"

say() { printf '==> %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

is_jetson() {
    [ "$(uname -m)" = aarch64 ] || return 1
    [ -e /etc/nv_tegra_release ] || grep -qs 'NVIDIA Jetson' /proc/device-tree/model
}
has_nvidia_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# --- system packages ---------------------------------------------------------------------------------------------

missing_packages() {
    # shellcheck disable=SC2086  # one word per package
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' $PACKAGES 2>/dev/null |
        awk -v wanted="$PACKAGES" '
            $2 == "installed" { have[$1] = 1 }
            END { n = split(wanted, w); for (i = 1; i <= n; i++) if (!(w[i] in have)) printf "%s ", w[i] }'
}

install_packages() {
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root=sudo
    else
        die "these system packages are missing and this user may not install them. Run as root, then repeat:
    apt-get update && apt-get install -y --no-install-recommends $1"
    fi
    say "installing system packages: $1"
    $as_root apt-get update -qq || say "apt-get update failed; trying with the package lists at hand"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 ||
        die "apt could not install: $1
    On Ubuntu, libav and plugins-ugly live in 'universe': sudo add-apt-repository universe"
}

has_gstreamer() {
    "$1" -c 'import gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst; Gst.init(None)' 2>/dev/null
}

ensure_system() {
    if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
        missing=$(missing_packages)
        [ -z "$missing" ] || install_packages "$missing"
    elif has_gstreamer "$PYTHON"; then
        say "no apt here, but $PYTHON already sees GStreamer: going on"
    else
        die "this is not a Debian, Ubuntu or JetPack system and $PYTHON does not see GStreamer.
    Install your distribution's counterparts of these packages, then repeat:
    $(echo $PACKAGES)"
    fi
    [ -x "$PYTHON" ] || die "$PYTHON does not exist; name the distribution's interpreter: PYTHON=/path/to/python3 make setup"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$PYTHON is $("$PYTHON" -V 2>&1); affectrt needs Python 3.10 or newer (Debian 12, Ubuntu 22.04, JetPack 6)"
}

# --- virtual environment -----------------------------------------------------------------------------------------

make_venv() {
    # A usable one: sees system packages, was made in this very folder, and its interpreter still runs pip.
    if grep -qs 'include-system-site-packages = true' .venv/pyvenv.cfg &&
        [ "$(cat .venv/affectrt-root 2>/dev/null)" = "$PWD" ] &&
        .venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    [ ! -e .venv ] || say "the .venv that is here was made elsewhere or otherwise: it is replaced"
    say "making .venv from $PYTHON ($("$PYTHON" -V 2>&1)), with the system's site packages"
    "$PYTHON" -m venv --clear --system-site-packages .venv
    printf '%s' "$PWD" >.venv/affectrt-root
    # Older pip downloads a whole wheel to look at its name, and cannot report what it would install.
    pip install 'pip>=24'
}

pip() {
    command=$1
    shift
    PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip --no-input "$command" -qq "$@"
}

# --- PyTorch -----------------------------------------------------------------------------------------------------

torch_version() {
    .venv/bin/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true
}

index_answers() {
    .venv/bin/python - "$1" <<'PY' 2>/dev/null
import sys, urllib.request
urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=5).close()
PY
}

resolved_torch() { # the version that a plain `pip install` would take, e.g. 2.13.0+cpu
    pip install --dry-run --no-deps --ignore-installed --report - "torch==$TORCH" 2>/dev/null |
        .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' \
            2>/dev/null || true
}

install_torch() {
    case "$(torch_version)" in
    "${TORCH%.*}".*)
        say "PyTorch $(torch_version) is there"
        return
        ;;
    esac
    if [ "$(uname -m)" = x86_64 ] && has_nvidia_gpu; then
        say "NVIDIA GPU found: installing PyTorch $TORCH with CUDA from PyPI (gigabytes)"
        pip install "torch==$TORCH"
    elif index_answers "$TORCH_CPU_INDEX"; then
        say "installing PyTorch $TORCH for the CPU from $TORCH_CPU_INDEX"
        pip install "torch==$TORCH" --index-url "$TORCH_CPU_INDEX"
    else
        resolved=$(resolved_torch)
        case "$resolved" in
        *+cpu) say "$TORCH_CPU_INDEX does not answer; pip's own index offers $resolved: installing that" ;;
        *)
            [ "${ALLOW_CUDA_TORCH:-0}" = 1 ] || die "no CPU build of PyTorch $TORCH can be reached:
    $TORCH_CPU_INDEX does not answer, and pip's index offers ${resolved:-nothing}, which would bring gigabytes of CUDA
    libraries to a machine without an NVIDIA GPU. Open the way to that address, put a '+cpu' wheel into a folder and
    set PIP_FIND_LINKS to it, or accept the CUDA build:
    ALLOW_CUDA_TORCH=1 make setup"
            say "installing PyTorch ${resolved:-$TORCH}, as ALLOW_CUDA_TORCH=1 says"
            ;;
        esac
        pip install "torch==${resolved:-$TORCH}"
    fi
}

# --- affectrt ----------------------------------------------------------------------------------------------------

install_affectrt() {
    extras=dev
    : >.venv/constraints.txt
    if is_jetson && [ "${WITH_TORCH:-0}" != 1 ]; then
        extras=test
        say "Jetson: leaving PyTorch out (WITH_TORCH=1 brings it); train and export on another machine"
    else
        install_torch
        # Whatever is installed later must not exchange this build for another one.
        printf 'torch==%s\n' "$(torch_version)" >.venv/constraints.txt
    fi
    say "installing affectrt[$extras] into .venv"
    pip install --constraint .venv/constraints.txt --editable ".[$extras]"
}

self_check() {
    .venv/bin/python - <<'PY' || die "the self-check failed; .venv/bin/affectrt doctor says more"
import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst

Gst.init(None)
if Gst.ElementFactory.find("x264enc") is None:
    raise SystemExit("setup: GStreamer has no x264enc (apt: gstreamer1.0-plugins-ugly)")
import cv2, onnxruntime
import affectrt.cli.main, affectrt.runtime

print(f"==> ready: {Gst.version_string()}, ONNX Runtime {onnxruntime.__version__}, OpenCV {cv2.__version__}")
PY
}

# --- once --------------------------------------------------------------------------------------------------------

stamp_key() {
    {
        cat pyproject.toml scripts/setup.sh
        printf '%s\n' "$PWD" "$PYTHON" "${WITH_TORCH:-0}"
    } | sha256sum | cut -d' ' -f1
}

ensure_system
if [ "$(cat .venv/affectrt-setup 2>/dev/null)" = "$(stamp_key)" ] && [ -x .venv/bin/affectrt ]; then
    exit 0
fi
make_venv
install_affectrt
self_check
stamp_key >.venv/affectrt-setup
say "try: make demo"
