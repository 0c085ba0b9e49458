"""The fusion table for people: a page in Markdown, made from the results alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from .fusion_options import OPTIONS, PAPER_RECURSIONS, SystemName
from .fusion_results import FusionTable, SystemTable, spread

__all__ = ["page", "tables_text"]

TITLES: Mapping[SystemName, str] = {"rcma": "RCMA", "cav": "CAV"}
PAPERS: Mapping[SystemName, str] = {
    "rcma": "[arXiv 2403.13659](https://arxiv.org/abs/2403.13659)",
    "cav": "[arXiv 2111.05222](https://arxiv.org/abs/2111.05222)",
}
NOTES: Mapping[SystemName, str] = {
    "rcma": "`others-projected` is the attention of the first version's code, `all-raw` that of the later code, "
    "`all-projected` what that code computes and drops, `time-map` the K × K maps of the paper's fourth version; l "
    "counts the layers, each with weights of its own. Temporal networks and head are the demo's in every row. The "
    "paper's figures are its table 3, recursions on fold 1 of Aff-Wild2 with video, audio and text, as published notes "
    "quote it; they stand beside `time-map`, the form that its equations describe. Which form was run for that table "
    "is not documented. For the other rows no figure of the paper was found.\n\n"
    "Nothing in its equations bounds what a layer of `time-map` adds. With the usual first weights two, three and four "
    "layers make noise of deviation 1 about 4, 14 and 50 times as large (`all-raw`: 1.1 times), and the schedule that "
    "trains everything else does not train them. How the paper's were initialised is not documented.",
    "cav": "The released attention takes the softmax over columns at temperature 1 and sums what both modalities "
    "attend to; each row below it changes one of these, or adds the residual and the tanh of its successor's code. Not "
    "one figure of the paper was found: no source that we could read holds its tables.",
}
HEAD = """\
# Fusions compared

```sh
make fusion-table      # draws people, encodes them, trains, writes this page; a stopped run goes on where it was
```

![CCC of every fusion: a dot for each seed, mean and deviation](fusion-table.png)

*A dot for each seed, a tick for their mean, a bar for the deviation; shaded: the fusion of the demo weights.*

