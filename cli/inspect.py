"""`affectrt inspect`: what is in a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectrt.bundle import Bundle, Contract, Precision
    from affectrt.bundle.contract import TextModality

__all__ = ["inspect"]

Rows = list[tuple[str, ...]]


def inspect(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory, NAME.affect.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="The whole manifest, machine-readable.")] = False,
) -> None:
    """What is in a bundle: contract, graphs, precisions, accuracy, provenance.

    The bundle is checked first, so what is shown is what is there.
    """
    from affectrt.bundle import open_bundle

    opened = open_bundle(bundle)
    if as_json:
        record = {
            "path": str(opened.path),
            "fingerprint": opened.fingerprint,
            "precisions": {asked: opened.plan(asked) for asked in opened.precisions()},
            "manifest": opened.manifest.model_dump(mode="json"),
        }
        typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
        return
    for title, rows in (
        (f"{opened.manifest.name}   {opened.path}", list(_origin(opened))),
        ("contract", list(_contract(opened))),
        ("graphs", _graphs(opened)),
        ("precisions", list(_plans(opened))),
        ("accuracy, CCC with its 95 % interval", _accuracy(opened)),
    ):
        typer.echo(title)
        for line in _aligned(rows):
            typer.echo(f"  {line}")


def _origin(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    origin = bundle.manifest.provenance
    yield "fingerprint", bundle.fingerprint
    yield "checkpoint", origin.checkpoint_sha256
    yield "recipe", origin.recipe if origin.seed is None else f"{origin.recipe}, seed {origin.seed}"
    yield "trained on", origin.training_corpus
    yield "licence", origin.licence
    yield "intended use", origin.intended_use
    if origin.limits:
        yield "limits", origin.limits
    if origin.versions:
        yield "made with", ", ".join(f"{name} {version}" for name, version in origin.versions.items())


def _contract(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    contract = bundle.contract
    fusion = contract.fusion
    yield "model", f"{contract.system}, {contract.variant}"
    yield "clock", f"{contract.step_hz:g} steps a second"
    if contract.video is not None:
        video = contract.video
        span = "1 frame" if video.span_frames == 1 else f"clip of {video.span_frames} frames"
        yield (
            "video",
            f"{span} of {video.crop_px} px (from {video.resize_px} px) → {video.feature_dim} features, "
            f"held up to {video.max_hold_s:g} s",
        )
    if contract.audio is not None:
        audio = contract.audio
        span_s = audio.span_samples / audio.sample_rate_hz
        side = "from the step on" if audio.anchor == "start" else "up to the step"
        yield (
            "audio",
            f"{span_s:g} s at {audio.sample_rate_hz} Hz, {side} → {audio.feature_dim} features",
        )
    if contract.text is not None:
        yield "text", _text(contract.text)
    seconds = f" ({fusion.span_steps / contract.step_hz:g} s)"
    reach = seconds if fusion.stride_steps == 1 else f", {fusion.stride_steps} apart"
    yield (
        "fusion",
        f"on windows of {fusion.window_steps} steps{reach}, every {fusion.default_hop_steps} steps "
        f"({fusion.default_hop_steps / contract.step_hz:g} s)",
    )
    yield "estimates", "; ".join(_estimates(contract))
    yield (
        "outputs",
        ", ".join(f"{o.name} in [{o.low:g}, {o.high:g}], neutral {o.neutral:g}" for o in contract.outputs),
    )


def _text(text: TextModality) -> str:
    if text.stage is None:
        return f"{text.feature_dim} features a word, from elsewhere"
    case = "" if text.lower_case else ", as they are spelt"
    lengths = ", ".join(map(str, text.token_lengths))
    return (
        f"sentences of {lengths} pieces{case} → {text.feature_dim} features a word; a sentence ends at its full stop, "
        f"before {text.pause_s:g} s of silence or after {text.max_words} words"
    )


def _estimates(contract: Contract) -> Iterator[str]:
    """When there is one, what it speaks of, and what a young stream gets."""
    fusion, described = contract.fusion, contract.described_steps
    if fusion.output == "per_step":
        yield "one a step, of that step"
    elif described == 1:
        yield "one a window, of its newest step"
    else:
        yield f"one a window, the mean over the {described} steps ({described / contract.step_hz:g} s) up to its newest"
    if fusion.short_window == "repeat_first":
        yield "a young stream repeats its first features"
    yield f"warm after {fusion.warm_up_steps / contract.step_hz:g} s"


def _graphs(bundle: Bundle) -> Rows:
    rows: Rows = [("stage", "precision", "target", "size", "opset", "parity", "file", "sha256")]
    for g in bundle.manifest.graphs:
        parity = "" if g.parity_max_abs is None else f"{g.parity_max_abs:.1e}"
        rows.append(
            (g.stage, g.precision, g.target, _size(g.size_bytes), str(g.opset), parity, g.file, g.sha256[:12], g.note)
        )
    rows += [
        ("", "", "", _size(a.size_bytes), "", "", a.file, a.sha256[:12], name)
        for name, a in bundle.manifest.attachments.items()
    ]
    return rows


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _plans(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    plans: dict[str, dict[str, Precision]] = {asked: bundle.plan(asked) for asked in bundle.precisions()}
    plans |= {f"auto ({chosen.target})": chosen.plan for chosen in bundle.manifest.selections}
    for asked, plan in plans.items():
        yield asked, ", ".join(f"{stage} in {precision}" for stage, precision in plan.items())


def _accuracy(bundle: Bundle) -> Rows:
    if not bundle.manifest.accuracy:
        return [("not measured: affectrt calibrate and affectrt evaluate say how good a bundle is",)]
    rows: Rows = []
    for a in bundle.manifest.accuracy:
        told = (f"{dimension} {ccc.in_words()}" for dimension, ccc in a.ccc.items())
        rows.append((a.precision, a.backend, *told, f"{a.corpus}, {a.videos} videos"))
    return rows


def _aligned(rows: Rows) -> Iterator[str]:
    """Rows as lines, every column but the last of a row as wide as its widest cell."""
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(row[i]) for row in rows if i < len(row) - 1), default=0) for i in range(columns)]
    for row in rows:
        yield "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
