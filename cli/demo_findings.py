"""What the demo found, gathered from the files that it wrote and the reports of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """Compare the estimates in `folder` with the truth of the clip, step by step."""
    import datetime

    from affectrt.benchmarks.demo_result import DIMENSIONS, Curve, DemoResult, PrecisionRun, Still
    from affectrt.training.metrics import ccc

    contract = bundle.contract
    truth = Curve(np.arange(len(clip.truth)) / clip.fps, *np.asarray(clip.truth, np.float64).T)
    runs = []
    for precision, report in reports.items():
        curve = _curve(folder / predictions_name(precision), len(truth.t_s), contract.step_hz)
        plan = bundle.plan(precision)
        runs.append(
            PrecisionRun(
                precision,
                curve,
                ccc={name: ccc(curve.of(name), truth.of(name)) for name in DIMENSIONS},
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
        ccc_over="every step of this clip, its first seconds included",
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


def _curve(path: Path, steps: int, step_hz: float) -> Curve:
    """The estimates of a file, by step; NaN where a step has none."""
    from affectrt.benchmarks.demo_result import Curve

    values = np.full((steps, 2), np.nan)
    with path.open(encoding="utf-8") as lines:
        next(lines)  # the header
        for line in lines:
            record: dict[str, Any] = json.loads(line)
            step = round(record["t_s"] * step_hz)
            # A decoder may give a picture or a word more than was drawn.
            if step < steps:
                values[step] = [np.nan if record[n] is None else record[n] for n in ("valence", "arousal")]
    return Curve(np.arange(steps) / step_hz, values[:, 0], values[:, 1])


def _bundle_facts(bundle: Bundle, runs: list[Any]) -> dict[str, str]:
    manifest = bundle.manifest
    provenance, contract = manifest.provenance, bundle.contract
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
        "fusion": f"{contract.fusion.window_steps} steps, every {contract.fusion.default_hop_steps} steps",
        "backend": "ONNX Runtime",
    }
