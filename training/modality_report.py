"""The table of missing modalities for people: a page in Markdown, made from the results alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from statistics import mean

from .fusion_options import SystemName
from .fusion_results import Spread
from .modality_results import ModalitySystem, ModalityTable, by_seed

__all__ = ["TITLES", "page", "rows"]

TITLES: Mapping[SystemName, str] = {"rcma-text": "RCMA with text", "rcma": "RCMA", "cav": "CAV"}
HEAD = """\
# Missing modalities

```sh
make modality-table      # draws people, encodes them, trains, writes this page; a stopped run goes on where it was
```

![Mean CCC with every set of modalities given, of fusions trained with and without dropout](modality-table.png)

*Mean CCC of valence and arousal: ring, trained without modality dropout; dot, with it; tick, trained on these
modalities alone; a bar for the deviation over the seeds.*

All figures: [`modality-table.json`](modality-table.json). **CCC** is the concordance correlation coefficient over all
test recordings together: 1 is a perfect copy of the annotation, 0 no agreement.

Modality dropout hides whole modalities from the fusion in some of the windows that it learns from. It is for whoever
cannot promise that everything is always there: a face that turns away, a microphone that is muted, a stretch without
words. Where all modalities are always there, only the first row of each table counts."""


def page(table: ModalityTable) -> str:
    """The whole page, from the results alone."""
    parts = [HEAD, "## What it costs and gives back", "\n".join(_wrapped(f"- {_found(s)}") for s in table.systems)]
    parts += ["## How to read it", _reading(table)]
    for system in table.systems:
        parts += [f"## {TITLES[system.system]}", _means(system), "Valence and arousal:", _outputs(system)]
        parts.append(_wrapped(_trained(system), ""))
    return "\n\n".join(parts) + "\n"


def rows(table: ModalityTable) -> str:
    """The tables of means alone, for a terminal."""
    return "\n\n".join(f"{TITLES[s.system]}\n{_means(s)}\n\n{_wrapped(_found(s), '')}" for s in table.systems)


def _found(system: ModalitySystem) -> str:
    """What dropout changes with everything given and with something missing, and what remains to be had."""
    whole, *fewer = system.sets
    changes = {name: mean(_changes(system, name)) for name in fewer}
    low, high = (pick(changes, key=lambda name: changes[name]) for pick in (min, max))
    missed = [
        mean(mean(by_seed(system.alone(name), name)) - mean(by_seed(results, name)) for name in fewer)
        for results in (system.without, system.dropped)
    ]
    seeds = ", ".join(f"{change:+.3f}" for change in _changes(system, whole))
    return (
        f"**{TITLES[system.system]}**: with everything given, dropout changes the mean CCC by "
        f"{mean(_changes(system, whole)):+.3f} ({seeds} by seed). With something missing it changes it by "
        f"{mean(changes.values()):+.3f} in the mean over the {len(fewer)} sets, from {changes[low]:+.3f} "
        f"({_words(low)} given) to {changes[high]:+.3f} ({_words(high)} given). A fusion trained on just these "
        f"modalities is better by {missed[0]:.3f} in the mean than one trained without dropout, and by {missed[1]:.3f} "
        "than one trained with it."
    )


def _reading(table: ModalityTable) -> str:
    drawn = table.systems[0].corpus
    lines = [
        f"**The data are drawn**: {drawn.train} people to train on, {drawn.validation} to choose the epoch by, "
        f"{drawn.test} to test on, {drawn.seconds:g} s each, faces and voices from a generator (seed {drawn.seed}), "
        "and words where the system has text. Each modality shows the truth plus an error of its own, all the time. "
        "How much a modality of people is worth, and so what its loss costs, may be anything else.",
        "**Given**: the modalities that the fusion gets of every test recording, from beginning to end; it gets zeros "
        "for the others, as in a run without camera, microphone or words. What a modality costs that is there now and "
        "then is not shown here.",
        "**Without dropout, with dropout**: the demo's fusion, trained on all modalities from the same first weights, "
        "with `drop_modality` 0 and as in the demo's recipe. The weights that are committed were trained with it.",
        "**Trained on these alone**: a fusion that never had the others, trained without dropout; a single modality "
        "has a head and nothing to attend to. It is what could be had if one knew before what will be missing, at the "
        "price of a model for every set. For all modalities it is the fusion without dropout.",
        f"**Shared** by all: the people, the frozen encoders, the schedule. **Varied**, with the seed "
        f"({', '.join(map(str, table.seeds))}): the first weights and the random windows. Kept is the epoch that is "
        "best in validation with everything given, which is no help to dropout.",
        f"**±** is the sample standard deviation over {len(table.seeds)} seeds (n − 1); of a change, of the "
        "differences seed by seed. Differences smaller than it mean nothing. It does not hold the chance of having "
        f"drawn these {drawn.test} test people, which is larger.",
        "**Scored** over the windows of a session that streams with its default hop, formed without the session "
        f"(`streamed_estimates`). {_checked(table)}",
    ]
    return "\n".join(_wrapped(f"- {line}") for line in lines)


def _checked(table: ModalityTable) -> str:
    apart, sets, told = 0.0, 0, []
    for system in table.systems:
        for result in system.results:
            if result.session is None:
                continue
            played = {result.option: result.session, **result.played}
            sets += len(played)
            told.append(TITLES[system.system])
            for name, session in played.items():
                apart = max(apart, *(abs(result.with_only(name)[output] - ccc) for output, ccc in session.items()))
    if not told:
        return "The runtime's session itself was not asked."
    return (
        f"The runtime's session itself, on the media files and with the other modalities left out, as `affectrt "
        f"evaluate` plays them, was asked for every set of one fusion with dropout of {_list(told)}: in these {sets} "
        f"cases its CCC differs from the one here by {apart:.1g} at most."
    )


def _means(system: ModalitySystem) -> str:
    lines = ["| given | without dropout | with dropout | change | trained on these alone |", "|---|---|---|---|---|"]
    for name in system.sets:
        change = Spread.of(_changes(system, name))
        figures = [*_figures(system, name, None)]
        figures.insert(2, f"{change.mean:+.3f} ± {change.deviation:.3f}")
        lines.append(f"| {_words(name)} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _outputs(system: ModalitySystem) -> str:
    outputs = list(system.results[0].ccc)
    heads = [f"{output}, {kind}" for output in outputs for kind in ("without", "with", "alone")]
    lines = [f"| given | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for name in system.sets:
        lines.append(f"| {_words(name)} | {' | '.join(f for o in outputs for f in _figures(system, name, o))} |")
    return "\n".join(lines)


def _figures(system: ModalitySystem, name: str, output: str | None) -> list[str]:
    kinds = (system.without, system.dropped, system.alone(name))
    figures = [str(Spread.of(by_seed(results, name, output))) for results in kinds]
    return [*figures[:2], "–"] if name == system.sets[0] else figures


def _changes(system: ModalitySystem, name: str) -> list[float]:
    pair = (by_seed(results, name) for results in (system.without, system.dropped))
    return [with_it - without for without, with_it in zip(*pair, strict=True)]


def _trained(system: ModalitySystem) -> str:
    fusion, share = system.fusion, system.fusion.drop_modality
    if len(system.modalities) == 2:
        dropout = f"with dropout {2 * share:.0%} of the windows lose one modality, either as often"
    else:
        dropout = f"with dropout a window loses each modality with probability {share:.0%}, but never all"
    told = (
        f"Encoders of `{system.checkpoint}` (SHA-256 {system.checkpoint_sha256[:12]}…), frozen. Every fusion starts "
        f"from nothing and has {fusion.epochs} epochs of {fusion.batches} batches of {fusion.batch} windows; {dropout}."
    )
    if system.described_steps > 1:
        told += (
            f" An estimate, one in {system.hop_steps} steps, is compared with the mean annotation of the last "
            f"{system.described_steps}: these figures cannot be compared with those of single steps."
        )
    minutes = sum(result.cpu_s for result in system.results) / 60
    return f"{told} All {len(system.results)} trainings took {minutes:.0f} minutes of processor time."


def _words(name: str) -> str:
    return _list(name.split("+"))


def _list(words: list[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _wrapped(text: str, indent: str = "  ") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
