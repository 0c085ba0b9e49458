"""What words add to video and audio, on drawn people: RCMA's fusion with and without text, from several seeds.

    python -m affectrt.training.text_table        # or: make text-table

The encoders are those of the committed `rcma-text-demo`, trained once and frozen; see `fusion_table` for the rest.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from .fusion_options import TEXT_OPTIONS
from .fusion_results import FusionTable, SystemTable, spread
from .fusion_systems import Settings
from .progress import Progress
from .table_command import TableCommand
from .table_runs import trained_table

__all__ = ["main", "make_table", "page", "rows"]

HEAD = """\
# What words add

```sh
make text-table        # draws people who speak, encodes them, trains, writes this page; a stopped run goes on
```

All figures: [`text-table.json`](text-table.json). **CCC** is the concordance correlation coefficient over all test
recordings together: 1 is a perfect copy of the annotation, 0 no agreement."""


def page(table: FusionTable) -> str:
    """The whole page in Markdown, from the results alone."""
    return "\n\n".join([HEAD, rows(table), *(_wrapped(text) for text in _told(table.systems[0], table.seeds))]) + "\n"


def rows(table: FusionTable) -> str:
    """The table: mean and sample deviation over the seeds of every CCC."""
    (system,) = table.systems
    outputs = list(system.results[0].ccc)
    lines = [f"| modalities | parameters | {' | '.join(outputs)} | mean |", f"|---|---{'|---' * len(outputs)}|---|"]
    for option in TEXT_OPTIONS:
        results = system.of(option)
        figures = [str(spread(results, output)) for output in (*outputs, None)]
        parameters = f"{results[0].parameters:,}".replace(",", " ")
        lines.append(f"| {option.words} | {parameters} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _told(system: SystemTable, seeds: Sequence[int]) -> list[str]:
    _, without, whole = (system.of(option) for option in TEXT_OPTIONS)
    gains = ", ".join(f"{w.mean - v.mean:+.3f}" for v, w in zip(without, whole, strict=True))
    drawn, fusion = system.corpus, system.fusion
    played = [
        f"The runtime's session itself, on the media files and their transcripts, gave seed {r.seed} a CCC of "
        f"{' and '.join(f'{v:.4f}' for v in r.session.values())}; here it is "
        f"{' and '.join(f'{r.ccc[name]:.4f} ({name})' for name in r.session)}."
        for r in whole
        if r.session is not None
    ]
    return [
        f"Text changes the mean CCC of video and audio by {gains} (seed {', '.join(map(str, seeds))}).",
        f"**The data are drawn**: {drawn.train} people to train on, {drawn.validation} to choose the epoch by, "
        f"{drawn.test} to test on, {drawn.seconds:g} s each (seed {drawn.seed}). They say small sentences in voices of "
        "espeak-ng, whose words are chosen near a valence and an arousal that differ from the truth by an error of "
        "their own, as those of face and voice do. So text must add something: this shows that the whole way of the "
        "words works, and nothing of how much the words of people would add. Transcripts are the generator's, not "
        "recognised.",
        f"Encoders of `{system.checkpoint}` (SHA-256 {system.checkpoint_sha256[:12]}…), frozen. Every fusion starts "
        f"from nothing and has {fusion.epochs} epochs of {fusion.batches} batches of {fusion.batch} windows; the epoch "
        f"that is best in validation is kept. ± is the sample standard deviation over {len(seeds)} seeds (n − 1).",
        *played,
    ]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def make_table(settings: Settings, work: Path, progress: Progress) -> FusionTable:
    """Train what is not yet in `work`; all results of these settings."""
    return trained_table(settings, work, progress, {"rcma-text": TEXT_OPTIONS})


COMMAND = TableCommand(
    name="text-table",
    does="RCMA with and without text, from three seeds.",
    systems=("rcma-text",),
    make=make_table,
    page=page,
    rows=rows,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code as of `affectrt`: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
