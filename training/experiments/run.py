"""From an experiment and a prepared corpus to a checkpoint, on one process or many."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.models.checkpoint import save_checkpoint
from affectrt.models.network import Network
from affectrt.training.feature_cache import FeatureCache
from affectrt.training.places import check_file, check_folder
from affectrt.training.prepared import PreparedCorpus, PreparedVideo
from affectrt.training.progress import Progress

from .beginning import begin_with, cached_features
from .callbacks import KeepState, TellEpochs
from .config import ExperimentConfig, network_of
from .data import WindowData
from .folds import folds
from .module import STATE, AffectModule
from .series import WindowSet
from .state_file import StateFile
from .words import Scale, Words, words_of

__all__ = ["TrainedExperiment", "train_experiment"]

WITHOUT_IDENTITY = {
    "corpus",
    "devices",
    "nodes",
    "workers",
    "cache",
    "encoders",
    "text",
}  # nothing that decides what is computed


@dataclass(frozen=True)
class TrainedExperiment:
    """`ccc`: output → validation CCC of the best epoch, by the protocol's metric. `stopped`: why the training ended."""

    checkpoint: Path
    ccc: dict[str, float]
    epochs: int
    stopped: str


def train_experiment(
    config: ExperimentConfig,
    text: str,
    corpus: Path,
    out: Path,
    *,
    work: Path | None = None,
    resume: bool = False,
    accelerator: str = "auto",
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainedExperiment | None:
    """Train and write the best weights to `out`; None in every process but the first.

    `work` keeps `last.ckpt` (Lightning's state, from which `resume` goes on), `best.safetensors` and TensorBoard's
    `logs`. With `config.devices` or `nodes` above 1 Lightning starts the other processes with this command line and
    DDP; batches are those of one process, `config.batch` windows over all of them. UsageError for what does not fit.
    """
    progress = progress or Progress(quiet=True)
    _check_accelerator(accelerator)
    if work is None and config.devices * config.nodes > 1:
        raise UsageError("several processes without --work", expected="a folder that all of them see", fix="--work DIR")
    kept = work is not None
    with nullcontext(work) if work is not None else tempfile.TemporaryDirectory(prefix="affectrt-train-") as folder:
        work = Path(folder)
        check_folder(work, "--work")
        opened = PreparedCorpus.open(corpus)
        torch.manual_seed(config.seed)
        network = network_of(config)
        opened.check_fits(Contract.model_validate(network.contract()))
        videos = _videos(config, opened)
        words = words_of(config, network, videos[0])
        begin_with(network, config)
        check_file(out, "--out")
        features = cached_features(config, network, opened, work, progress, words)
        data = _data(config, network, videos, words, features)
        module = AffectModule(config, network, data.validation, _identity(config, opened, features))
        state = _state(work, module.identity, resume)
        _quiet()
        trainer = _trainer(config, work, accelerator, progress, callbacks)
        if not trainer.is_global_zero:
            words = None  # a BERT of 440 MB, which only the writer of the checkpoint wants again
        else:
            progress.say(
                f"{config.name}, {config.protocol}: {len(data.training)} training and {len(data.validation)} "
                f"validation windows, fold {config.fold}, seed {config.seed}"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
            try:
                trainer.fit(module, datamodule=data, ckpt_path=state, weights_only=True)
            except SystemExit:
                if trainer.interrupted:  # Lightning takes Ctrl-C for a failure
                    progress.say("stopped; --resume goes on from the last whole epoch" if kept else "stopped")
                    raise KeyboardInterrupt from None
                raise
        if not trainer.is_global_zero:
            return None
        module.load_best()
        names: list[str] = [output.name for output in module.contract.outputs]
        scores = dict(zip(names, module.best_scores, strict=True))
        provenance = _provenance(config, text, opened, scores)
        if words is None:
            save_checkpoint(network, out, provenance)
        else:
            save_checkpoint(words.whole(network), out, words.told(provenance))
        return TrainedExperiment(out, scores, module.course.epoch, module.stopped or "epochs")


def _check_accelerator(accelerator: str) -> None:
    if accelerator not in {"auto", "cpu", "gpu"}:
        raise UsageError(f"--accelerator {accelerator}", expected="auto, cpu or gpu", fix="leave --accelerator out")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UsageError(
            "--accelerator gpu, and PyTorch sees no GPU",
            expected="a GPU, and PyTorch with CUDA: affectrt doctor",
            fix="--accelerator cpu",
        )


def _videos(config: ExperimentConfig, corpus: PreparedCorpus) -> tuple[list[PreparedVideo], list[PreparedVideo]]:
    train, validation = (sorted(corpus.videos(split), key=lambda v: v.name) for split in ("train", "validation"))
    return folds(train, validation, config.fold)


def _data(
    config: ExperimentConfig,
    network: Network,
    videos: tuple[list[PreparedVideo], list[PreparedVideo]],
    words: Words | None,
    features: FeatureCache | None,
) -> WindowData:
    scales: Sequence[Scale | None] = (None, None)
    if words is not None and features is not None:
        scales = words.scales(network, config, features, videos)
    contract = Contract.model_validate(network.contract())
    sets = [
        WindowSet(split, contract, config.rules, hop=config.hop, scored=scored, features=features, scale=scale)
        for split, scored, scale in zip(videos, (False, True), scales, strict=True)
    ]
    return WindowData(config, *sets)


def _trainer(
    config: ExperimentConfig, work: Path, accelerator: str, progress: Progress, callbacks: Sequence[Callback]
) -> Trainer:
    from lightning.pytorch.strategies import DDPStrategy

    many = config.devices * config.nodes > 1
    cpu = accelerator == "cpu" or not torch.cuda.is_available()
    if cpu and config.precision == "16-mixed":
        raise UsageError("precision 16-mixed on a CPU", expected="32-true or bf16-mixed", fix="--precision bf16-mixed")
    plugins: list[Any] = [StateFile()]
    if many and cpu:
        from .batch_norm import CpuSyncBatchNorm

        plugins.append(CpuSyncBatchNorm())
    # Parts that are released later are known to DDP from the beginning and have no gradient until then.
    strategy: Any = DDPStrategy(find_unused_parameters=True) if many else "auto"
    bar: list[Callback] = [RichProgressBar(console_kwargs={"stderr": True})] if progress.visible else []
    try:
        return Trainer(
            accelerator="cpu" if cpu else accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=strategy,
            precision=config.precision,
            max_epochs=config.epochs,
            callbacks=[*bar, TellEpochs(progress.say), *callbacks, KeepState(work)],
            logger=TensorBoardLogger(work, name="logs", version=""),
            plugins=plugins,
            sync_batchnorm=many and not cpu,
            use_distributed_sampler=False,  # ours shares global batches out
            num_sanity_val_steps=0,
            enable_progress_bar=bool(bar),
            enable_model_summary=False,
            log_every_n_steps=10,
        )
    except lightning.fabric.utilities.exceptions.MisconfigurationException as error:
        raise UsageError(
            f"{config.devices} device(s) of the kind {accelerator}: {error}",
            expected="devices that this machine has",
            fix="--devices 1, or --accelerator cpu",
        ) from error


def _identity(config: ExperimentConfig, corpus: PreparedCorpus, features: FeatureCache | None) -> str:
    told = f"{config.model_dump_json(exclude=WITHOUT_IDENTITY)}\n{corpus.fingerprint}"
    if features is not None:
        told += f"\n{features.key}"
    return hashlib.sha256(told.encode()).hexdigest()


def _state(work: Path, identity: str, resume: bool) -> Path | None:
    """The state to go on from, if there is one and it is this training's."""
    path = work / "last.ckpt"
    if not path.exists():
        return None
    if not resume:  # it may be days of work
        raise UsageError(
            f"{path} is the state of a training",
            expected="a --work folder without one, or --resume",
            fix=f"--resume to go on, another --work folder, or rm {path}",
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[STATE]["identity"]
    except Exception as error:  # torch raises many kinds for a broken file, and says in each that it is broken
        raise UsageError(
            f"{path} is not a training state: {error}", fix=f"name another --work folder, or rm {path}"
        ) from error
    if found != identity:
        raise UsageError(
            f"{path} was left by a training with another configuration or corpus",
            expected="the state of the same experiment",
            fix=f"name another --work folder, or rm {path}",
        )
    return path


def _provenance(
    config: ExperimentConfig, text: str, corpus: PreparedCorpus, scores: dict[str, float]
) -> dict[str, Any]:
    """Nothing here changes from one run of the experiment to the next: no date, no duration, no machine."""
    return {
        "recipe": config.name,
        "recipe_text": text,
        "experiment": config.model_dump(mode="json", exclude=WITHOUT_IDENTITY),
        "training_corpus": f"prepared corpus {corpus.name} ({corpus.kind}), fold {config.fold}",
        "corpus_sha256": corpus.fingerprint,
        "seed": config.seed,
        "licence": config.licence,
        "intended_use": config.intended_use,
        "limits": config.limits,
        "versions": {
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "lightning": str(lightning.__version__),
        },
        "validation_ccc": scores,
    }


def _quiet() -> None:
    """Lightning's advice and advertisements, which do not concern who runs an experiment."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
