"""How well estimates follow the annotation: Lin's concordance correlation coefficient and its uncertainty.

All arithmetic is float64. Rows in which either side is NaN are left out: they carry no annotation or no estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import UsageError
from affectrt.bundle.manifest import Compared, Interval

__all__ = [
    "METRICS",
    "Metric",
    "Series",
    "bootstrap_ci_over_videos",
    "ccc",
    "ccc_author_cav",
    "ccc_author_rcma",
    "paired_bootstrap_over_videos",
    "pearson",
    "rmse",
]

Series = npt.NDArray[np.floating]
_Float64 = npt.NDArray[np.float64]
_Pair = tuple[_Float64, _Float64]
Metric = Literal["ccc", "rmse", "pearson"]


def ccc(x: Series, y: Series) -> float:
    """Lin's CCC of two series of one length, in [-1, 1]; every moment is biased (divided by n).

    2·cov / (var_x + var_y + (mean_x − mean_y)²). Where both series are constant the quotient has no value: it is
    then 1.0 for equal constants and 0.0 for different ones; one constant series gives 0.0. NaN for no rows at all.
    """
    x, y = _paired(x, y)
    if len(x) == 0:
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # exactly: rounding would leave a mean and a variance that are not 0
        return float(np.array_equal(x, y))
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def rmse(x: Series, y: Series) -> float:
    """Root of the mean squared difference; NaN for no rows."""
    x, y = _paired(x, y)
    return float(np.sqrt(np.mean((x - y) ** 2))) if len(x) else float("nan")


def pearson(x: Series, y: Series) -> float:
    """Pearson's correlation in [-1, 1]; 0.0 where either series is constant, NaN for no rows."""
    x, y = _paired(x, y)
    if len(x) == 0:
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def ccc_author_rcma(x: Series, y: Series) -> float:
    """The figure that the RCMA authors report: biased covariance over unbiased variances.

    Up to a factor (n − 1)/n smaller than `ccc`, which matters for parity with published numbers alone.
    """
    x, y = _paired(x, y)
    if len(x) < 2:
        return float("nan")
    covariance = float(np.mean((x - x.mean()) * (y - y.mean())))
    spread = float(x.var(ddof=1) + y.var(ddof=1) + (x.mean() - y.mean()) ** 2)
    return 2 * covariance / (spread + 1e-100)


def ccc_author_cav(x: Series, y: Series) -> float:
    """The "accuracy" of the CAV authors' released evaluation, for comparison with published figures alone.

    Estimates and annotation are each stretched to [0, 1] and the estimates moved to the annotation's mean, then Lin's
    CCC: the annotation itself is used to undo errors of scale and offset, and outliers decide the scale. 0.0 where
    either series is constant, NaN for no rows.
    """
    x, y = _paired(x, y)
    if len(x) == 0:
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = ((z - z.min()) / np.ptp(z) for z in (x, y))
    return ccc(x + (y.mean() - x.mean()), y)


def bootstrap_ci_over_videos(
    estimates: Sequence[Series],
    truths: Sequence[Series],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    metric: Metric = "ccc",
) -> Interval:
    """A metric over the concatenation of all videos, with a percentile interval from resampling whole videos.

    Steps of one video are not independent, videos are: hence the unit that is drawn with replacement. The
    interval is left out (None) for a single video. Raises UsageError where there is no row to compare.
    """
    if len(estimates) != len(truths) or not estimates:
        raise ValueError(f"{len(estimates)} estimated and {len(truths)} true series; expected as many, at least one")
    pairs = [_paired(x, y) for x, y in zip(estimates, truths, strict=True)]
    return _interval(_value(pairs, metric), _resampled(pairs, resamples, seed, metric), level)


