"""A bundle's graph as the builder sees it: read without trust, its batch axis, and its length, free or as asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from affectrt.bundle.errors import EngineError

if TYPE_CHECKING:
    import onnx

__all__ = ["graph_from_bytes", "input_shapes"]


def graph_from_bytes(name: str, content: bytes) -> onnx.ModelProto:
    """Raises EngineError for what is no ONNX graph, and for one whose weights lie in other files."""
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, untyped family
        raise EngineError(
            f"the graph of {name} is no ONNX graph: {error}", expected="what affectrt export wrote"
        ) from None
    outside = [tensor.name for tensor in _tensors(model.graph) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        # Its path is the file's to choose, and would be opened by TensorRT's parser.
        raise EngineError(
            f"the graph of {name} keeps the weights {', '.join(outside[:3])} in other files",
            expected="a graph that holds all of its weights",
        )
    return model


def input_shapes(
    name: str, model: onnx.ModelProto, batch: int, length: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Input → its shape with `batch` rows, of `length` if given.

    Raises EngineError where any other axis is open, or one of these is fixed otherwise.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    shapes: dict[str, tuple[int, ...]] = {}
    for value in model.graph.input:
        if value.name in held:
            continue
        asked = (batch,) if length is None else (batch, length)
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        leading, others = sizes[: len(asked)], sizes[len(asked) :]
        fits = len(leading) == len(asked) and all(size in (0, want) for size, want in zip(leading, asked, strict=True))
        if not fits or not all(size > 0 for size in others):
            axes = "a leading axis that is" if length is None else "two leading axes that are"
            raise EngineError(
                f"input {value.name!r} of the graph of {name} has the shape {[size or '?' for size in sizes]}",
                expected=f"{axes} open or {' and '.join(map(str, asked))}, and sizes for all others",
                fix="affectrt export the checkpoint again",
            )
        shapes[value.name] = (*asked, *others)
    return shapes


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    nodes: Sequence[onnx.NodeProto] = graph.node
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
