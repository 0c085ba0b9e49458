"""The whole check: which steps, in which order, and the record of what came of them."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from affectrt.benchmarks.machine import machine_facts

from .accuracy import check_accuracy
from .bundles import find_bundles, make_bundles, make_paper_bundles
from .copies import measure_copies
from .engines import check_onnxruntime_cuda, check_tensorrt
from .figures import Findings
from .memory import check_memory
from .parts import is_there, provide_parts
from .peaks import measure_peaks
from .record import GpuCheck, Outcome, is_simulated
from .roofline import NETWORKS, trace_network
from .software import look_at_gstreamer, look_at_software
from .state import gpu_state
from .steps import Done, Settings, Step, run_in_child, run_step

__all__ = ["WORK", "run_check"]

WORK: Mapping[str, Callable[..., None]] = {
    "parts": provide_parts,
    "software": look_at_software,
    "memory": check_memory,
    "copies": measure_copies,
    "peaks": measure_peaks,
    "bundles": make_bundles,
    "paper-bundles": make_paper_bundles,
    "tensorrt": check_tensorrt,
    "onnxruntime-cuda": check_onnxruntime_cuda,
    "accuracy": check_accuracy,
    "roofline": trace_network,
    "gstreamer": look_at_gstreamer,
}
FIRST = {
    "parts": "PyCUDA and cuda-bindings",
    "software": "GPU and software",
    "memory": "memory and capture",
    "copies": "copy bandwidth",
    "peaks": "matrix peak",
}


def run_check(
    settings: Settings,
    gpu: str,
    *,
    paper_bundles: bool = False,
    work: Mapping[str, Callable[..., None]] = WORK,
    tell: Callable[[Outcome], None] = lambda outcome: None,
    begin: Callable[[str], None] = lambda name: None,
    state: Callable[[], dict[str, str]] = gpu_state,
) -> GpuCheck:
    """Every step, whatever becomes of the others. `tell` hears each outcome, `begin` what is about to be done."""
    now = datetime.datetime.now(datetime.timezone.utc)
    machine, before = machine_facts(), state()
    outcomes: list[Outcome] = []
    findings = Findings()

    def do(kind: str, name: str, **arguments: str) -> None:
        nonlocal findings
        begin(name)
        done = _done(Step(name, work[kind], arguments), settings, findings, kind)
        outcomes.append(done.outcome)
        findings = findings + done.findings
        tell(done.outcome)

    def absent(name: str, reason: str) -> None:
        outcomes.append(Outcome(step=name, status="absent", reason=reason, seconds=0))
        tell(outcomes[-1])

    for kind, name in FIRST.items():
        do(kind, name)
    bundles = [Path(path) for path in settings.bundles]
    backends = dict(_backends(settings))
    if not bundles and any(reason is None for reason in backends.values()):
        if not find_bundles(Path(settings.work), paper=False):
            do("bundles", "bundles of the demos")
        if paper_bundles:
            do("paper-bundles", "bundles of the papers' size")
        bundles = find_bundles(Path(settings.work), paper=paper_bundles)
    for backend, missing in backends.items():
        if missing is not None or not bundles:
            absent(backend, missing or "there are no bundles: scripts/gpu-check.sh --bundle NAME.affect")
            continue
        for path in bundles:
            for precision in _precisions(path):
                do(backend, f"{backend}, {path.stem}, {precision}", bundle=str(path), precision=precision)
        for path in bundles:
            if not path.stem.endswith("-paper"):  # random weights have no accuracy
                do("accuracy", f"accuracy on {backend}, {path.stem}", bundle=str(path), backend=backend)
    for system, stage in NETWORKS:
        do("roofline", f"PyTorch, {NETWORKS[system, stage]}", system=system, stage=stage)
    do("gstreamer", "GStreamer elements")
    return GpuCheck(
        made_at=now.isoformat(timespec="seconds"),
        simulated=is_simulated(gpu),
        revision=_revision(),
        settings={
            "seconds": f"{settings.seconds:g}",
            "warm-ups": str(settings.warmups),
            "calls, at least": str(settings.calls),
            "parity rows": str(settings.parity_rows),
            "bundles": ", ".join(path.name for path in bundles),
        },
        machine=machine,
        gpu=gpu,
        before=before,
        after=state(),
        outcomes=tuple(outcomes),
        findings=findings,
    )


def _done(step: Step, settings: Settings, known: Findings, kind: str) -> Done:
    if settings.in_process:
        return run_step(step, settings, known)
    return run_in_child(step, settings, known, work=kind)


def _backends(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Backend → why it cannot be tried, or None."""
    there = is_there("tensorrt") or (settings.site / "tensorrt").is_dir()
    yield "tensorrt", None if there else "TensorRT's Python package is not installed"
    try:
        import onnxruntime
    except ImportError as error:
        yield "onnxruntime-cuda", str(error)
        return
    providers = onnxruntime.get_available_providers()
    told = f"ONNX Runtime {onnxruntime.__version__} has no CUDA provider"
    yield "onnxruntime-cuda", None if "CUDAExecutionProvider" in providers else told


def _precisions(bundle: Path) -> tuple[str, ...]:
    """Of a bundle that cannot be opened, FP32: the step then says why."""
    from affectrt.bundle import AffectError, open_bundle

    try:
        return open_bundle(bundle).precisions()
    except AffectError:
        return ("fp32",)


def _revision() -> str | None:
    """Of the checkout that runs, `-modified` where it holds changes; None where that cannot be read."""
    import affectrt.cli

    try:
        told = subprocess.run(
            [
                "git",
                "-C",
                next(iter(affectrt.cli.__path__)),
                "describe",
                "--always",
                "--dirty=-modified",
                "--abbrev=12",
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None if told.returncode == 0 else None
