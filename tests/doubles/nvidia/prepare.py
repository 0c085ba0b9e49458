"""Fetches and builds, once, what the simulation needs; all of it lands in build/doubles, nothing in .venv.

The bindings of TensorRT and the packages come through pip, at test time: NVIDIA's licence forbids passing them on.
By hand, from tests/: `python -m doubles.nvidia.prepare`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VERSIONS", "Prepared", "UnpreparedError", "prepare"]

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")
PYCUDA = "2026.1"
# Without their dependencies, which are either named here or in .venv already (numpy must not be there twice).
PACKAGES = (
    "cuda-bindings>=12.9,<14",
    "cuda-pathfinder>=1.4.2,<2",
    "mako>=1.3,<2",
    "polygraphy==0.53.6",
    "pybind11-stubgen==3.0.0",
    "pytools>=2025.1",
    "siphash24>=1.6",
)
# cuda.h and what it includes, from packages of a few hundred kilobytes instead of a toolkit.
HEADERS = ("nvidia-cuda-runtime>=13,<14", "nvidia-cuda-profiler-api>=13,<14", "nvidia-cuda-crt>=13,<14")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
C_FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared")


class UnpreparedError(Exception):
    """The simulation cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Prepared:
    """Where things lie."""

    libcuda: Path  # the folder of libcuda.so.1
    placeholders: Path  # the folder of libnvinfer.so.10 and the like
    packages: Path  # PyCUDA, cuda-bindings, Polygraphy, pybind11-stubgen
    bindings: dict[str, Path]  # by version: the folder that holds tensorrt_bindings/
    descriptions: dict[str, Path]  # by version: a JSON file
    stubs: dict[str, Path]  # by version: the folder that holds tensorrt/__init__.pyi and mypy.ini


