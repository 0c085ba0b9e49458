"""The published files of CAV: the imported network computes what the documented equations compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from doubles import cav_reference as reference
from doubles.published_cav import (
    NARROW,
    PAPER,
    audio_state,
    four_states,
    i3d_state,
    visual_state,
    wrapped,
)

from affectrt.models import Cav, CavConfig, I3d, SpectrogramCnn
from affectrt.models.importing import Imported, import_files

Array = npt.NDArray[np.float64]
State = dict[str, torch.Tensor]

TOLERANCE = 1e-5
FELT = 10 * TOLERANCE  # by how much a changed tensor must change the reference, or the comparison shows nothing


def numbers(state: State, prefix: str = "module.") -> dict[str, Array]:
    return {name.removeprefix(prefix): tensor.numpy().astype(np.float64) for name, tensor in state.items()}


def imported(folder: Path, *values: object) -> Imported:
    paths = []
    for index, value in enumerate(values):
        paths.append(folder / f"{index}.t7")
        torch.save(value, paths[-1])
    return import_files(paths)


def narrow_config() -> CavConfig:
    return CavConfig(
        i3d_stem=(4, 5, 6),
        i3d_mixed=NARROW.mixed,
        audio_channels=(4, 5, 6, 8, 20),
        head_hidden=(12, 7),
    )


def distance(found: torch.Tensor, wanted: Array) -> float:
    """Largest difference, relative to the largest value wanted."""
    assert found.shape == wanted.shape
    return float(np.abs(found.numpy() - wanted).max() / np.abs(wanted).max())


def normal(*shape: int, seed: int = 6) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clips(count: int, frames: int = 16, height: int = 32, width: int = 48) -> torch.Tensor:
    pixels = torch.randint(0, 256, (count, frames, height, width, 3), generator=torch.Generator().manual_seed(5))
    return pixels.to(torch.uint8)


def video_features(state: Mapping[str, Array], pixels: torch.Tensor, prefix: str = "i3d_WSDDA.") -> Array:
    channels_first = pixels.numpy().astype(np.float64).transpose(0, 4, 1, 2, 3) / 255 * 2 - 1
    return np.stack([reference.i3d_features(state, clip, prefix) for clip in channels_first])


def audio_features(state: Mapping[str, Array], spectrograms: torch.Tensor) -> Array:
    return np.stack([reference.audio_features(state, piece) for piece in spectrograms.double().numpy()])


def check_every_tensor_is_felt(
    state: Mapping[str, Array], names: list[str], compute: Callable[[Mapping[str, Array]], Array]
) -> None:
    before, generator = compute(state), np.random.default_rng(1)
    for name in names:
        noise = generator.uniform(0.1, 1.1, state[name].shape)
        after = compute({**state, name: state[name] + 0.5 * np.abs(state[name]).mean() * noise})
        assert np.abs(after - before).max() / np.abs(before).max() > FELT, name


def live(state: Mapping[str, Array], *layers: str) -> list[str]:
    return [name for name in state if name.startswith(layers) and not name.endswith("num_batches_tracked")]


def test_the_files_of_these_tests_hold_what_is_documented() -> None:
    """Entries, and parameters as they were counted in the authors' classes."""
    states = four_states(PAPER)
    assert {name: len(state) for name, state in states.items()} == {"visual": 348, "audio": 53, "cam": 1, "head": 40}
    assert len(i3d_state()) == 344 and len(i3d_state(counters=False)) == 287

    def parameters(state: State) -> int:
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        return sum(tensor.numel() for name, tensor in state.items() if not name.endswith(statistics))

    assert parameters(states["visual"]) == 13_222_577
    assert parameters(i3d_state()) == 12_697_264
    assert parameters(states["audio"]) == 14_064_513
    assert parameters(states["head"]) == 19_371_394
    assert parameters(states["cam"]) == 1_048_576


