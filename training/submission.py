"""Estimates as files: ABAW's submission of valence and arousal, or one text file for each trial and output.

Submission: the header `image_location,valence,arousal` and a row `<trial>/<00001>.jpg,v,a` for each picture, counted
from 1 (arXiv 2403.13659's generate_result.py). By trial:
`<output>/<trial>.txt`, the output's name and one value a line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from affectrt.bundle.errors import UsageError, listed
from affectrt.bundle.plain_files import os_reason

from .annotation import OUTPUTS
from .evaluation import Played
from .play import Rows
from .prepare.writer import write_text

__all__ = ["per_picture", "submission_text", "trials_in_sample", "write_submission"]

HEADER = ("image_location", "valence", "arousal")
MAX_SAMPLE_BYTES = 256 << 20
_IMAGE = re.compile(r"^(?P<trial>[^/\\]+)/(?P<number>\d{1,9})\.jpg$")

Sample = Mapping[str, Sequence[str]]
"""Trial → its image locations, in the order of the sample."""


def per_picture(played: Played) -> Rows:
    """(pictures, outputs): the estimate of each picture's step. A picture without one has the last that came before
    it, the first pictures the first there is; all NaN where there is none at all."""
    dense, steps = played.dense, played.picture_steps
    known = np.flatnonzero(~np.isnan(dense).any(axis=1))
    if len(known) == 0:
        return np.full((len(steps), dense.shape[1]), np.nan)
    return dense[known[np.maximum(np.searchsorted(known, steps, side="right") - 1, 0)]]


def trials_in_sample(path: Path) -> Sample:
    """The trials and image locations of a sample submission. Raises UsageError naming the first wrong line."""
    try:
        if path.stat().st_size > MAX_SAMPLE_BYTES:
            raise UsageError(f"{path} has {path.stat().st_size >> 20} MiB", expected="a sample submission")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{path} {os_reason(error)}", expected="a sample submission", fix="--sample FILE") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text", expected="a sample submission", fix="--sample FILE") from None
    trials: dict[str, list[str]] = {}
    for number, row in enumerate(csv.reader(lines), start=1):
        if not row or (number == 1 and row[0].strip() == HEADER[0]):
            continue
        location = row[0].strip()
        match = _IMAGE.match(location)
        if match is None or int(match["number"]) < 1:
            raise UsageError(
                f"{path}: line {number} is {','.join(row)[:80]!r}",
                expected="`<trial>/<00001>.jpg,…`, pictures counted from 1",
                fix="take the sample file of the challenge",
            )
        trials.setdefault(match["trial"], []).append(location)
    if not trials:
        raise UsageError(f"{path} names no picture", expected="a sample submission", fix="--sample FILE")
    return trials


def submission_text(trials: Mapping[str, Rows], sample: Sample | None = None) -> str:
    """The submission of (pictures, 2) valence and arousal by trial.

    With a `sample` exactly its rows in its order: estimates beyond it are cut, and the last one is repeated where it
    goes on. UsageError for a trial of it that has no estimates.
    """
    _check_estimated(trials, sample)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    wanted = sample or {name: [f"{name}/{n:05d}.jpg" for n in range(1, len(rows) + 1)] for name, rows in trials.items()}
    for name, locations in wanted.items():
        rows = trials[name]
        for location in locations:
            match = _IMAGE.match(location)
            assert match is not None
            valence, arousal = rows[min(int(match["number"]), len(rows)) - 1]
            writer.writerow((location, f"{valence:.6f}", f"{arousal:.6f}"))
    return text.getvalue()


def write_submission(path: Path, trials: Mapping[str, Rows], outputs: Sequence[str], sample: Path | None) -> list[Path]:
    """One file where `path` ends in .txt or .csv, else a folder with a file for each output and trial.

    `trials`: (pictures, outputs) by name. The folder takes a model of one output too, and leaves the sample's other
    rows out: its files are as long as the sample has pictures of the trial.
    """
    known = trials_in_sample(sample) if sample is not None else None
    _check_estimated(trials, known)
    if path.suffix.lower() in {".txt", ".csv"}:
        if absent := [name for name in OUTPUTS if name not in outputs]:
            raise UsageError(
                f"a submission holds valence and arousal; the model gives no {' and no '.join(absent)}",
                expected="a model of both",
                fix="--submission FOLDER writes a file for each trial of what there is",
            )
        columns = [list(outputs).index(name) for name in OUTPUTS]
        write_text(path, submission_text({name: rows[:, columns] for name, rows in trials.items()}, known))
        return [path]
    written = []
    for name, rows in trials.items():
        if known is not None and name not in known:
            continue
        count = len(rows) if known is None else len(known[name])
        whole = rows[np.minimum(np.arange(count), len(rows) - 1)]
        for column, output in enumerate(outputs):
            lines = [output, *(f"{value:.6f}" for value in whole[:, column])]
            written.append(path / output / f"{name}.txt")
            write_text(written[-1], "\n".join(lines) + "\n")
    return written


def _check_estimated(trials: Mapping[str, Rows], sample: Sample | None) -> None:
    wanted = trials if sample is None else sample
    if missing := [t for t in wanted if t not in trials or len(trials[t]) == 0 or np.isnan(trials[t]).any()]:
        raise UsageError(
            listed("trials without estimates", missing),
            expected="estimates for every trial",
            fix="evaluate the split that the sample is of, with all of its videos and modalities",
        )
