"""`affectrt doctor`: what this machine lacks, and the command that brings it."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer

from .finding import Finding
from .machine import findings
from .nvidia import gather_facts

__all__ = ["doctor"]

TITLES = {
    "runtime": "estimates of a file (required)",
    "live": "cameras, microphones, RTSP",
    "text": "spoken words: transcripts and recognisers",
    "demo": "the demo's own media",
    "export": "exporting and the networks",
    "train": "training",
    "bench": "tests and benchmarks",
    "cpu": "processor",
    "accelerator": "NVIDIA GPU and TensorRT",
    "trap": "known traps on this machine",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, for bug reports.")] = False,
) -> None:
    """What this machine lacks, and how to get it.

    Exit code 0 when the runtime works (estimates of a file), 1 otherwise. Nothing is changed.
    """
    facts = gather_facts()
    found = list(findings(facts))
    works = all(f.ok for f in found if f.required)
    if as_json:
        record = {"runtime_works": works, "findings": [asdict(f) for f in found], "nvidia": asdict(facts)}
        typer.echo(json.dumps(record, indent=2))
    else:
        _show(found)
        verdict = "works" if works else "does NOT work: run the lines marked with → under the first title"
        typer.echo(f"\nThe runtime {verdict}.")
    raise typer.Exit(0 if works else 1)


def _show(found: list[Finding]) -> None:
    order = list(TITLES)
    for tier, group in groupby(sorted(found, key=lambda f: order.index(f.tier)), key=lambda f: f.tier):
        typer.echo(f"{TITLES[tier]}")
        for finding in group:
            typer.echo(f"  {'ok' if finding.ok else '--'}  {finding.name:<20} {finding.found}")
            if finding.fix is not None:
                typer.echo(f"      → {finding.fix}")