@pytest.mark.parametrize(
    ("form", "prefix", "state"),
    [
        ("cav-visual", "i3d_WSDDA.", visual_state(NARROW)),
        ("i3d", "", i3d_state(NARROW)),
        ("i3d", "", i3d_state(NARROW, counters=False)),
    ],
    ids=["cav-visual", "i3d", "i3d-without-counters"],
)
def test_an_imported_i3d_computes_the_documented_equations(
    form: str, prefix: str, state: State, tmp_path: Path
) -> None:
    result = imported(tmp_path, wrapped(state) if prefix else state)
    assert (result.sources[0].form, result.part) == (form, "i3d")
    assert isinstance(result.module, I3d)
    source = numbers(state)
    # Sizes that pad an odd number of places, and at other ends, than the documented ones.
    for pixels in (clips(2), clips(1, frames=13, height=41, width=50)):
        with torch.inference_mode():
            found = result.module(pixels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
        assert distance(found, video_features(source, pixels, prefix)) <= TOLERANCE


def test_every_tensor_of_i3d_that_is_imported_is_felt_in_the_reference() -> None:
    source, pixels = numbers(i3d_state(NARROW)), clips(1)
    check_every_tensor_is_felt(source, live(source, "Conv", "Mixed"), lambda s: video_features(s, pixels, ""))


def test_an_imported_audio_network_computes_the_documented_equations(tmp_path: Path) -> None:
    state = audio_state(NARROW)
    result = imported(tmp_path, wrapped(state))
    assert (result.sources[0].form, result.part) == ("cav-audio", "spectrogram-cnn")
    assert isinstance(result.module, SpectrogramCnn)
    source = numbers(state)
    for frames in (63, 65, 78):
        pieces = normal(2, 128, frames, seed=frames)
        with torch.inference_mode():
            assert distance(result.module(pieces), audio_features(source, pieces)) <= TOLERANCE
    pieces = normal(1, 128, 65)
    names = live(source, "conv", "bn49", "bn50")
    assert len(names) == 18
    check_every_tensor_is_felt(source, names, lambda s: audio_features(s, pieces))


@pytest.mark.parametrize(("combine", "head_width"), [("sum", 20), ("concatenation", 40)])
def test_an_imported_fusion_computes_the_documented_equations(combine: str, head_width: int, tmp_path: Path) -> None:
    states = four_states(head_width=head_width)
    result = imported(tmp_path, *states.values())
    assert isinstance(result.module, Cav) and result.config == replace(narrow_config(), combine=combine)
    source = numbers(states["head"]) | numbers(states["cam"])
    video, audio = normal(3, 8, 20, seed=1), normal(3, 8, 20, seed=2)

    def estimates(state: Mapping[str, Array]) -> Array:
        correlation = state["corr_weights"]
        windows = zip(video.double().numpy(), audio.double().numpy(), strict=True)
        return np.array([[reference.fused(state, correlation, v, a, combine=combine)] for v, a in windows])

    with torch.inference_mode():
        found = result.module.fusion_modules()["fusion"](video, audio)
    assert distance(found, estimates(source)) <= TOLERANCE
    names = live(source, "corr_weights", "modal_predictions")
    assert len(names) == 7
    check_every_tensor_is_felt(source, names, estimates)


def test_a_whole_network_computes_from_pixels_and_sound_what_the_equations_do(tmp_path: Path) -> None:
    states = four_states()
    model = imported(tmp_path, *states.values()).module
    assert isinstance(model, Cav)
    pixels, waveforms = clips(4), normal(4, 10_240) * 0.1
    with torch.inference_mode():
        found = model(pixels[None], waveforms[None])
        spectrograms = model.encoders["audio"].get_submodule("front_end")(waveforms)  # has no weights
    video = video_features(numbers(states["visual"]), pixels)
    audio = audio_features(numbers(states["audio"]), spectrograms)
    correlation = numbers(states["cam"])["corr_weights"]
    wanted = reference.fused(numbers(states["head"]), correlation, video, audio)
    assert distance(found, np.array([[wanted]])) <= TOLERANCE


def test_files_of_the_documented_size_import_and_compute_the_equations(tmp_path: Path) -> None:
    states = four_states(PAPER)
    beside = {"visual": wrapped(states["visual"]), "audio": wrapped(states["audio"]), "head": wrapped(states["head"])}
    result = imported(tmp_path, *(states | beside).values())
    assert result.config == CavConfig()
    model = result.module
    assert isinstance(model, Cav)
    pixels, waveforms = clips(2), normal(2, 10_240) * 0.1
    windows = normal(1, 8, 1024, seed=1), normal(1, 8, 1024, seed=2)
    with torch.inference_mode():
        video = model.encoders["video"](pixels)
        spectrograms = model.encoders["audio"].get_submodule("front_end")(waveforms)
        audio = model.encoders["audio"](waveforms)
        estimate = model.fusion_modules()["fusion"](*windows)
    assert distance(video, video_features(numbers(states["visual"]), pixels)) <= TOLERANCE
    assert distance(audio, audio_features(numbers(states["audio"]), spectrograms)) <= TOLERANCE
    correlation = numbers(states["cam"])["corr_weights"]
    wanted = reference.fused(numbers(states["head"]), correlation, *(w[0].double().numpy() for w in windows))
    assert distance(estimate, np.array([[wanted]])) <= TOLERANCE
