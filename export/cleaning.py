"""What the exporter writes beside the computation is taken out; what later steps need is written in its place.

The exporter leaves stack traces with paths of this machine, and names with counters that depend on what the process
did before. Afterwards nodes are named after their module and values after their nodes, and each node says in
its metadata whether it is part of a front end.
"""

from __future__ import annotations

import ast
from collections import Counter
from typing import TYPE_CHECKING

from affectrt.bundle.scopes import BODY, FRONT_END, SCOPE_KEY

if TYPE_CHECKING:
    import onnx

__all__ = ["PRODUCER", "clean_model", "scope_of"]

PRODUCER = "affectrt"
NAME_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
CLASSES_KEY = "pkg.torch.onnx.class_hierarchy"
FRONT_END_CLASS_SUFFIX = "FrontEnd"


def clean_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with the same computation, stable names, inferred shapes and no trace of where it was made.

    Raises onnx.checker.ValidationError or onnx.shape_inference.InferenceError for a model that is not valid.
    """
    import onnx

    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    graph = clean.graph
    scopes = _scopes(graph)
    _rename(graph, [_module_path(node) for node in graph.node])
    for node, scope in zip(graph.node, scopes, strict=True):
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        note = node.metadata_props.add()
        note.key, note.value = SCOPE_KEY, scope
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.ClearField("doc_string")
        value.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.ClearField("doc_string")
    graph.ClearField("metadata_props")
    graph.name = "main"
    clean.ClearField("doc_string")
    clean.ClearField("metadata_props")
    clean.producer_name, clean.producer_version = PRODUCER, ""
    strip_opset_imports(clean)
    inferred = onnx.shape_inference.infer_shapes(clean, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred, full_check=True)
    return inferred


def strip_opset_imports(model: onnx.ModelProto) -> None:
    """Keep the imports of domains that some node uses."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    model.ClearField("opset_import")
    model.opset_import.extend(kept)


def scope_of(node: onnx.NodeProto) -> str:
    """FRONT_END or BODY."""
    return next((note.value for note in node.metadata_props if note.key == SCOPE_KEY), BODY)


def _scopes(graph: onnx.GraphProto) -> list[str]:
    """A node is front end if a class named …FrontEnd made it, or if such a node computes with its output."""
    needed: set[str] = set()
    scopes = []
    for node in reversed(graph.node):
        made = any(name.endswith(FRONT_END_CLASS_SUFFIX) for name in _exporter_list(node, CLASSES_KEY))
        if made or needed.intersection(node.output):
            needed.update(node.input)
            scopes.append(FRONT_END)
        else:
            scopes.append(BODY)
    return scopes[::-1]


def _exporter_list(node: onnx.NodeProto, key: str) -> list[str]:
    text = next((note.value for note in node.metadata_props if note.key == key), "[]")
    return [str(entry) for entry in ast.literal_eval(text)]


def _module_path(node: onnx.NodeProto) -> tuple[str, ...]:
    """Attribute names from the root module down to the one that made the node; () for the root."""
    scopes = _exporter_list(node, NAME_SCOPES_KEY)
    # The last entry is the traced operation, the others are dotted module names, each longer than the one before.
    made_up = len(scopes) > 1 and scopes[-2].startswith("_empty_nn_module_stack")  # what reads a dynamic axis
    return tuple(scopes[-2].split(".")) if len(scopes) > 1 and scopes[-2] and not made_up else ()


def _rename(graph: onnx.GraphProto, paths: list[tuple[str, ...]]) -> None:
    """Name nodes MODULE.PATH/Op_i, values after the node that yields them, constants after their first user."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    constants = {tensor.name for tensor in graph.initializer}
    names: dict[str, str] = {name: name for name in fixed}
    count: Counter[str] = Counter()
    for node, path in zip(graph.node, paths, strict=True):
        stem = f"{'.'.join(path) or 'root'}/{node.op_type}"
        node.name = f"{stem}_{count[stem]}"
        count[stem] += 1
        for index, name in enumerate(node.input):
            if name in constants and name not in names:
                names[name] = f"{node.name}:in{index}"
        for index, name in enumerate(node.output):
            if name and name not in names:
                names[name] = f"{node.name}:out{index}"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    kept = [tensor for tensor in graph.initializer if tensor.name in names]
    for tensor in kept:
        tensor.name = names[tensor.name]
    kept = sorted(kept, key=lambda tensor: tensor.name)
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    graph.ClearField("initializer")
    graph.initializer.extend(copies)
