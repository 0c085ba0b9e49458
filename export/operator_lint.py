"""What TensorRT's ONNX parser would refuse, found before a board does.

The facts are in operators.json: a table for TensorRT 10.1 (which stands for 10.3 of JetPack 6 too), 10.16 and 11.1.
Messages name the node, and its name begins with the path of the module that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from affectrt.bundle.errors import ParityError

from .operator_rules import GENERAL_TYPES, RULES, Place
from .operator_table import OperatorTable, tables_for
from .quantiser_rules import QUANTISER_RULES
from .typed_graph import TOKENS, TypedGraph

if TYPE_CHECKING:
    import onnx

__all__ = ["OperatorProblem", "check_operators", "operator_problems"]

STANDARD = ("", "ai.onnx")
MAX_RANK = 8  # TensorRT's Dims
MAX_LISTED = 20


@dataclass(frozen=True)
class OperatorProblem:
    """What the parsers of `tensorrt`'s versions refuse; `node` and `operator` are empty for the graph as a whole."""

    node: str
    operator: str
    why: str
    instead: str | None
    tensorrt: tuple[str, ...]

    def __str__(self) -> str:
        where = f"{self.node} ({self.operator})" if self.operator else "the graph"
        told = f"{where}, TensorRT {', '.join(self.tensorrt)}: {self.why}"
        return f"{told}; instead: {self.instead}" if self.instead else told


def operator_problems(model: onnx.ModelProto, tensorrt: str | None = None) -> list[OperatorProblem]:
    """What would be refused; an empty list is good news.

    `tensorrt`: a version as `tensorrt.__version__` gives it, judged by the newest table that is not newer; None: every
    table. Raises UsageError for a version that is none or older than any table.
    """
    graph = TypedGraph(model)
    found: dict[OperatorProblem, tuple[str, ...]] = {}
    for table in tables_for(tensorrt):
        for problem in dict.fromkeys(_problems(graph, table)):
            found[problem] = (*found.get(problem, ()), table.version)
    return [replace(problem, tensorrt=versions) for problem, versions in found.items()]


def check_operators(stage: str, model: onnx.ModelProto, tensorrt: str | None = None) -> None:
    """Raises ParityError that lists every node which TensorRT would refuse."""
    problems = operator_problems(model, tensorrt)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems[:MAX_LISTED])
        more = f"\n  and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        raise ParityError(
            f"the graph of stage {stage!r} cannot become a TensorRT engine:\n{listed}{more}",
            expected=f"what the parser of TensorRT {tensorrt or '10.3 to 11.4'} takes",
            fix="change the module named at the beginning of each line",
        )


def _problems(graph: TypedGraph, table: OperatorTable) -> Iterator[OperatorProblem]:
    first, last = table.opsets
    if not first <= graph.opset <= last:
        yield _of_graph(f"is of opset {graph.opset}; {first} to {last} may be", f"export for opset {last}")
    for name in (*graph.inputs, *graph.outputs):
        yield from _edge_problems(graph, name)
    for name in graph.sparse:
        yield _of_graph(f"its constant {name} is sparse", "store it dense")
    for name in graph.external:
        yield _of_graph(f"its constant {name} lies in another file", "store the weights inside the graph")
    for index, node in enumerate(graph.nodes):
        named = OperatorProblem(node.name or f"node {index}", node.op_type, "", None, ())
        for why, instead in _node_problems(graph, node, table):
            yield replace(named, why=why, instead=instead)


def _edge_problems(graph: TypedGraph, name: str) -> Iterator[OperatorProblem]:
    """Engines have fixed shapes but for the batch and the word pieces of a sentence: their lengths are known, and each
    is an optimisation profile."""
    shape, kind = graph.shape(name), graph.element_type(name)
    if not graph.is_tensor(name):
        yield _of_graph(f"its input or output {name} is no tensor", "give tensors in and out")
        return
    if kind not in (*GENERAL_TYPES, "UINT8", "INT8"):
        yield _of_graph(f"its input or output {name} is {kind}", f"one of {', '.join(GENERAL_TYPES)}, UINT8 or INT8")
    if shape is None:
        yield _of_graph(f"the shape of its input or output {name} cannot be told", "export with fixed shapes")
    elif None in (shape[2:] if _may_vary(graph, name) else shape[1:]):
        yield _of_graph(f"{name} has an axis besides the batch without a fixed size", "export with fixed shapes")


def _may_vary(graph: TypedGraph, name: str) -> bool:
    """Whether an input's axis after the batch is that of word pieces; an output's has no name that can be relied on."""
    of = graph.inputs if name in graph.outputs else [name]
    return any(graph.axis_name(value, 1) == TOKENS for value in of)


def _node_problems(graph: TypedGraph, node: onnx.NodeProto, table: OperatorTable) -> Iterator[tuple[str, str | None]]:
    import onnx

    if node.domain not in STANDARD:
        yield f"domain {node.domain!r} is not standard ONNX", "write it with standard operators"
        return
    refused = table.why_refused(node.op_type)
    if refused is not None:
        yield refused
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, graph.opset, "")
    except onnx.defs.SchemaError:
        yield f"is not in opset {graph.opset}", _first_opset(node.op_type)
        return
    if schema.deprecated:
        yield f"is no longer in opset {graph.opset}", "write what took its place"
        return
    place = Place(graph, node, schema, table, table.limits(node.op_type))
    for rule, instead in (*RULES, *QUANTISER_RULES):
        for why in rule(place):
            yield why, instead or place.limits.instead
    for name in (*node.input, *node.output):
        shape = graph.shape(name) if name else None
        if shape is not None and len(shape) > MAX_RANK:
            yield f"{name} has {len(shape)} axes, more than {MAX_RANK}", "reshape it"


def _first_opset(operator: str) -> str | None:
    import onnx

    history = onnx.defs.get_all_schemas_with_history()
    versions = [schema.since_version for schema in history if schema.name == operator and schema.domain == ""]
    return f"export for opset {min(versions)} or newer" if versions else None


def _of_graph(why: str, instead: str) -> OperatorProblem:
    return OperatorProblem("", "", why, instead, ())
