"""Type stubs of the real bindings, made by pybind11-stubgen over the placeholders, and mended where it cannot know.

By hand: `python -m doubles.nvidia.stubs FOLDER`, with the bindings of one version on the path. The result holds the
bindings' docstrings' types alone: the docstrings themselves are dropped.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["make_stubs"]

MODULE = "tensorrt_bindings.tensorrt"
# A parameter called `in` is no Python, nor is one without default after one with.
MENDINGS = (
    (re.compile(r"\bin: "), "in_: "),
    (re.compile(r"(= None, channel_axis: [\w.]+)\)"), r"\1 = ...)"),
)
# What lives in C, where nobody looks: the buffer protocol, and iteration by index.
MEMBERS = {
    "IHostMemory": "def __buffer__(self, flags: int) -> memoryview: ...",
    "Dims": "def __iter__(self) -> typing.Iterator[int]: ...",
}
# What the bindings add in Python, without types.
ADDED = """
__version__: str
float32: DataType
float16: DataType
int8: DataType
int32: DataType
int64: DataType
uint8: DataType
def nptype(trt_type: DataType) -> type: ...
def volume(iterable: typing.Iterable[int]) -> int: ...
"""
# Only what our code says counts, not what is odd inside the stubs; an ignore that helps where TensorRT is absent may
# be idle here. The networks' libraries, five thousand files, say nothing of TensorRT; `make check` follows them.
MYPY_INI = """[mypy]
warn_unused_ignores = False
[mypy-tensorrt.*]
ignore_errors = True
[mypy-gi.*,onnxruntime.*,pycuda.*,cuda.*,polygraphy.*,tomli.*]
ignore_missing_imports = True
[mypy-torch.*,transformers.*,onnx.*,onnxscript.*,onnx_ir.*,safetensors.*]
follow_imports = skip
[mypy-affectrt.models.*,affectrt.export.*]
follow_imports = silent
"""


def make_stubs(to: Path) -> None:
    """Writes tensorrt/__init__.pyi and mypy.ini into `to`."""
    command = [sys.executable, "-m", "pybind11_stubgen", MODULE, "-o", str(to), "--ignore-all-errors"]
    subprocess.run(command, check=True)
    raw = to / f"{MODULE.replace('.', '/')}.pyi"
    text = raw.read_text(encoding="utf-8")
    for pattern, mended in MENDINGS:
        text = pattern.sub(mended, text)
    tree = ast.parse(text + ADDED)
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        if kind.name in MEMBERS:
            kind.body += ast.parse(MEMBERS[kind.name]).body
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Expr(ast.Constant(...))]
    (to / "tensorrt").mkdir()
    (to / "tensorrt" / "__init__.pyi").write_text(ast.unparse(tree), encoding="utf-8")
    (to / "mypy.ini").write_text(MYPY_INI, encoding="utf-8")
    raw.unlink()


if __name__ == "__main__":
    make_stubs(Path(sys.argv[1]))
