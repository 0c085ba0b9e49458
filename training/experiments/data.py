"""Windows as batches: the same global batches whatever the number of processes, workers and interruptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .config import ExperimentConfig
from .series import Item, WindowSet

__all__ = ["Batch", "Batches", "WindowData", "collated"]

Batch = dict[str, Tensor]
Place = tuple[int, int]  # epoch, index: what an item needs to be the same in every process that makes it


class _Items(Dataset[Item]):
    """What is random in an item follows from seed, epoch and index alone."""

    def __init__(self, windows: WindowSet, config: ExperimentConfig, *, training: bool) -> None:
        self._windows, self._config, self._training = windows, config, training

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, place: Place) -> Item:
        epoch, index = place
        if not self._training:
            return self._windows.item(index)
        rng = np.random.default_rng([self._config.seed, epoch, index])
        return self._windows.item(index, rng, self._config.drop_modality)


class _Epoch:
    """What Lightning tells the epoch."""

    def __init__(self) -> None:
        self.number = 0

    def set_epoch(self, epoch: int) -> None:
        self.number = epoch


class Batches(Sampler[list[Place]]):
    """One process's share of every global batch: its rows rank, rank + world, ….

    All processes get as many batches. A last batch with fewer rows than there are processes is left out, as is one
    that is not full where `last_batch` says so, and one of a single row, of which there is no CCC, where `alone` is
    False. Not `shuffled`: in order.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        *,
        seed: int = 0,
        shuffled: Literal["no", "once", "every_epoch"] = "no",
        last_batch: Literal["kept", "full"] = "kept",
        alone: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._count, self._batch, self._seed, self._shuffled = count, batch, seed, shuffled
        self._rank, self._world = rank, world
        self.sampler = _Epoch()
        whole, rest = divmod(count, batch)
        if shuffled == "no":
            self._global = whole + int(rest > rank)
            return
        # no batch at all would be no training: a corpus smaller than one batch is one
        keep = rest >= (batch if last_batch == "full" and whole else max(world, 1 if alone else 2))
        self._global = whole + int(keep)

    def __len__(self) -> int:
        return self._global

    def __iter__(self) -> Iterator[list[Place]]:
        epoch = self.sampler.number
        order = np.arange(self._count)
        if self._shuffled != "no":
            drawn = [self._seed, epoch if self._shuffled == "every_epoch" else 0]
            order = np.random.default_rng(drawn).permutation(self._count)
        for first in range(0, self._global * self._batch, self._batch):
            share = order[first : first + self._batch][self._rank :: self._world]
            yield [(epoch, int(index)) for index in share]


def collated(items: Sequence[Item]) -> Batch:
    """Items side by side; waveforms are filled up to the longest."""
    longest = max((item["waveform"].size for item in items if "waveform" in item), default=0)
    batch = {}
    for name in items[0]:
        rows = [item[name] for item in items]
        if name == "waveform":
            rows = [np.pad(row, (0, longest - row.size)) for row in rows]
        batch[name] = torch.from_numpy(np.stack(rows))
    return batch


class WindowData(LightningDataModule):
    """Both sets of windows as loaders."""

    def __init__(self, config: ExperimentConfig, training: WindowSet, validation: WindowSet) -> None:
        super().__init__()
        self.config, self.training, self.validation = config, training, validation

    def train_dataloader(self) -> DataLoader[Item]:
        rules, config = self.config.rules, self.config
        rank, world = self._place()
        batches = Batches(
            len(self.training),
            config.batch,
            seed=config.seed,
            shuffled=rules.shuffled,
            last_batch=rules.last_batch,
            alone=not self.training.per_window,
            rank=rank,
            world=world,
        )
        return self._loader(_Items(self.training, config, training=True), batches)

    def val_dataloader(self) -> DataLoader[Item]:
        rank, world = self._place()
        if len(self.validation) < world:  # nothing to share: each process scores all of them
            rank, world = 0, 1
        batches = Batches(len(self.validation), self.config.batch, rank=rank, world=world)
        return self._loader(_Items(self.validation, self.config, training=False), batches)

    def _place(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)

    def _loader(self, items: _Items, batches: Batches) -> DataLoader[Item]:
        more: dict[str, Any] = {}
        if self.config.workers:
            more = {"num_workers": self.config.workers, "persistent_workers": True}
        pinned = torch.cuda.is_available()
        return DataLoader(items, batch_sampler=batches, collate_fn=collated, pin_memory=pinned, **more)