All figures: [`fusion-table.json`](fusion-table.json). **CCC** is the concordance correlation coefficient over all test
recordings together: 1 is a perfect copy of the annotation, 0 no agreement."""


def page(table: FusionTable) -> str:
    """The whole page, from the results alone."""
    parts = [HEAD, "## How to read it", _reading(table)]
    for system in table.systems:
        parts += [f"## {TITLES[system.system]}, {PAPERS[system.system]}", _rows(system), _found(system)]
        parts += [*map(_wrapped, NOTES[system.system].split("\n\n")), _trained(system)]
    return "\n\n".join(parts) + "\n"


def tables_text(table: FusionTable) -> str:
    """The tables alone, for a terminal."""
    return "\n\n".join(f"{TITLES[s.system]}\n{_rows(s)}\n\n{_found(s)}" for s in table.systems)


def _reading(table: FusionTable) -> str:
    drawn = table.systems[0].corpus
    lines = [
        f"**The data are drawn**: {drawn.train} people to train on, {drawn.validation} to choose the epoch by, "
        f"{drawn.test} to test on, {drawn.seconds:g} s each, faces and voices from a generator (seed {drawn.seed}). "
        "Each shows the truth plus a slow error of its own, all the time and equally well. So both together must beat "
        "one alone, and a weighted sum of both is close to the best fusion there is (0.88 and 0.89, see the README): "
        "attention, which could notice when one of them fails, finds little to do. On people that may differ.",
        "**Shared** by all rows of a system: the people, and the encoders of the committed demo weights, which were "
        "trained once, each on its own modality, and are frozen; hence the features too; and the schedule.",
        f"**Varied**: the fusion, which starts from nothing, and with the seed ({', '.join(map(str, table.seeds))}) "
        "its first weights and the random windows that it learns from. Kept is the epoch that is best in validation.",
        f"**±** is the sample standard deviation over {len(table.seeds)} seeds (n − 1). Differences smaller than it "
        f"mean nothing. It does not hold the chance of having drawn these {drawn.test} test people, which is larger: "
        "the README has 95 % intervals of the demo weights.",
        "**Scored** on the test people, over the windows of a session that streams with its default hop, formed "
        "without the session (`streamed_estimates`). " + " ".join(_checks(table)),
        "**The papers' figures** are of people, of another corpus and of larger networks. Only the order of rows can "
        "be compared with them, never the figures.",
    ]
    return "\n".join(_wrapped(f"- {line}", indent="  ") for line in lines)


def _checks(table: FusionTable) -> list[str]:
    told = []
    for system in table.systems:
        for result in system.results:
            if result.session is not None:
                played = " and ".join(f"{value:.4f}" for value in result.session.values())
                here = " and ".join(f"{result.ccc[name]:.4f} ({name})" for name in result.session)
                told.append(
                    f"The runtime's session itself, on the media files, gave {TITLES[system.system]}'s "
                    f"`{result.option}` with seed {result.seed} a CCC of {played}; here it is {here}."
                )
    return told


def _rows(system: SystemTable) -> str:
    outputs = list(system.results[0].ccc)
    lines = [
        f"| fusion | parameters | {' | '.join(outputs)} | mean | paper's mean |",
        f"|---|---{'|---' * len(outputs)}|---|---|",
    ]
    for option in OPTIONS[system.system]:
        results = system.of(option)
        words = f"**{option.words}** (the demo's)" if option.shipped else option.words
        figures = [str(spread(results, output)) for output in (*outputs, None)]
        parameters = f"{results[0].parameters:,}".replace(",", " ")
        paper = "not found" if option.paper is None else f"{option.paper:.3f}"
        lines.append(f"| {words} | {parameters} | {' | '.join(figures)} | {paper} |")
    return "\n".join(lines)


def _found(system: SystemTable) -> str:
    """What the rows say: attention against no attention, and the order of recursions beside the paper's."""
    means = {option.name: spread(system.of(option)) for option in OPTIONS[system.system]}
    words = {option.name: option.words for option in OPTIONS[system.system]}
    plain = means["concatenation"]
    attending = sorted((o.name for o in OPTIONS[system.system] if o.attends), key=lambda name: means[name].mean)
    low, high = attending[0], attending[-1]
    told = (
        f"Means of both outputs: concatenation {plain}; with attention from {means[low]} ({words[low]}) to "
        f"{means[high]} ({words[high]}), a difference of {means[low].mean - plain.mean:+.3f} to "
        f"{means[high].mean - plain.mean:+.3f}."
    )
    if system.system == "rcma":
        told += f" Recursions from best to worst: the paper l = {_ranked(PAPER_RECURSIONS)}"
        for form in ("time-map", "all-raw"):
            told += f"; `{form}` here l = {_ranked({n: means[f'{form}-{n}'].mean for n in PAPER_RECURSIONS})}"
        told += "."
    return _wrapped(told)


def _ranked(figures: Mapping[int, float]) -> str:
    return ", ".join(f"{layers} ({figures[layers]:.3f})" for layers in sorted(figures, key=lambda key: -figures[key]))


def _trained(system: SystemTable) -> str:
    fusion, minutes = system.fusion, sum(result.cpu_s for result in system.results) / 60
    told = (
        f"Encoders of `{system.checkpoint}` (SHA-256 {system.checkpoint_sha256[:12]}…). Every fusion has "
        f"{fusion.epochs} epochs of {fusion.batches} batches of {fusion.batch} windows, Adam at "
        f"{fusion.learning_rate:g} with a warm-up and a cosine, weight decay {fusion.weight_decay:g}. Where there are "
        f"two modalities, {2 * fusion.drop_modality:.0%} of the windows lose one; {fusion.short:.0%} are cut short. "
    )
    if system.described_steps > 1:
        told += (
            f"An estimate, one in {system.hop_steps} steps, is compared with the mean annotation of the last "
            f"{system.described_steps}: these figures cannot be compared with those of single steps. "
        )
    told += f"All {len(system.results)} trainings took {minutes:.0f} minutes of processor time."
    return _wrapped(told)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
