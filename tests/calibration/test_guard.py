"""The guard passes what loses little for certain, says in figures why it does not pass the rest, and never guesses."""

from dataclasses import dataclass

import pytest

from affectrt.bundle import UsageError
from affectrt.bundle.manifest import Interval
from affectrt.calibration.guard import Guard


@dataclass(frozen=True)
class Compared:
    """Stands for `Comparison`: the guard reads its three intervals."""

    reference: Interval
    candidate: Interval
    loss: Interval


def compared(loss: float, upper: float | None, *, reference: float = 0.6, reach: float = 0.05) -> Compared:
    low = None if upper is None else 2 * loss - upper
    return Compared(
        Interval(value=reference, low=reference - reach, high=reference + reach),
        Interval(value=reference - loss),
        Interval(value=loss, low=low, high=upper),
    )


@pytest.mark.parametrize(
    ("loss", "upper"),
    [(0.0, 0.0), (0.01, 0.02), (-0.3, -0.2), (0.0099, 0.0199)],
)
def test_a_loss_up_to_the_limits_passes(loss: float, upper: float) -> None:
    assert Guard().problems({"valence": compared(loss, upper), "arousal": compared(0.0, 0.0)}) == []


def test_a_loss_above_the_limit_is_told_with_its_figures() -> None:
    problems = Guard().problems({"valence": compared(0.0, 0.0), "arousal": compared(0.0124, 0.0188)})
    assert problems == ["arousal: loses 0.0124 CCC (0.600 to 0.588), more than 0.01"]


def test_a_small_loss_that_chance_may_hide_does_not_pass() -> None:
    problems = Guard().problems({"valence": compared(0.004, 0.0312)})
    assert problems == [
        "valence: may lose 0.0312 CCC, the upper end of the 95 % interval of a loss of 0.0040; more than 0.02"
    ]


def test_every_problem_of_every_dimension_is_told_at_once() -> None:
    problems = Guard().problems({"valence": compared(0.1, 0.2), "arousal": compared(0.3, 0.4)})
    assert [problem.split(":")[0] for problem in problems] == ["valence", "valence", "arousal", "arousal"]


def test_one_video_has_no_interval_and_does_not_pass_however_small_the_loss() -> None:
    (problem,) = Guard().problems({"valence": compared(0.0, None)})
    assert "two videos or more" in problem and "cannot speak" in problem


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["reference", "candidate", "loss"])
def test_what_is_not_a_number_never_passes(bad: float, where: str) -> None:
    found = compared(0.0, 0.0)
    # as no manifest would hold it
    broken = Compared(**{**vars(found), where: Interval.model_construct(value=bad, low=0.0, high=0.0)})
    assert Guard().problems({"valence": broken}) == ["valence: no CCC could be computed"]


def test_an_upper_end_that_is_not_a_number_never_passes() -> None:
    found = compared(0.0, 0.0)
    broken = Compared(found.reference, found.candidate, Interval.model_construct(value=0.0, low=0.0, high=float("nan")))
    assert len(Guard().problems({"valence": broken})) == 1


def test_nothing_compared_does_not_pass() -> None:
    assert Guard().problems({}) == ["nothing was compared"]


def test_an_fp32_as_poor_as_a_constant_cannot_vouch_for_anything() -> None:
    (problem,) = Guard().problems({"arousal": compared(0.0, 0.0, reference=0.004, reach=0.01)})
    assert "FP32 itself has CCC 0.004" in problem and "cannot speak" in problem
    alone = Compared(Interval(value=0.004), Interval(value=0.004), Interval(value=0.0, low=0.0, high=0.0))
    assert len(Guard().problems({"arousal": alone})) == 1
    # With a wider interval a constant would fail by its upper end: then the guard can tell.
    assert Guard().problems({"arousal": compared(0.0, 0.0, reference=0.004, reach=0.1)}) == []


def test_agreement_with_an_fp32_without_an_interval_of_its_own_is_judged() -> None:
    agreement = Compared(Interval(value=1.0), Interval(value=0.995), Interval(value=0.005, low=0.002, high=0.009))
    assert Guard().problems({"valence": agreement}) == []


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ((-0.1, 0.02), "--max-loss -0.1"),
        ((float("nan"), 0.02), "--max-loss nan"),
        ((0.01, float("inf")), "--max-upper-loss inf"),
        ((0.01, 3.0), "--max-upper-loss 3"),
        ((0.05, 0.02), "--max-upper-loss 0.02 is below --max-loss 0.05"),
    ],
)
def test_limits_that_make_no_sense_are_refused_with_what_to_type(limits: tuple[float, float], found: str) -> None:
    with pytest.raises(UsageError, match=found) as refused:
        Guard(*limits)
    words = (refused.value.fix or "").split()
    Guard(float(words[1]), float(words[3]))  # the advice is good
