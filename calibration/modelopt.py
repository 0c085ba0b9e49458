"""`nvidia-modelopt` as a second quantiser for TensorRT: it places pairs and chooses ranges, our lint judges them.

It runs in a process of its own: importing it replaces parts of ONNX Runtime's calibrators, after which ours would find
no ranges any more.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence, Set
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import EngineError, UsageError
from affectrt.bundle.manifest import Precision

from .graph import GraphEditor, attributes_of
from .half import to_half
from .lint import check_qdq
from .placement import layer_nodes
from .ranges import Method
from .scope import is_front_end
from .stage import StageSource

if TYPE_CHECKING:
    import onnx

__all__ = ["emit_with_modelopt", "quantise_with_modelopt"]

METHODS: Mapping[Method, str] = {"minmax": "max", "entropy": "entropy"}
MEMORY = "/dev/shm"
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Feeds = Mapping[str, npt.NDArray[np.generic]]


def emit_with_modelopt(
    source: StageSource,
    feeds: Feeds,
    precision: Precision,
    *,
    method: Method = "minmax",
    keep: Set[str] = frozenset(),
) -> bytes:
    """As `stage.emit` for tensorrt, but from `feeds` (input → rows) instead of stored ranges.

    Raises UsageError for what modelopt cannot make, ParityError where its graph breaks a rule, EngineError where it
    fails, ModuleNotFoundError where it is not installed.
    """
    if precision not in ("int8", "int8-fp16"):
        raise UsageError(f"modelopt for {precision}", expected="int8 or int8-fp16")
    model = quantise_with_modelopt(source.variants["tensorrt"], feeds, method=method, keep=keep)
    if precision == "int8-fp16":
        model = to_half(model, source.ranges.largest)
    check_qdq(source.stage, model)
    return bytes(model.SerializeToString(deterministic=True))


def quantise_with_modelopt(
    model: onnx.ModelProto, feeds: Feeds, *, method: Method = "minmax", keep: Set[str] = frozenset()
) -> onnx.ModelProto:
    """`model` with pairs by modelopt. Front ends, and layers that `keep` names or our rules spare, take floats."""
    import onnx

    if method not in METHODS:
        raise UsageError(f"method {method!r} for modelopt", expected=", ".join(METHODS), fix="--method minmax")
    graph = GraphEditor(model)
    allowed = {node.name for node in layer_nodes(graph, "tensorrt") if node.output[0] not in keep}
    excluded = [n.name for n in graph.nodes if is_front_end(n) or (n.op_type in WEIGHTED and n.name not in allowed)]
    with tempfile.TemporaryDirectory(prefix="affectrt-modelopt-", dir=_memory()) as folder:
        (Path(folder) / "stage.onnx").write_bytes(model.SerializeToString())
        np.savez(Path(folder) / "rows.npz", **feeds)  # type: ignore[arg-type]
        # Patterns, which match names from their beginning on.
        _run(folder, METHODS[method], [f"{re.escape(name)}$" for name in excluded])
        found = onnx.load(Path(folder) / "int8.onnx")
    return _tidied(found, model)


def _memory() -> str:
    """Where files are memory: the rows hold faces and voices, which are written to no disk."""
    if not Path(MEMORY).is_dir():
        raise EngineError(
            f"there is no {MEMORY}, and modelopt takes its inputs from files",
            expected="a file system in memory, so that no face or voice is written to disk",
            fix="calibrate with affectrt's own quantiser: --quantiser affectrt",
        )
    return MEMORY


def _run(folder: str, method: str, excluded: Sequence[str]) -> None:
    """stage.onnx and rows.npz in `folder` become int8.onnx."""
    if find_spec("modelopt") is None:
        raise ModuleNotFoundError("No module named 'modelopt'", name="modelopt")
    command = [sys.executable, "-m", "modelopt.onnx.quantization", "--quantize_mode=int8", "--onnx_path=stage.onnx"]
    command += ["--calibration_data_path=rows.npz", f"--calibration_method={method}", "--calibration_eps", "cpu"]
    command += ["--high_precision_dtype=fp32", "--output_path=int8.onnx", "--log_level=ERROR"]
    if excluded:
        command += ["--nodes_to_exclude", *excluded]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0 or not (Path(folder) / "int8.onnx").is_file():
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise EngineError(
            f"nvidia-modelopt stopped with exit code {done.returncode} and said: {said[-1]}",
            expected="an INT8 graph",
            fix="leave it to affectrt's own quantiser",
        )


def _tidied(found: onnx.ModelProto, before: onnx.ModelProto) -> onnx.ModelProto:
    """With the notes of scope that modelopt drops, and INT8 weights instead of floats that the graph would round."""
    notes = {node.name: node.metadata_props for node in before.graph.node}
    graph = GraphEditor(found)
    consumers = graph.consumers()
    folded: list[onnx.NodeProto] = []
    for node in graph.nodes:
        del node.metadata_props[:]
        node.metadata_props.extend(notes.get(node.name, ()))
        if node.op_type == "QuantizeLinear" and graph.is_constant(node.input[0]):
            _fold(graph, node, consumers[node.output[0]])
            folded.append(node)
    graph.nodes = [node for node in graph.nodes if not any(node is gone for gone in folded)]
    return graph.model()


def _fold(graph: GraphEditor, node: onnx.NodeProto, users: list[onnx.NodeProto]) -> None:
    weights, scale = graph.constant(node.input[0]), graph.constant(node.input[1])
    axis = attributes_of(node).get("axis", 1) % weights.ndim
    shape = [-1 if i == axis and scale.size > 1 else 1 for i in range(weights.ndim)]
    rounded = np.clip(np.rint(weights / scale.reshape(shape)), -128, 127).astype(np.int8)
    name = graph.set_constant(f"{node.output[0]}:int8", rounded)
    for user in users:
        user.input[0] = name
