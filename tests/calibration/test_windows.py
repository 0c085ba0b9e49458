"""Ranges come from what a run asks its encoders to compute: the same files, source, session and spans."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from doubles.clip_contract import clip_contract
from doubles.media import write_media
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle import Bundle
from affectrt.calibration.windows import record_windows
from affectrt.runtime.engines import Engine, open_engines
from affectrt.runtime.engines.base import Array
from affectrt.runtime.run import run_bundle
from affectrt.runtime.sources import open_source

pytest.importorskip("gi")
SECONDS = 3


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Pictures that grow brighter with every frame, and a tone that rises with them."""
    time = np.arange(SECONDS * 48_000) / 48_000
    levels = np.linspace(20, 220, SECONDS * 25).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (len(levels), 64, 64, 3))
    samples = (0.3 * np.sin(2 * np.pi * (200 + 200 * time) * time)).astype(np.float32)
    return write_media(tmp_path / "rising.mp4", frames=frames, samples=samples)


def rows_of_a_run(bundle: Bundle, media: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Every row that `affectrt run` gives its encoders, in order."""
    asked: dict[str, list[Array]] = {"video": [], "audio": []}

    class Listening:
        def __init__(self, stage: str, engine: Engine) -> None:
            self._stage, self._engine, self.provenance = stage, engine, engine.provenance

        def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
            asked.get(self._stage, []).extend(next(iter(feeds.values())))
            return self._engine.infer(feeds)

    def open_listening(opened: Bundle, precision: str, stack: ExitStack, *_: object, **__: object) -> dict[str, Engine]:
        engines = open_engines(opened, "fp32", stack)
        return {stage: Listening(stage, engine) for stage, engine in engines.items()}  # type: ignore[misc]

    monkeypatch.setattr("affectrt.runtime.run.open_engines", open_listening)
    run_bundle(bundle, open_source(media, bundle.contract))
    return {stage: np.stack(rows) for stage, rows in asked.items()}


def test_recorded_inputs_are_those_of_a_run_step_by_step(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    seconds: dict[Path, float] = {}
    found = record_windows(bundle.contract, [recording], per_stage=1000, seed=0, read=seconds.__setitem__)
    wanted = rows_of_a_run(bundle, recording, monkeypatch)
    frames, spans = found["video"]["frames"], found["audio"]["waveform"]
    np.testing.assert_array_equal(frames, wanted["video"])
    np.testing.assert_array_equal(spans, wanted["audio"])
    assert len(frames) == SECONDS * 25 and abs(len(spans) - SECONDS * 25) <= 2
    # one picture a step and each brighter; one span a step, of 0.1 s, so that it overlaps the one 0.04 s later
    brightness = frames.mean(axis=(1, 2, 3))
    assert (np.diff(brightness) > 0).all()
    np.testing.assert_array_equal(spans[5][640:], spans[6][:-640])
    assert seconds[recording] == pytest.approx(SECONDS, abs=0.1)


def test_where_windows_leave_steps_out_the_spans_of_every_step_are_recorded(recording: Path) -> None:
    contract = clip_contract()
    found = record_windows(contract, [recording], per_stage=1000, seed=0)["video"]["frames"]
    assert contract.fusion.default_hop_steps == 4 and found.shape == (SECONDS * 25, 4, 8, 8, 3)
    # each clip moves on by one picture
    np.testing.assert_array_equal(found[10, 1:], found[11, :-1])


def test_a_sample_is_of_these_inputs_and_in_order_of_time(recording: Path, tmp_path: Path) -> None:
    contract = make_tiny_bundle(tmp_path / "tiny.affect").contract
    every = record_windows(contract, [recording], per_stage=1000, seed=0)["video"]["frames"]
    few = record_windows(contract, [recording], per_stage=10, seed=0)["video"]["frames"]
    at = [int(np.flatnonzero([np.array_equal(frame, row) for row in every])[0]) for frame in few]
    assert len(at) == 10 and at == sorted(set(at)) and at[-1] - at[0] > len(every) // 2
