"""An ONNX Runtime that truncates float16 where it should round is told before a graph is judged with it."""

import numpy as np
import onnxruntime as ort
import pytest

from affectrt.bundle import EngineError
from affectrt.calibration.rounding import check_half_rounding


def test_the_installed_version_rounds() -> None:
    if tuple(int(part) for part in ort.__version__.split(".")[:2]) < (1, 31):
        pytest.skip(f"onnxruntime {ort.__version__} is older than the first that rounds, 1.31")
    check_half_rounding()


class Truncating:
    """Stands for a session of a version before 1.31."""

    def __init__(self, graph: bytes, providers: list[str]) -> None:
        assert graph and providers == ["CPUExecutionProvider"]

    def run(self, _names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.trunc(feeds["x"]).astype(np.int8)]


def test_a_version_that_truncates_is_refused_with_its_number_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "InferenceSession", Truncating)
    monkeypatch.setattr(ort, "__version__", "1.24.4")
    with pytest.raises(EngineError, match=r"1\.24\.4 quantises \[0\.6.*to \[0, 1, 1, 2, 126") as told:
        check_half_rounding()
    assert "[1, 1, 2, 2, 127, -1, -2, -3]" in str(told.value) and "onnxruntime>=1.31" in str(told.value)