def paired_bootstrap_over_videos(
    references: Sequence[Series],
    candidates: Sequence[Series],
    truths: Sequence[Series],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Compared:
    """CCC of two models on the same videos, and `loss`, the reference's minus the candidate's.

    Every resample draws the same videos for both, so that what makes a video hard for either of them cancels in the
    difference: its interval is that of the loss itself, not of two CCCs. Rows that one of the three lacks are left out
    for all. Intervals as those of `bootstrap_ci_over_videos`.
    """
    if not len(references) == len(candidates) == len(truths) or not truths:
        raise ValueError(
            f"{len(references)} reference, {len(candidates)} candidate and {len(truths)} true series; "
            "expected as many, at least one"
        )
    rows = [_known(x, c, y) for x, c, y in zip(references, candidates, truths, strict=True)]
    pairs = [(x, y) for x, _, y in rows], [(c, y) for _, c, y in rows]
    values = [_value(of_one) for of_one in pairs]
    drawn = [_resampled(of_one, resamples, seed) for of_one in pairs]
    return Compared(
        reference=_interval(values[0], drawn[0], level),
        candidate=_interval(values[1], drawn[1], level),
        loss=_interval(values[0] - values[1], drawn[0] - drawn[1], level),
    )


def _value(pairs: Sequence[_Pair], metric: Metric = "ccc") -> float:
    value = METRICS[metric](np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs]))
    if np.isnan(value):
        raise UsageError(
            f"not one row of {len(pairs)} video{'s' * (len(pairs) > 1)} has both an estimate and something to compare "
            "it with",
            expected="videos that are annotated where the model gives estimates",
            fix="choose another split or other videos",
        )
    return value


def _resampled(pairs: Sequence[_Pair], resamples: int, seed: int, metric: Metric = "ccc") -> _Float64:
    """The metric of every resample, (resamples,); one seed and number of videos always draw the same videos."""
    # No metric changes when both series shift together; centred sums keep the digits of the squares.
    centre = float(np.concatenate([y for _, y in pairs]).mean())
    sums = np.stack([_sums(x - centre, y - centre) for x, y in pairs])
    drawn = np.random.default_rng(seed).integers(0, len(pairs), size=(resamples, len(pairs)))
    return _OF_SUMS[metric](sums[drawn].sum(axis=1)) if len(pairs) > 1 else np.zeros(0)


def _interval(value: float, resampled: _Float64, level: float) -> Interval:
    if len(resampled) == 0:
        return Interval(value=value)
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))


def _paired(x: Series, y: Series) -> _Pair:
    a, b = _known(x, y)
    return a, b


def _known(*series: Series) -> list[_Float64]:
    """The rows that none of the series lacks."""
    columns = [np.asarray(one, np.float64) for one in series]
    if columns[0].ndim != 1 or len({column.shape for column in columns}) != 1:
        shapes = " and ".join(str(column.shape) for column in columns)
        raise ValueError(f"series of shapes {shapes}; expected all of one shape (n,)")
    known = ~np.isnan(columns).any(axis=0)
    return [column[known] for column in columns]


def _sums(x: _Float64, y: _Float64) -> _Float64:
    """n, Σx, Σy, Σx², Σy², Σxy: enough for every metric, and they add up over videos."""
    return np.array([len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])


def _ccc_of_sums(sums: _Float64) -> _Float64:
    """CCC of every row of sums, shape (rows, 6) → (rows,); 0.0 where both series are as good as constant."""
    n, x, y, xx, yy, xy = sums.T
    n = np.maximum(n, 1)
    mean_x, mean_y = x / n, y / n
    covariance = xy / n - mean_x * mean_y
    spread = (xx / n - mean_x**2) + (yy / n - mean_y**2) + (mean_x - mean_y) ** 2
    known = spread > 1e-15
    return np.where(known, 2 * covariance / np.where(known, spread, 1.0), 0.0)


def _rmse_of_sums(sums: _Float64) -> _Float64:
    n, _, _, xx, yy, xy = sums.T
    squares: _Float64 = np.maximum(xx - 2 * xy + yy, 0) / np.maximum(n, 1)
    return np.sqrt(squares)


def _pearson_of_sums(sums: _Float64) -> _Float64:
    n, x, y, xx, yy, xy = sums.T
    n = np.maximum(n, 1)
    spread = np.sqrt(np.maximum(xx / n - (x / n) ** 2, 0) * np.maximum(yy / n - (y / n) ** 2, 0))
    known = spread > 1e-15
    return np.where(known, (xy / n - x * y / n**2) / np.where(known, spread, 1.0), 0.0)


METRICS: Mapping[Metric, Callable[[Series, Series], float]] = {"ccc": ccc, "rmse": rmse, "pearson": pearson}
_OF_SUMS: Mapping[Metric, Callable[[_Float64], _Float64]] = {
    "ccc": _ccc_of_sums,
    "rmse": _rmse_of_sums,
    "pearson": _pearson_of_sums,
}
