"""A training recipe: everything that decides what the weights become, checked whole before the first byte moves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from affectrt.bundle.errors import UsageError
from affectrt.bundle.modalities import Record

__all__ = [
    "AudioRecipe",
    "CorpusRecipe",
    "EncoderRecipe",
    "EncoderRecipes",
    "FusionRecipe",
    "ModelName",
    "Recipe",
    "Schedule",
    "TextRecipe",
    "VideoRecipe",
    "read_recipe",
]

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
ModelName = Literal["demo", "cav-demo", "text-demo"]


class CorpusRecipe(Record):
    """The drawn corpus: identities of each split (one clip each), the length of a clip and the side of a frame.

    `spoken`: they say words, which takes espeak-ng.
    """

    seed: Annotated[int, Field(ge=0)]
    train: Count
    validation: Count
    test: Count
    seconds: Annotated[float, Field(ge=1, le=600)]
    frame_px: Annotated[int, Field(ge=32, le=1024)]
    spoken: bool = False


class Schedule(Record):
    """Adam with a linear warm-up and a cosine to zero, counted in batches.

    The papers: RCMA lr 1e-5, weight decay 1e-3, batch 12, at most 100 epochs, plateau instead of cosine.
    """

    epochs: Count
    batches: Count  # per epoch
    batch: Count
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    warm_up: Share = 0.05  # share of all batches


class EncoderRecipe(Schedule):
    """Phase 1, one modality: spans drawn at random from all training videos, a linear head that is thrown away.

    The loss is 1 − CCC over the batch plus `mse` times the mean square error, which anchors the scale.
    """

    mse: Annotated[float, Field(ge=0)] = 0.2


class VideoRecipe(EncoderRecipe):
    """Random crops within the margin and mirror images, as in the papers; the rest because identities are few.

    All frames of a span are changed alike. (The CAV authors mirror each span of a window by itself.)

    `stills`, for spans of several frames, is a phase before the spans themselves: the network learns on their newest
    pictures, which cost a fraction, and grows its taps over time later. The published backbone was inflated from a
    network of pictures for the same reason. `norm_momentum` takes the place of the batch norms' own: the published
    0.01 is for fine-tuning over many more batches.
    """

    stills: Schedule | None = None
    norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None

    mirror: Share = 0.5
    turn_deg: Annotated[float, Field(ge=0, le=45)] = 0.0  # to either side
    zoom: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # largest logarithm, in and out
    light: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # deviation of the logarithm of brightness


class AudioRecipe(EncoderRecipe):
    """Louder and softer, and white noise under the voice. Not in the papers."""

    gain_db: Annotated[float, Field(ge=0, le=40)] = 0.0  # up and down
    noise_below_db: Annotated[float, Field(ge=0, le=120)] = 25.0  # at least so far under the span's own level


class TextRecipe(EncoderRecipe):
    """Phase 1 of text: a batch is of sentences, and what is read is the mean annotation of each of their words.

    `unknown` is the share of words that are hidden behind [UNK], so that a word is read by its neighbours too.
    """

    unknown: Annotated[float, Field(ge=0, le=0.9)] = 0.1


class EncoderRecipes(Record):
    """Of every modality that the model encodes; every model here has video and audio."""

    video: VideoRecipe
    audio: AudioRecipe
    text: TextRecipe | None = None


class FusionRecipe(Schedule):
    """Phase 2: windows at random places over features that are computed once.

    `loss` "author" counts padding and mixes moments as the RCMA authors do. `drop_modality` is the probability, for
    each modality, that a window loses it whole: of two one at most, of three any but all. `short` is the share of
    windows that are cut short and filled up as a young stream's are. Where windows hold spans several steps apart they
    may end at every `grid_steps` step alone, so that fewer steps need be encoded; it divides stride and hop.
    """

    loss: Literal["lin", "author"] = "lin"
    mse: Annotated[float, Field(ge=0)] = 0.0
    drop_modality: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    short: Share = 0.25
    grid_steps: Count = 1


class Recipe(Record):
    """One trained checkpoint. What `model` means is written in `affectrt.training.train`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
    seed: Annotated[int, Field(ge=0)]
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    model: ModelName
    licence: Annotated[str, Field(min_length=1)]
    intended_use: Annotated[str, Field(min_length=1)]
    limits: str = ""
    corpus: CorpusRecipe
    encoders: EncoderRecipes
    fusion: FusionRecipe


def read_recipe(path: Path) -> tuple[Recipe, str]:
    """The recipe of a TOML file and the file's text. UsageError lists every mistake in it at once."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        text = path.read_text(encoding="utf-8")
        return Recipe.model_validate(tomllib.loads(text)), text
    except FileNotFoundError:
        raise UsageError(
            f"no recipe at {path}", expected="a TOML file", fix="affectrt train training/recipes/rcma-demo.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}", expected="a TOML file in UTF-8") from error
    except ValidationError as error:
        wrong = [f"{'.'.join(str(at) for at in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise UsageError(
            f"{path} has {len(wrong)} mistake(s):\n    " + "\n    ".join(wrong),
            expected="the fields of affectrt.training.recipe.Recipe",
        ) from error
