"""Words in an experiment: whose vectors they are, and the mean and deviation with which a fusion takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import UsageError
from affectrt.training.annotation import OUTPUTS
from affectrt.training.feature_cache import FeatureCache
from affectrt.training.prepared import PreparedVideo
from affectrt.training.text import words_of_steps

from .config import ExperimentConfig
from .windows import series_windows

if TYPE_CHECKING:
    from affectrt.models.importing import TextSource
    from affectrt.models.network import Network

__all__ = ["Scale", "Words", "said", "scale_of", "words_of"]

LEAST_STD = 1e-6  # that a configuration takes

_BLOCK = 1024  # rows that become float64 at a time: 6 MB of BERT's


class Scale(NamedTuple):
    """Of the words' vectors, over all of their numbers: a fusion takes (vector − mean) / std."""

    mean: float
    std: float


@dataclass(eq=False)
class Words:
    """Who encodes the words of a network: the network itself, or a BERT, which is no part of it while it learns.

    `whole` and `told` give a trained network and its provenance what a file of it must hold besides.
    """

    source: TextSource | None

    def scales(
        self,
        network: Network,
        config: ExperimentConfig,
        features: FeatureCache,
        videos: Sequence[Sequence[PreparedVideo]],
    ) -> list[Scale]:
        """Those of the training and the validation windows; the network keeps the first.

        `videos`: both splits of the fold. A network with an encoder of its own has those of its configuration.
        UsageError where no training step has a word.
        """
        chosen: Any = network.config
        if self.source is None:
            return [Scale(chosen.text_mean, chosen.text_std)] * 2
        found = [scale_of(split, config, chosen.window_steps, features) for split in videos]
        training, validation = found
        if training is None:
            raise _silent(config)
        network.config = replace(chosen, text_mean=training.mean, text_std=training.std)
        if config.rules.words == "said":
            return [training, training]
        return [training, validation or Scale(0.0, 1.0)]  # of zeros alone, which stay what they are

    def whole(self, network: Network) -> Network:
        if self.source is None:
            return network
        from affectrt.models.rcma import Rcma

        assert isinstance(network, Rcma)
        chosen = network.config
        return self.source.given_to(network, mean=chosen.text_mean, std=chosen.text_std)

    def told(self, provenance: dict[str, Any]) -> dict[str, Any]:
        return provenance if self.source is None else self.source.told(provenance)


def words_of(config: ExperimentConfig, network: Network, training: Sequence[PreparedVideo]) -> Words | None:
    """Who encodes the words that the network reads; None where it reads none.

    UsageError where nobody can, where `config.text` is not needed, and where no training video has a transcript;
    CheckpointError for a folder that is no BERT of the network's width.
    """
    from affectrt.models.importing import read_text

    chosen: Any = network.config
    reads = "text" in chosen.modalities
    own = reads and chosen.text_layers > 0
    if config.text is not None and (own or not reads):
        raise UsageError(
            f"--text {config.text}, and the network of {config.name} "
            + ("has an encoder of words already" if own else "reads no words"),
            expected="a network that takes words' vectors from outside",
            fix="leave --text out, and `text` in the configuration",
        )
    if not reads:
        return None
    if not own and config.text is None:
        raise UsageError(
            f"the network of {config.name} reads words, and nobody makes vectors of them",
            expected="the folder of a BERT in Hugging Face's layout, as bert-base-uncased is",
            fix='--text BERT; or, without words, in the configuration: [network] modalities = ["video", "audio"]',
        )
    if not any(video.words() for video in training):
        raise _silent(config)
    return Words(read_text(config.text, chosen) if config.text is not None else None)


def scale_of(
    videos: Sequence[PreparedVideo], config: ExperimentConfig, window_steps: int, features: FeatureCache
) -> Scale | None:
    """Population statistics of one split by the experiment's rules, in float64; None where not one of its steps has
    a word."""
    count, total, squares = 0, 0.0, 0.0
    spoken = False
    for video in videos:
        heard = said(video)
        if config.rules.words == "said":
            steps, times = np.flatnonzero(heard), 1
        else:
            truth = video.truth()[:, [OUTPUTS.index(output) for output in config.outputs]]
            steps = np.flatnonzero(~np.isnan(truth).any(axis=1))
            times = len(series_windows(len(steps), window_steps, config.hop))
        spoken = spoken or bool(heard[steps].any())
        for rows in _blocks(features.rows(video.name)["text"], steps):
            count += times * rows.size
            total += times * float(rows.sum())
            squares += times * float(np.square(rows).sum())
    if not spoken or not count:
        return None
    mean = total / count
    return Scale(mean, max(float(np.sqrt(max(squares / count - mean**2, 0.0))), LEAST_STD))


def said(video: PreparedVideo) -> npt.NDArray[np.bool_]:
    """(steps,): where a word lies under a step."""
    return words_of_steps(video.words(), video.steps, video.step_hz) >= 0


def _blocks(rows: npt.NDArray[np.float32], steps: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.float64]]:
    for at in range(0, len(steps), _BLOCK):
        yield rows[steps[at : at + _BLOCK]].astype(np.float64)


def _silent(config: ExperimentConfig) -> UsageError:
    return UsageError(
        f"the network of {config.name} reads words, and under no step of the training videos of {config.corpus} is one",
        expected="transcripts in the corpus",
        fix="affectrt transcribe RAW --out DIR, then affectrt prepare … --words DIR",
    )
