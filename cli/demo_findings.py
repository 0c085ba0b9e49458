"""What the demo found, gathered from the files that it wrote and the reports of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from affectrt.benchmarks.demo_result import Curve, DemoResult
    from affectrt.bundle import Bundle, Precision
    from affectrt.runtime.run import RunReport
    from affectrt.training.synthetic import Clip

__all__ = ["demo_result", "predictions_name", "write_summary", "write_truth"]

STILLS = 9
FORMAT = "affectrt-demo"
FORMAT_VERSION = 1


def predictions_name(precision: str) -> str:
    """The file of one precision's estimates."""
    return f"predictions-{precision}.jsonl"


def write_truth(clip: Clip, path: Path) -> None:
    """One row a step: seconds, valence, arousal."""
    rows = [f"{k / clip.fps:.3f},{v:.6f},{a:.6f}" for k, (v, a) in enumerate(clip.truth)]
    path.write_text("\n".join(["t_s,valence,arousal", *rows]) + "\n", encoding="utf-8")


def demo_result(
    folder: Path,
    clip: Clip,
    bundle: Bundle,
    reports: Mapping[Precision, RunReport],
    machine: Mapping[str, str],
) -> DemoResult:
    """Compare the estimates in `folder` with what they describe: the truth of the clip, or its mean over a window."""
    import datetime

    from affectrt.benchmarks.demo_result import DIMENSIONS, Curve, DemoResult, PrecisionRun, Still
    from affectrt.training.annotation import means_up_to
    from affectrt.training.metrics import ccc

    contract = bundle.contract
    described = contract.described_steps
    means = means_up_to(np.asarray(clip.truth, np.float32), described).astype(np.float64)
    truth = Curve(np.arange(len(means)) / clip.fps, *means.T)
    estimated = np.arange(len(means))
    if contract.fusion.output == "per_window":
        estimated = estimated[contract.fusion.default_hop_steps - 1 :: contract.fusion.default_hop_steps]
    runs = []
    for precision, report in reports.items():
        curve = _curve(folder / predictions_name(precision), estimated, contract.step_hz)
        plan = bundle.plan(precision)
        runs.append(
            PrecisionRun(
                precision,
                curve,
                ccc={name: ccc(curve.of(name), truth.of(name)[estimated]) for name in DIMENSIONS},
                wall_s=report.wall_s - report.seconds["open"],
                seconds={part: s for part, s in report.seconds.items() if part != "open"},
                plan=plan,
                graph_bytes=sum(bundle.graph_for(stage, precision).size_bytes for stage in plan),
            )
        )
    wanted = {round((k + 0.5) * len(truth.t_s) / STILLS) for k in range(STILLS)}
    stills = tuple(Still(k / clip.fps, frame) for k, frame in enumerate(clip.frames()) if k in wanted)
    return DemoResult(
        clip=f"clip.mp4 ({clip.identity.name}, drawn)",
        clip_s=len(truth.t_s) / clip.fps,
        step_hz=contract.step_hz,
        truth=truth,
        runs=tuple(runs),
        stills=stills,
        warm_up_s=contract.fusion.warm_up_steps / contract.step_hz,
        ccc_over="every estimate of this clip, its first seconds included",
        estimate_every_s=contract.fusion.default_hop_steps / contract.step_hz if len(estimated) < len(means) else 0.0,
        described_s=described / contract.step_hz if described > 1 else 0.0,
        facts={"Model and bundle": _bundle_facts(bundle, runs), "Machine": dict(machine)},
        made_on=f"{datetime.date.today():%Y-%m-%d}",
    )


def write_summary(result: DemoResult, bundle: Bundle, path: Path) -> None:
    """The numbers of the report, unrounded, as JSON."""
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "bundle": {"name": bundle.manifest.name, "fingerprint": bundle.fingerprint},
        "clip_s": result.clip_s,
        "steps": result.steps,
        "described_steps": bundle.contract.described_steps,
        "runs": {
            run.precision: {
                "ccc": dict(run.ccc),
                "wall_s": run.wall_s,
                "times_real_time": result.times_real_time(run),
                "seconds": dict(run.seconds),
                "plan": dict(run.plan),
                "graph_bytes": run.graph_bytes,
                "predictions": predictions_name(run.precision),
            }
            for run in result.runs
        },
        "facts": {heading: dict(pairs) for heading, pairs in result.facts.items()},
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _curve(path: Path, steps: npt.NDArray[np.int64], step_hz: float) -> Curve:
    """The estimates of a file at these steps; NaN where one has none."""
    from affectrt.benchmarks.demo_result import Curve

    places = {int(step): place for place, step in enumerate(steps)}
    values = np.full((len(steps), 2), np.nan)
    with path.open(encoding="utf-8") as lines:
        next(lines)  # the header
        for line in lines:
            record: dict[str, Any] = json.loads(line)
            # A decoder may give a picture or a word more than was drawn.
            place = places.get(round(record["t_s"] * step_hz))
            if place is not None:
                values[place] = [np.nan if record[n] is None else record[n] for n in ("valence", "arousal")]
    return Curve(steps / step_hz, values[:, 0], values[:, 1])


def _bundle_facts(bundle: Bundle, runs: list[Any]) -> dict[str, str]:
    manifest = bundle.manifest
    provenance, contract = manifest.provenance, bundle.contract
    fusion = contract.fusion
    apart = "" if fusion.stride_steps == 1 else f" {fusion.stride_steps} apart"
    parity = {g.stage: g.parity_max_abs for g in manifest.graphs if g.precision == "fp32"}
    return {
        "bundle": f"{manifest.name}, {contract.system} {contract.variant}",
        "fingerprint": bundle.fingerprint,
        "checkpoint": provenance.checkpoint_sha256,
        "trained on": provenance.training_corpus,
        "intended use": provenance.intended_use,
        "licence": provenance.licence,
        **{
            f"{run.label} runs": ", ".join(f"{stage} {ran}" for stage, ran in run.plan.items())
            for run in runs
            if run.precision != "fp32"
        },
        "export differs from PyTorch by": ", ".join(
            f"{stage} {value:.1e}" for stage, value in parity.items() if value is not None
        ),
        "fusion": f"{fusion.window_steps} steps{apart}, every {fusion.default_hop_steps} steps",
        "backend": "ONNX Runtime",
    }
