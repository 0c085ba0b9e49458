"""mypy of every module that touches TensorRT, against stubs made from the real bindings of each version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.nvidia.prepare import ROOT, VERSIONS, UnpreparedError, prepare

pytestmark = pytest.mark.timeout(1800)  # the first run prepares the bindings

ROOMS = ("runtime", "export", "cli")
IMPORTS_TENSORRT = re.compile(r"^\s*(?:import tensorrt\b|from tensorrt\b)", re.MULTILINE)

# By file name: code, and in which versions it is an error.
SAMPLES = {
    "a_flag_that_eleven_removed": ("flag = trt.BuilderFlag.FP16", ("11.",)),
    "a_calibrator": ("def f(c: trt.IBuilderConfig) -> object:\n    return c.int8_calibrator", ("11.",)),
    "the_old_enqueue": (
        "def f(c: trt.IExecutionContext) -> bool:\n    return c.execute_async_v2([1], 0)",
        ("10.", "11."),
    ),
    "a_wrong_stream": ("def f(c: trt.IExecutionContext) -> bool:\n    return c.execute_async_v3('0')", ("10.", "11.")),
    "a_wrong_result": ("def f(e: trt.ICudaEngine) -> int:\n    return e.get_tensor_name(0)", ("10.", "11.")),
    "right_use": (
        "def f(plan: bytes, stream: int) -> bool:\n"
        "    engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(plan)\n"
        "    context = engine.create_execution_context()\n"
        "    sizes = tuple(engine.get_tensor_shape('frames'))\n"
        "    return context.set_input_shape('frames', sizes) and context.execute_async_v3(stream)",
        (),
    ),
    "the_bytes_of_host_memory": ("def f(memory: trt.IHostMemory) -> bytes:\n    return bytes(memory)", ()),
}


@pytest.fixture(scope="module")
def stubs_of() -> dict[str, Path]:
    try:
        return prepare().stubs
    except UnpreparedError as error:
        pytest.skip(f"no bindings of TensorRT on this machine: {error}")


@pytest.fixture(scope="module")
def site() -> Path:
    """The rooms under the name they ship with, for mypy does not follow setuptools' map; where it stays between runs,
    so that mypy's cache helps."""
    folder = ROOT / "build" / "doubles" / "site" / "affectrt"
    folder.mkdir(parents=True, exist_ok=True)
    for room in (path for path in ROOT.iterdir() if (path / "__init__.py").exists()):
        if not (folder / room.name).is_symlink():
            (folder / room.name).symlink_to(room)
    return folder.parent


def mypy(stubs: Path, *arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    # The buffer protocol, in the stubs, needs 3.12; what our code may use is checked for 3.10 by `make check`.
    options = ("--strict", "--python-version", "3.12", "--config-file", str(stubs / "mypy.ini"))
    # One cache for all versions: what does not touch tensorrt is the same, and mypy looks at the content of the rest.
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", str(stubs.parent / "mypy"), *arguments],
        env={**os.environ, "MYPYPATH": os.pathsep.join(map(str, filter(None, (stubs, site))))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_every_module_that_touches_tensorrt_fits_its_types(stubs_of: dict[str, Path], site: Path, version: str) -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    facing = [path.relative_to(ROOT) for path in files if IMPORTS_TENSORRT.search(path.read_text(encoding="utf-8"))]
    assert facing, "no module imports tensorrt: this test looks in the wrong place"
    names = [".".join(("affectrt", *path.with_suffix("").parts)) for path in sorted(facing)]
    done = mypy(stubs_of[version], *(item for name in names for item in ("-m", name)), site=site)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_the_types_tell_what_a_version_lacks(stubs_of: dict[str, Path], tmp_path: Path, version: str) -> None:
    for name, (code, _) in SAMPLES.items():
        (tmp_path / f"{name}.py").write_text(f"import tensorrt as trt\n\n{code}\n", encoding="utf-8")
    said = mypy(stubs_of[version], *(str(tmp_path / f"{name}.py") for name in SAMPLES)).stdout
    wrong = {name for name in SAMPLES if re.search(rf"{name}\.py:\d+: error", said)}
    assert wrong == {name for name, (_, where) in SAMPLES.items() if version.startswith(where)}, said
