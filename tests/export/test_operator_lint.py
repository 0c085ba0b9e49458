"""What TensorRT's parsers refuse is found in the graph, told by node, version and way round; each rule is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from doubles.hostile_graphs import (
    ALL,
    BOOL,
    FLOAT,
    HALF,
    HOSTILE,
    INT8,
    INT64,
    PICTURES,
    STEP,
    UINT8,
    i64,
    model,
    node,
    one,
    pair,
)
from onnx import TensorProto, helper

import affectrt.export
from affectrt.bundle import ParityError, UsageError
from affectrt.export import check_operators, operator_lint, operator_problems, operator_rules, quantiser_rules
from affectrt.export.operator_table import TABLES, OperatorTable, tables_for

# Of the graph as a whole, or of an operator as such: no rule of a list to take away.
REFUSED: list[tuple[str, Any, str, tuple[str, ...]]] = [
    (
        "spectra",
        one("STFT", {**STEP, "w": np.ones(16, np.float32)}, shape=["batch", 64, 1]),
        "write it as a Conv1d",
        ("10.1",),
    ),
    (
        "windows",
        model([node("HannWindow", ["n"]), node("Relu", outputs=["r"])], {"n": np.array(8, np.int64)}),
        "buffer of the module",
        ("10.1",),
    ),
    (
        "attention",
        model([node("Attention", ["x", "x", "x"])], opset=23),
        "is unknown to this version's parser",
        ("10.1",),
    ),
    ("Fourier", one("DFT", shape=["batch", 8, 2]), "is unknown to the parser", ALL),
    (
        "integer convolutions",
        model(
            [node("ConvInteger", ["x", "w"])], {"w": np.ones((2, 4, 1, 1), np.uint8)}, inputs={"x": (UINT8, PICTURES)}
        ),
        "write QuantizeLinear and DequantizeLinear",
        ALL,
    ),
    (
        "dynamic ranges",
        model([node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("DequantizeLinear", ["q", "s", "z"])]),
        "takes its range",
        ALL,
    ),
    (
        "places of what is not 0",
        model([node("NonZero", ["x"], ["i"]), node("Relu")]),
        "as many values as its input decides",
        ALL,
    ),
    (
        "loops",
        model([node("Loop", ["", "c", "x"], ["y"], body=helper.make_graph([], "b", [], []))], {"c": np.array(True)}),
        "control flow",
        ALL,
    ),
    (
        "sequences",
        model([node("SequenceConstruct", ["x"], ["s"]), node("ConcatFromSequence", ["s"], axis=0)]),
        "sequence",
        ALL,
    ),
    (
        "another vendor's",
        model([helper.make_node("Gelu", ["x"], ["y"], "g", domain="com.microsoft")]),
        "domain 'com.microsoft'",
        ALL,
    ),
    ("no list's", model([node("Swish")], opset=24), "is in no list", ALL),
    ("Gelu too early", model([node("Gelu")], opset=19), "export for opset 20", ALL),
    ("gone", one("Upsample", {"s": np.ones(4, np.float32)}), "is no longer in opset 20", ALL),
    ("opset 21", model([node("Relu")], opset=21), "is of opset 21; 9 to 20 may be", ("10.1",)),
    ("opset 8", model([node("Relu")], opset=8), "is of opset 8; 9 to 20", ("10.1",)),
    ("free axes", one("Relu", shape=["batch", "time"]), "besides the batch without a fixed size", ALL),
    ("nine axes", one("Relu", shape=["batch", *[1] * 8]), "has 9 axes, more than 8", ALL),
    ("texts", one("Identity", kind=TensorProto.STRING), "its input or output x is STRING", ALL),
]


@pytest.mark.parametrize(("rule", "name", "hostile", "words", "versions"), HOSTILE, ids=[case[1] for case in HOSTILE])
def test_a_hostile_graph_is_told_by_one_rule_and_not_without_it(
    rule: str,
    name: str,
    hostile: onnx.ModelProto,
    words: str,
    versions: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = [problem for problem in operator_problems(hostile) if words in problem.why]
    assert told
    assert {problem.tensorrt for problem in told} == {versions}
    assert all(problem.instead and problem.node.startswith("body/") for problem in told)
    for module, rules in ((operator_rules, "RULES"), (quantiser_rules, "QUANTISER_RULES")):
        kept = tuple(entry for entry in getattr(module, rules) if name_of(entry[0]) != rule)
        monkeypatch.setattr(operator_lint, rules, kept)
    assert [problem for problem in operator_problems(hostile) if words in problem.why] == []


def name_of(rule: Any) -> str:
    """Of a rule, or of the one that a rule for quantisers alone was made from."""
    inner = [cell.cell_contents for cell in rule.__closure__ or ()]
    return str(inner[0].__name__ if inner else rule.__name__)


def test_every_rule_has_a_hostile_graph() -> None:
    rules = {name_of(rule) for rule, _ in (*operator_rules.RULES, *quantiser_rules.QUANTISER_RULES)}
    assert rules == {case[0] for case in HOSTILE}


@pytest.mark.parametrize(("name", "hostile", "words", "versions"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_no_rule_can_mend_is_refused(
    name: str, hostile: onnx.ModelProto, words: str, versions: tuple[str, ...]
) -> None:
    told = [problem for problem in operator_problems(hostile) if words in str(problem)]
    assert told, operator_problems(hostile)
    assert any(set(versions) <= set(problem.tensorrt) for problem in told), told


@pytest.mark.parametrize(
    "fine",
    [
        model([node("Cast", ["x"], ["f"], to=FLOAT), node("Relu", ["f"])], inputs={"x": (UINT8, PICTURES)}),
        model([node("Relu", ["x"], ["r"]), node("Cast", ["r"], to=UINT8)]),
        pair(),
        pair(np.ones(4, np.float32), np.zeros(4, np.int8), axis=-3),
        pair(np.float16(0.1), kind=HALF),
        pair(zero=None, opset=21, output_dtype=INT8),
        one("Conv", {"w": np.ones((2, 4, 3), np.float32)}, shape=["batch", 4, 9]),
        one("Conv", {"w": np.ones((2, 4, 3, 3, 3), np.float32)}, shape=["batch", 4, 9, 9, 9], pads=[1, 1, 1, 0, 0, 0]),
        one("MaxPool", kernel_shape=[2, 2], dilations=[1, 1], ceil_mode=1),
        model([node("TopK", ["x", "k"], ["y", "i"])], {"k": i64(3839)}, inputs={"x": (FLOAT, ["batch", 5000])}),
        one("ReduceMean", {"a": i64(1)}),
        one("Gelu"),
        model([node("Where", ["c", "x", "x"])], inputs={"x": (FLOAT, PICTURES), "c": (BOOL, PICTURES)}),
    ],
)
def test_what_the_parsers_take_passes(fine: onnx.ModelProto) -> None:
    told = operator_problems(fine)
    assert [problem for problem in told if "opset 21" not in problem.why] == []


def test_a_computed_answer_is_not_believed_from_the_file() -> None:
    lying = one("Transpose", kind=UINT8)
    lying.graph.value_info.append(helper.make_tensor_value_info("x", FLOAT, PICTURES))
    lying.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, PICTURES))
    assert any("computes on UINT8" in problem.why for problem in operator_problems(lying))


def test_weights_in_other_files_are_told_and_not_opened(tmp_path: Path) -> None:
    away = one("Add", {"w": np.ones(1, np.float32)})
    tensor = away.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(tmp_path / "absent.bin"))
    assert [p.why for p in operator_problems(away)] == ["its constant w lies in another file"]


def test_a_replaceable_constant_is_none() -> None:
    replaceable = one("ReduceMean", {"a": i64(1)})
    replaceable.graph.input.append(helper.make_tensor_value_info("a", INT64, [1]))
    assert [p.why for p in operator_problems(replaceable)] == ["its input 1 (axes) must be a constant"]


@pytest.mark.parametrize(
    ("version", "table"),
    [
        ("10.1", "10.1"),
        ("10.3.0", "10.1"),
        ("10.3.0.30", "10.1"),
        ("10.9.0", "10.1"),
        ("10.14.1.48.post1", "10.1"),
        ("10.16.2.10", "10.16"),
        ("10.20.0", "10.16"),
        ("11.0.0.114", "10.16"),
        ("11.4.0.106", "11.1"),
        ("12.0", "11.1"),
    ],
)
def test_a_version_is_judged_by_the_newest_table_that_is_not_newer(version: str, table: str) -> None:
    assert [found.version for found in tables_for(version)] == [table]


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "ten", "", "10", "../11.1"])
def test_a_version_without_a_table_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="TensorRT version"):
        operator_problems(one("Relu"), version)


def test_one_version_is_told_alone() -> None:
    (problem,) = operator_problems(REFUSED[0][1], "10.3.0.30")
    assert str(problem) == (
        "body/STFT (STFT), TensorRT 10.1: is unknown to this version's parser; "
        "instead: write it as a Conv1d whose weight is the windowed DFT basis"
    )
    assert operator_problems(REFUSED[0][1], "10.16.2.10") == []


def test_a_refusal_lists_every_node_and_the_versions() -> None:
    broken = model([node("DFT", ["x"], ["d"]), node("Det", ["d"])])
    with pytest.raises(
        ParityError, match=r"(?s)stage 'audio' cannot.*body/DFT \(DFT\), TensorRT 10.1, 10.16, 11.1.*body/Det"
    ):
        check_operators("audio", broken)


def test_the_tables_hold_what_was_counted_in_the_lists() -> None:
    names = json.loads((Path(affectrt.export.__path__[0]) / "operators.json").read_text())["operators"]
    flow = {"If", "Loop", "Scan", "NonZero", "NonMaxSuppression"}  # the parser's, refused for a reason of ours
    taken = {v: sum(OperatorTable(v).why_refused(n) is None for n in names) for v in TABLES}
    assert len(flow & names.keys()) == 5
    assert {v: count + len(flow) for v, count in taken.items()} == {"10.1": 150, "10.16": 158, "11.1": 158}
    standard = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert set(names) - standard == {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}
