"""Each row is computed once, and nobody who asks can tell."""

from collections.abc import Mapping

import numpy as np
import pytest

from affectrt.calibration.remembered import Remembered
from affectrt.runtime.engines.base import TensorSpec


class CountingEngine:
    """The sum of a row of both inputs, and its double; notes which rows it was asked for."""

    inputs: Mapping[str, TensorSpec] = {"a": TensorSpec("float32", (3,)), "b": TensorSpec("uint8", (2, 2))}
    outputs: Mapping[str, TensorSpec] = {"sum": TensorSpec("float32", ()), "twice": TensorSpec("float32", (2,))}
    provenance: Mapping[str, str] = {"backend": "counting", "graph_sha256": "ab"}

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.closed = False

    def infer(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls.append(len(feeds["a"]))
        total = (feeds["a"].sum(axis=1) + feeds["b"].sum(axis=(1, 2))).astype(np.float32)
        return {"sum": total, "twice": np.stack([total, 2 * total], axis=1)}

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "CountingEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rows(*numbers: int) -> dict[str, np.ndarray]:
    a = np.array([[n, 0.5, -1] for n in numbers], np.float32).reshape(-1, 3)
    return {"a": a, "b": np.array([[[n, 1], [2, 3]] for n in numbers], np.uint8).reshape(-1, 2, 2)}


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, strict=True)


def test_new_rows_are_computed_in_one_call_and_known_ones_never_again() -> None:
    engine = CountingEngine()
    remembered = Remembered(engine)
    for batch in ((1, 2, 3), (1, 2, 3), (3, 4, 1, 5), (2,), (5, 4)):
        assert_same(remembered.infer(rows(*batch)), CountingEngine().infer(rows(*batch)))
    assert engine.calls == [3, 2]


def test_a_row_that_stands_twice_in_a_batch_is_computed_once() -> None:
    engine = CountingEngine()
    batch = (7, 8, 7, 7)
    assert_same(Remembered(engine).infer(rows(*batch)), CountingEngine().infer(rows(*batch)))
    assert engine.calls == [2]


def test_an_empty_batch_is_the_engine_s_to_answer() -> None:
    assert_same(Remembered(CountingEngine()).infer(rows()), CountingEngine().infer(rows()))


@pytest.mark.parametrize("name", ["a", "b"])
def test_rows_that_differ_in_one_input_alone_are_two_rows(name: str) -> None:
    engine = CountingEngine()
    remembered = Remembered(engine)
    first, other = rows(1), rows(1)
    other[name].flat[-1] += 1
    remembered.infer(first)
    assert_same(remembered.infer(other), CountingEngine().infer(other))
    assert engine.calls == [1, 1]


def test_what_the_caller_does_with_an_answer_changes_no_later_one() -> None:
    remembered = Remembered(CountingEngine())
    for _ in range(2):
        found = remembered.infer(rows(1, 2))
        assert_same(found, CountingEngine().infer(rows(1, 2)))
        found["twice"][:] = 99


def test_inputs_that_are_views_are_known_by_their_content() -> None:
    engine = CountingEngine()
    remembered = Remembered(engine)
    feeds = rows(1, 2, 3, 4)
    remembered.infer({name: feed[::2] for name, feed in feeds.items()})
    remembered.infer(rows(1, 3))
    assert engine.calls == [2]


def test_it_says_of_itself_what_the_engine_says_and_closes_it() -> None:
    engine = CountingEngine()
    with Remembered(engine) as remembered:
        assert (remembered.inputs, remembered.outputs) == (engine.inputs, engine.outputs)
        assert remembered.provenance == engine.provenance
        assert not engine.closed
    assert engine.closed
