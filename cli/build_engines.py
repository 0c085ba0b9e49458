"""The TensorRT road of `affectrt build`: what it needs, how far it is, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from affectrt.bundle.errors import AffectError, EngineError, MissingDependency

if TYPE_CHECKING:
    from affectrt.bundle import Asked, Bundle
    from affectrt.runtime.engines.engine_cache import EngineCache
    from affectrt.runtime.engines.engine_record import BuildOptions, EngineRecord

__all__ = ["batches_of", "build_engines", "tensorrt_is_missing"]


def tensorrt_is_missing() -> AffectError | None:
    """What keeps this machine from building engines, all of it at once; None where nothing does."""
    from affectrt.runtime.engines.nvidia import import_polygraphy, import_tensorrt

    missing: list[AffectError] = []
    for needed in (_see_gpu, import_tensorrt, import_polygraphy, _find_onnx):
        try:
            needed()
        except (MissingDependency, EngineError) as error:
            missing.append(error)
    if not missing:
        return None
    kind = EngineError if isinstance(missing[0], EngineError) else MissingDependency
    fixes = list(dict.fromkeys(error.fix for error in missing if error.fix))
    return kind(
        "; ".join(error.found for error in missing),
        expected="an NVIDIA GPU, TensorRT 10.3 or newer, Polygraphy and onnx",
        fix=" ".join(fixes) or None,
    )


def _see_gpu() -> None:
    """As `find_gpu`; but where nothing points to a GPU, what could ask it is not what is missing."""
    from affectrt.runtime.engines.gpu import find_gpu
    from affectrt.runtime.engines.nvidia import read_platform

    try:
        find_gpu()
    except MissingDependency:
        if read_platform().nvidia:
            raise
        raise EngineError(
            "this machine shows no NVIDIA GPU",
            fix="affectrt build BUNDLE --backend onnxruntime, or on a GPU's machine:",
        ) from None


def _find_onnx() -> None:
    if find_spec("onnx") is None:
        raise MissingDependency("onnx is not installed", fix=f"{sys.executable} -m pip install 'onnx>=1.18'")


def batches_of(bundle: Bundle, rows: Sequence[int]) -> dict[str, list[int]]:
    """Stage → the batch sizes of its engine: for encoders what `run` makes of calls of so many rows, else one row.

    Sentences come one at a time, and of each length there is an optimisation profile already: one row as well.
    """
    from affectrt.runtime.scheduler import batch_rows

    contract = bundle.contract
    sizes = {stage: [1] for stage in contract.stages}
    for stage in contract.encoder_stages:
        if not contract.lengths(stage):
            row_bytes = sum(tensor.nbytes for tensor in contract.stage_inputs(stage))
            sizes[stage] = sorted({batch_rows(row_bytes, size) for size in rows})
    return sizes


def build_engines(
    bundle: Bundle,
    precision: Asked,
    rows: Sequence[int],
    options: BuildOptions,
    cache_dir: Path | None,
    timing_cache: Path | None,
    *,
    strict: bool,
    force: bool,
) -> None:
    """Build what is not there yet, progress on standard error, and a table of all stages on standard output."""
    from affectrt.export.engines import build_bundle
    from affectrt.runtime.engines.engine_cache import CACHE_VARIABLE, EngineCache

    cache = EngineCache(None if cache_dir is None else cache_dir / "engines")
    with _Bars() as progress:
        records = build_bundle(
            bundle,
            precision,
            batches=batches_of(bundle, rows),
            options=options,
            cache=cache,
            strict=strict,
            force=force,
            timing_cache=timing_cache,
            progress=progress,
        )
    _show(records, cache)
    if cache_dir is not None:
        typer.echo(f"`affectrt run` finds these engines with {CACHE_VARIABLE}={cache_dir}")


def _show(records: Sequence[EngineRecord], cache: EngineCache) -> None:
    rows = [("stage", "asked", "built", "layers", "seconds", "size", "file")]
    for record in records:
        layers = ", ".join(f"{count} {name}" for name, count in record.layers.items()) or "not inspected"
        rows.append(
            (
                record.stage,
                record.asked,
                record.precision,
                layers,
                f"{record.build_s:.1f}",
                f"{record.size_bytes / 1e6:.1f} MB",
                str(cache.place(record.key)),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for record in records:
        for reason in record.fallbacks:
            typer.echo(f"{record.stage}: {reason}")


class _Bars:
    """A bar with the time left for each build where TensorRT tells its progress, else the time that went by. Stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[doing]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("", total=None, visible=False, doing="")

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def begin(self, what: str) -> None:
        if not self._console.is_terminal:
            self.say(f"building {what}")
        self._task = self._bars.add_task(what, total=None, doing="")

    def show(self, share: float | None, doing: str) -> None:
        if share is None:
            self._bars.update(self._task, doing=doing)
        else:
            self._bars.update(self._task, total=1.0, completed=share, doing=doing)

    def end(self) -> None:
        self._bars.remove_task(self._task)

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
