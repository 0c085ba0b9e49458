"""One fusion trained from one seed, in a process of its own, on features that all of them share."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError
from affectrt.models.checkpoint import LoadedCheckpoint, load_checkpoint
from affectrt.models.network import Network

from .corpus import Corpus, Split
from .evaluate import Opened, examine
from .fit import Epoch, fit
from .fusion_features import read_features
from .fusion_options import Option
from .fusion_results import Result
from .modality_results import ModalityResult, set_name
from .recipe import FusionRecipe
from .text import pieces_of_network
from .torch_engine import torch_engines
from .train_fusion import Features, FusionTask, streamed_ccc

__all__ = ["Run", "results_of"]

PHASE = 9  # of the seeds of random windows, as in `affectrt.training.train`
NEAR = 1e-3  # what may lie between a CCC of bare windows and the session's


@dataclass(frozen=True)
class Run:
    """What a process must be told.

    `sets`, modalities in the contract's order: it is also scored with these alone, all others zero; the result is then
    a `ModalityResult`. `checked`: the test split is also played through the runtime's session, with every set.
    """

    option: Option
    seed: int
    identity: str
    checkpoint: Path
    corpus: Path
    features: Mapping[Split, tuple[Path, ...]]
    fusion: FusionRecipe
    checked: bool = False
    sets: tuple[tuple[str, ...], ...] | None = None


def results_of(runs: Sequence[Run], processes: int) -> Iterator[Result]:
    """Train all runs, `processes` at a time, each on one thread; results come as they are done.

    One thread each: the networks are so small that a second one would mostly wait for the first. A figure also does not
    depend on how many processors there are then.
    """
    if processes == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield from map(_result, runs)
        finally:
            torch.set_num_threads(threads)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, max(1, len(runs))), _start) as pool:
        yield from pool.imap_unordered(_result, runs)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which Ctrl-C reaches as well, ends its processes
    torch.set_num_threads(1)


def _result(run: Run) -> Result:
    began = time.process_time()
    checkpoint = _checkpoint(run.checkpoint)
    torch.manual_seed(run.seed)
    model = run.option.network(checkpoint.model.config)
    for modality, encoder in model.encoders.items():
        encoder.load_state_dict(checkpoint.model.encoders[modality].state_dict())
    contract = Contract.model_validate(model.contract())
    train, validation, test = (_features(run.features[split]) for split in ("train", "validation", "test"))
    task = FusionTask(model.fusion_modules(), contract, train, validation, run.fusion)
    epochs: list[Epoch] = []
    score = fit(task, run.fusion, (run.seed, PHASE), epoch_done=epochs.append)
    whole, sets = tuple(contract.modalities), run.sets or ()
    ccc = {chosen: _windowed(task, contract, test, chosen) for chosen in (whole, *sets)}
    session: dict[tuple[str, ...], dict[str, float]] = {}
    if run.checked:
        session = _played(run, model, contract, tuple(ccc))
        for chosen, scores in ccc.items():
            _check(run, chosen, scores, session[chosen])
    result = Result(
        identity=run.identity,
        system=run.option.system,
        option=run.option.name,
        seed=run.seed,
        ccc=ccc[whole],
        session=session.get(whole),
        validation=score,
        best_epoch=max(epoch.number for epoch in epochs if epoch.best),
        parameters=sum(p.numel() for p in task.module.parameters()),
        cpu_s=round(time.process_time() - began, 1),
    )
    if run.sets is None:
        return result
    return ModalityResult(
        **result.model_dump(),
        drop_modality=run.fusion.drop_modality,
        given={set_name(chosen): ccc[chosen] for chosen in sets},
        played={set_name(chosen): session[chosen] for chosen in sets if chosen in session},
    )


def _windowed(
    task: FusionTask, contract: Contract, test: Sequence[Features], chosen: Sequence[str]
) -> dict[str, float]:
    """Output → CCC with these modalities alone."""
    without = [name for name in contract.modalities if name not in chosen]
    scores = streamed_ccc(task.module, contract, test, without=without)
    return {str(output.name): score for output, score in zip(contract.outputs, scores, strict=True)}


def _played(
    run: Run, model: Network, contract: Contract, sets: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, float]]:
    """The same through the runtime's own source and session, as `affectrt evaluate --windows stream` does it."""
    opened = Opened(contract, torch_engines(model), "fp32", pieces_of_network(model))
    found = examine(opened, Corpus.open(run.corpus), "test", sets=sets)
    return {
        chosen: {str(name): interval.value for name, interval in one.evaluation.ccc.items()}
        for chosen, one in zip(sets, found, strict=True)
    }


def _check(run: Run, chosen: tuple[str, ...], ccc: Mapping[str, float], session: Mapping[str, float]) -> None:
    if any(abs(session[name] - ccc[name]) > NEAR for name in ccc):
        raise AffectError(
            f"{run.option.system} {run.option.name}, {set_name(chosen)}: CCC {dict(ccc)} of windows alone, "
            f"{dict(session)} through the session",
            expected=f"the same to {NEAR:g}",
            fix="report it: one of the two does not play the stream as the other",
        )


@lru_cache(maxsize=2)
def _checkpoint(path: Path) -> LoadedCheckpoint:
    return load_checkpoint(path)


@lru_cache(maxsize=6)
def _features(paths: tuple[Path, ...]) -> list[Features]:
    return [read_features(path) for path in paths]
