"""The bytes of a simulated plan: a header, what the engine knows of itself, the ONNX graph, a check sum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from doubles.nvidia.network import Network

__all__ = ["BadPlanError", "Plan", "read_plan", "write_plan"]

MARK = b"simulated plan\n"


class BadPlanError(Exception):
    """What TensorRT would log about it."""


@dataclass(frozen=True)
class Plan:
    facts: dict[str, Any]
    graph: bytes


def write_plan(version: str, network: Network, built: dict[str, Any], layers: list[dict[str, Any]]) -> bytes:
    model = network.model
    assert model is not None
    tensors = [(tensor, "INPUT") for tensor in network.inputs] + [(tensor, "OUTPUT") for tensor in network.outputs]
    facts = {
        "version": version,
        "built": built,
        "layers": layers,
        "tensors": [
            {"name": t.name, "mode": mode, "dtype": t.dtype.name, "shape": t.shape, "axes": t.axes}
            for t, mode in tensors
        ],
    }
    header = json.dumps(facts).encode()
    body = MARK + len(header).to_bytes(8, "little") + header + model.SerializeToString()
    return body + hashlib.sha256(body).digest()


def read_plan(data: bytes, version: str) -> Plan:
    """Raises BadPlanError."""
    body, check = data[:-32], data[-32:]
    if not body.startswith(MARK):
        raise BadPlanError("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magicTag does not match)")
    if hashlib.sha256(body).digest() != check:
        raise BadPlanError("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (the stream is corrupt)")
    start = len(MARK) + 8
    end = start + int.from_bytes(body[len(MARK) : start], "little")
    facts = json.loads(body[start:end])
    if facts["version"] != version:
        raise BadPlanError(
            "IRuntime::deserializeCudaEngine: Error Code 6: The engine plan file is not compatible with this version "
            f"of TensorRT, expecting library version {version} got {facts['version']}, please rebuild."
        )
    return Plan(facts, body[end:])
