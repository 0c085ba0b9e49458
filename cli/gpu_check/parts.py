"""PyCUDA and cuda-bindings where they are missing: from archives that were fetched before, into a folder of the check.

PyCUDA has no wheels. It is compiled from its source archive with the CUDA headers of this machine; the user's
environment stays as it is.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from affectrt.bundle.errors import EngineError, UsageError

from .figures import Check
from .steps import Collector, Settings

__all__ = ["PYCUDA_VARIABLE", "fetch_parts", "find_cuda", "is_there", "provide_parts"]

PYCUDA_VARIABLE = "PYCUDA_SDIST"
FETCH = "scripts/gpu-check.sh --fetch on a machine with network, then bring build/gpu-check here"
# What an archive needs at run time, none of it with dependencies of CUDA's size.
PYCUDA_NEEDS = {
    "pytools": "pytools",
    "siphash24": "siphash24",
    "platformdirs": "platformdirs",
    "mako": "mako",
    "markupsafe": "markupsafe",
    "typing_extensions": "typing_extensions",
}
PYCUDA_BUILD_NEEDS = {"setuptools": "setuptools", "wheel": "wheel", "numpy": "numpy"}
BINDINGS_NEEDS = {"cuda.bindings": "cuda-bindings", "cuda.pathfinder": "cuda-pathfinder"}
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")


def provide_parts(found: Collector, settings: Settings) -> None:
    """Whatever of both is missing is built or unpacked into `settings.site`, each on its own."""
    work = Path(settings.work)
    _put_in_front(settings.site)
    for name, provide in (("cuda-bindings", _provide_bindings), ("PyCUDA", _provide_pycuda)):
        try:
            found.add(Check(name=name, passed=True, seen=provide(work, settings.site)))
        except (EngineError, OSError, tarfile.TarError) as error:
            found.add(Check(name=name, passed=False, seen=" ".join(str(error).split())))


def fetch_parts(work: Path, *, python: str, machine: str, cuda: int) -> None:
    """Download PyCUDA's source archive and wheels into `work`: for another machine's Python, such as 3.12, and CUDA."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    _run([*_pip("download"), "--no-deps", "--no-binary=pycuda", "--no-build-isolation", "-d", str(work), "pycuda"])
    for_python = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_{machine}")]
    # Neither is asked for its dependencies: those of cuda-bindings would bring CUDA itself.
    bindings = [f"{name}=={cuda}.*" if name == "cuda-bindings" else name for name in BINDINGS_NEEDS.values()]
    for package in (*bindings, *PYCUDA_NEEDS.values(), "setuptools", "wheel"):
        _run([*_pip("download"), "--no-deps", *for_python, *platforms, "-d", str(wheels), package])


def find_cuda(given: Mapping[str, str] | None = None, places: Sequence[Path] | None = None) -> Path:
    """The folder with include/cuda.h; EngineError where there is none."""
    environ = os.environ if given is None else given
    named = [Path(environ[name]) for name in ("CUDA_ROOT", "CUDA_HOME", "CUDA_PATH") if environ.get(name)]
    compiler = shutil.which("nvcc") if given is None else None
    beside = [Path(compiler).resolve().parent.parent] if compiler else []
    usual = [Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True), Path("/usr")]
    for root in [*named, *beside, *(usual if places is None else places)]:
        for include in (root / "include", root / "targets" / f"{os.uname().machine}-linux" / "include"):
            if (include / "cuda.h").is_file():
                return include.parent
    raise EngineError(
        "there is no cuda.h, which compiling PyCUDA needs",
        expected="the CUDA toolkit's headers",
        fix="CUDA_ROOT=/path/to/cuda make gpu-check",
    )


def _provide_bindings(work: Path, site: Path) -> str:
    if is_there("cuda.bindings"):
        return "here already"
    _unpack(work, site, [name for module, name in BINDINGS_NEEDS.items() if not is_there(module)])
    return "unpacked from the wheels that were fetched"


def _provide_pycuda(work: Path, site: Path) -> str:
    if is_there("pycuda"):
        return "here already"
    archive = _archive(work)
    cuda = find_cuda()
    _unpack(work, site, [name for module, name in PYCUDA_NEEDS.items() if not is_there(module)])
    _unpack(work, work / "tools", [name for module, name in PYCUDA_BUILD_NEEDS.items() if not is_there(module)])
    with tempfile.TemporaryDirectory(prefix="affectrt-pycuda-") as folder:
        with tarfile.open(archive) as packed:
            _check_members(packed, archive)
            packed.extractall(folder)
        (source,) = Path(folder).iterdir()
        link = _link_folder(Path(folder))
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (site.resolve(), (work / "tools").resolve())))}
        options = [f"--cuda-root={cuda}", "--no-cuda-enable-curand", f"--cudadrv-lib-dir={link}"]
        if cuda.name != "include" and (cuda / "include").is_dir():
            options.append(f"--cuda-inc-dir={cuda / 'include'}")
        _run([sys.executable, "configure.py", *options], cwd=source, environ=environ)
        to_site = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(site.resolve())]
        _run([*_pip("install"), *to_site, "."], cwd=source, environ=environ)
    importlib.invalidate_caches()
    return f"built from {archive.name}"


def _archive(work: Path) -> Path:
    """PYCUDA_SDIST, else the archive that --fetch left."""
    named = os.environ.get(PYCUDA_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise UsageError(f"{PYCUDA_VARIABLE}={named} is not a file", expected="PyCUDA's source archive")
        return Path(named)
    archives = sorted(work.glob("pycuda-*.tar.gz"))
    if not archives:
        raise EngineError("PyCUDA is not installed and there is no source archive of it", fix=FETCH)
    return archives[-1]


def _check_members(packed: tarfile.TarFile, archive: Path) -> None:
    """An archive from outside may not write beside the folder it is unpacked into."""
    for member in packed.getmembers():
        parts = Path(member.name).parts
        if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
            raise EngineError(f"{archive.name} holds {member.name!r}", expected="plain files and folders", fix=FETCH)


def _link_folder(folder: Path) -> Path:
    """A folder with a `libcuda.so` for the linker; drivers often bring libcuda.so.1 alone."""
    import ctypes.util

    name = ctypes.util.find_library("cuda") or "libcuda.so.1"
    for line in _maps_of(name):
        link = folder / "link" / "libcuda.so"
        link.parent.mkdir()
        link.symlink_to(line)
        return link.parent
    raise EngineError("the driver's libcuda.so.1 cannot be found", expected="a driver that is loaded")


def _maps_of(name: str) -> list[str]:
    """Where the loader finds a library, whatever the reason it finds it there."""
    import ctypes

    ctypes.CDLL(name)
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return [line.split(maxsplit=5)[5] for line in lines if "/libcuda.so" in line]


def _unpack(work: Path, target: Path, packages: Sequence[str]) -> None:
    """Install wheels that were fetched; EngineError names those that are not there."""
    if not packages:
        return
    options = ["--no-deps", "--no-index", "--no-compile", "--upgrade", "--find-links", str((work / "wheels").resolve())]
    _run([*_pip("install"), *options, "--target", str(target.resolve()), *packages])
    importlib.invalidate_caches()


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", command, "-qq"]


def _run(command: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise EngineError(f"{' '.join(command[:5])} … failed: {' | '.join(lines[-3:])}", fix=FETCH)


def is_there(module: str) -> bool:
    """Whether a module can be found; finding one inside a package loads that package."""
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _put_in_front(site: Path) -> None:
    folder = str(site.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