def prepare(versions: tuple[str, ...] = VERSIONS) -> Prepared:
    """Idempotent, and safe to call from several processes at once. Raises UnpreparedError."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("c++") is None:
        raise UnpreparedError("no C and C++ compiler on this machine (apt-get install g++)")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise UnpreparedError("no Python.h on this machine (apt-get install python3-dev)")
    home = ROOT / "build" / "doubles" / (sys.implementation.cache_tag or "python")
    home.mkdir(parents=True, exist_ok=True)
    with _lock(home / "lock"):
        libcuda = _once(home / "libcuda", _compile_libcuda, _sources("native"))
        placeholders = _once(home / "placeholders", _compile_placeholders, _sources("native"))
        bindings = {v: _once(home / f"bindings-{v}", _fetcher(f"tensorrt-cu12-bindings=={v}"), v) for v in versions}
        packages = _once(home / "packages", lambda to: _build_packages(to, libcuda), repr((PYCUDA, PACKAGES, HEADERS)))
        described = {
            v: _once(home / f"description-{v}", lambda to, v=v: _describe(to, bindings[v], placeholders), _describer())
            for v in versions
        }
        stubs = {
            v: _once(home / f"stubs-{v}", lambda to, v=v: _stub(to, bindings[v], placeholders, packages), _stubber())
            for v in versions
        }
    descriptions = {version: folder / "api.json" for version, folder in described.items()}
    return Prepared(libcuda, placeholders, packages, bindings, descriptions, stubs)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _once(folder: Path, make: Callable[[Path], None], made_from: str) -> Path:
    """Make the folder beside its place, then rename it; the stamp inside says from what it was made."""
    stamp = hashlib.sha256(made_from.encode()).hexdigest()
    if (folder / "stamp").exists() and (folder / "stamp").read_text() == stamp:
        return folder
    draft = folder.with_name(folder.name + ".draft")
    for stale in (draft, folder):
        shutil.rmtree(stale, ignore_errors=True)
    draft.mkdir()
    make(draft)
    (draft / "stamp").write_text(stamp)
    draft.rename(folder)
    return folder


def _sources(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((HERE / folder).glob("*.[ch]")))


def _describer() -> str:
    return "\n".join((HERE / name).read_text() for name in ("describe.py", "signatures.py"))


def _stubber() -> str:
    return (HERE / "stubs.py").read_text()


# --- our own libraries ------------------------------------------------------------------------------------------------


def _compile_libcuda(to: Path) -> None:
    names = ("faults", "devices", "memory", "streams", "work", "refused")
    sources = [str(HERE / "native" / f"{name}.c") for name in names]
    library = to / "libcuda.so.1"
    _run("cc", *C_FLAGS, "-Wl,-soname,libcuda.so.1", "-o", str(library), *sources, "-ldl", "-lpthread")
    (to / "libcuda.so").symlink_to(library.name)  # what -lcuda looks for


def _compile_placeholders(to: Path) -> None:
    source = str(HERE / "native" / "placeholders.c")
    for major in sorted({version.split(".")[0] for version in VERSIONS}):
        for name in ("nvinfer", "nvonnxparser", "nvinfer_plugin"):
            library = f"lib{name}.so.{major}"
            flags = [flag for flag in C_FLAGS if flag != "-fvisibility=hidden"]
            _run("cc", *flags, f"-Wl,-soname,{library}", "-o", str(to / library), source)


# --- what comes through pip -------------------------------------------------------------------------------------------


def _pip(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    _run(sys.executable, "-m", "pip", *arguments, env={**os.environ, **quiet, **(env or {})}, cwd=cwd)


def _fetcher(*requirements: str) -> Callable[[Path], None]:
    def fetch(to: Path) -> None:
        downloads = to / "downloads"
        _pip("download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(downloads), *requirements)
        for wheel in downloads.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(to)
        shutil.rmtree(downloads)

    return fetch


def _build_packages(to: Path, libcuda: Path) -> None:
    """PyCUDA as its authors publish it, compiled against our libcuda; the other packages as wheels."""
    work = to / "work"
    _fetcher(*HEADERS)(_made(work / "cuda"))
    (include,) = (path.parent for path in (work / "cuda").rglob("cuda.h"))
    no_isolation = ("--no-deps", "--no-build-isolation")
    _pip("download", "-q", *no_isolation, "--no-binary=pycuda", "-d", str(work), f"pycuda=={PYCUDA}")
    (archive,) = work.glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = work / f"pycuda-{PYCUDA}"
    options = (f"--cuda-root={include.parent}", f"--cudadrv-lib-dir={libcuda}", "--no-cuda-enable-curand")
    _run(sys.executable, "configure.py", *options, cwd=source)
    # Compiled once, run briefly: the compiler's time counts, not the code's.
    _pip(
        "wheel", "-q", *no_isolation, "-w", str(work), ".", cwd=source, env={"CFLAGS": "-O0 -g0", "CXXFLAGS": "-O0 -g0"}
    )
    (wheel,) = work.glob("pycuda-*.whl")
    _pip("install", "-q", "--no-deps", "--target", str(to), str(wheel), *PACKAGES)
    shutil.rmtree(work)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _describe(to: Path, bindings: Path, placeholders: Path) -> None:
    _with_bindings("describe", to / "api.json", placeholders, bindings)


def _stub(to: Path, bindings: Path, placeholders: Path, packages: Path) -> None:
    _with_bindings("stubs", to, placeholders, bindings, packages)


def _with_bindings(module: str, argument: Path, placeholders: Path, *path: Path) -> None:
    """In a process of its own: two versions of the bindings cannot live in one."""
    search = {
        "LD_LIBRARY_PATH": str(placeholders),
        "PYTHONPATH": os.pathsep.join(map(str, (*path, HERE.parents[1]))),
    }
    _run(sys.executable, "-m", f"doubles.nvidia.{module}", str(argument), env={**os.environ, **search})


def _run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise UnpreparedError(f"`{' '.join(command[:6])} …` failed with {done.returncode}:\n{said}")


if __name__ == "__main__":
    try:
        print(prepare())
    except UnpreparedError as error:
        sys.exit(str(error))
