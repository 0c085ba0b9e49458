"""What one run of the demo found, as plain data: the report and its figures read nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["DIMENSIONS", "PARTS", "Curve", "DemoResult", "PrecisionRun", "Still", "headline", "number"]

Floats = npt.NDArray[np.float64]

DIMENSIONS = ("valence", "arousal")

# Where the time of a run goes, in data order; a part that a run does not name took no measurable time.
PARTS: Mapping[str, str] = {
    "decode": "waiting for the decoder",
    "align": "align and crop",
    "video": "video encoder",
    "audio": "audio encoder",
    "fusion": "fusion",
    "sink": "sink",
}


@dataclass(frozen=True)
class Curve:
    """Valence and arousal at the times `t_s`; NaN where there is none. All arrays have one shape, (times,)."""

    t_s: Floats
    valence: Floats
    arousal: Floats

    def of(self, dimension: str) -> Floats:
        """The values of one of DIMENSIONS."""
        return self.valence if dimension == "valence" else self.arousal


@dataclass(frozen=True)
class Still:
    """One frame of the clip, uint8 RGB (height, width, 3), with its media time."""

    t_s: float
    rgb: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PrecisionRun:
    """One precision through the whole pipeline.

    `plan`: stage → precision that really ran. `seconds`: part (see PARTS) → seconds spent in it. `wall_s`: from the
    first media asked for to the last estimate written. `graph_bytes`: size of the graphs of this plan.
    """

    precision: str
    curve: Curve
    ccc: Mapping[str, float]
    wall_s: float
    seconds: Mapping[str, float]
    plan: Mapping[str, str] = field(default_factory=dict)
    graph_bytes: int = 0

    @property
    def label(self) -> str:
        return self.precision.upper()


@dataclass(frozen=True)
class DemoResult:
    """The clip, its truth, and every precision that saw it; the first run is the one others are compared with.

    `truth` has a value for every step: what an estimate of that step should be. `estimate_every_s`: seconds between
    estimates, 0 where every step has one. `described_s`: where estimates are means over a window, and with them
    `truth`, its length; 0 where they are of single steps. `facts`: heading → name → value, printed as given.
    """

    clip: str
    clip_s: float
    step_hz: float
    truth: Curve
    runs: tuple[PrecisionRun, ...]
    stills: tuple[Still, ...] = ()
    warm_up_s: float = 0.0
    ccc_over: str = "every estimate of the clip"
    estimate_every_s: float = 0.0
    described_s: float = 0.0
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    made_on: str = ""

    @property
    def steps(self) -> int:
        return len(self.truth.t_s)

    def times_real_time(self, run: PrecisionRun) -> float:
        """Seconds of media per second of wall clock."""
        return self.clip_s / run.wall_s if run.wall_s > 0 else math.nan

    def ms_per_step(self, run: PrecisionRun, part: str) -> float:
        """Milliseconds of work in one part, averaged over the steps of the clip."""
        return 1000 * run.seconds.get(part, 0.0) / max(1, self.steps)


def headline(result: DemoResult) -> str:
    """What happened, in one sentence that does not flatter."""
    first, last = result.runs[0], result.runs[-1]
    followed = _followed(first.ccc)
    speed = f"{_times(result.times_real_time(last))} faster than real time"
    if not result.times_real_time(last) > 1:
        speed = f"at {_times(result.times_real_time(last))} real time"
    sentence = f"In {result.clip_s:.0f} seconds of a drawn face with a synthetic voice the model {followed}, {speed}"
    if last is first:
        return f"{sentence} in {first.label}."
    return f"{sentence} in {last.label}, which {_cost(first, last)}."


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """A value for people: a real minus sign, and a dash for what is not known."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")


def _followed(ccc: Mapping[str, float]) -> str:
    how = {name: _closeness(ccc.get(name, math.nan)) for name in DIMENSIONS}
    value = {name: number(ccc.get(name, math.nan), 2) for name in DIMENSIONS}
    if len(set(how.values())) == 1:
        both = f"(CCC {value['valence']} and {value['arousal']})"
        return how["valence"].format("valence and arousal") + f" {both}"
    each = [how[n].format(n) + f" (CCC {value[n]})" for n in DIMENSIONS]
    return " and ".join(each)


def _closeness(ccc: float) -> str:
    if ccc >= 0.8:
        return "followed {} closely"
    if ccc >= 0.5:
        return "followed {}"
    if ccc >= 0.25:
        return "followed {} loosely"
    return "did not follow {}"


def _cost(first: PrecisionRun, last: PrecisionRun) -> str:
    lost = [first.ccc.get(n, math.nan) - last.ccc.get(n, math.nan) for n in DIMENSIONS]
    if any(math.isnan(x) for x in lost):
        return f"cannot be compared with {first.label}"
    worst = max(lost)
    if worst < 0.0005:
        return f"lost nothing against {first.label}"
    return f"lost {worst:.3f} of CCC against {first.label}" + (" at worst" if len(lost) > 1 else "")


def _times(factor: float) -> str:
    if math.isnan(factor):
        return "an unknown number of times"
    return f"{factor:.0f}×" if factor >= 10 else f"{factor:.1f}×"
