"""The published files of RCMA: the imported network computes what the documented equations compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import published_rcma_reference as reference
from doubles.published_rcma import NARROW, Sizes, ir50_state, network_state, vggish_state
from doubles.published_rcma_reference import Array, Weights

from affectrt.export import export_bundle
from affectrt.models import Ir50, Rcma, RcmaConfig, Vggish, load_checkpoint, load_part, paper_config
from affectrt.models.importing import Imported, import_files

State = dict[str, torch.Tensor]

VARIANTS = ("rcma-v1", "rjcma-head")
TOLERANCE = 1e-4
FELT = 10 * TOLERANCE  # by how much a changed tensor must change the reference, or the comparison shows nothing


def distance(found: torch.Tensor, wanted: Array) -> float:
    """Largest difference, relative to the largest value wanted."""
    assert found.shape == wanted.shape
    return float(np.abs(found.numpy() - wanted).max() / np.abs(wanted).max())


def imported(state: Mapping[str, object], folder: Path, **options: str) -> Imported:
    torch.save(state, folder / "published.pth")
    return import_files([folder / "published.pth"], **options)


def frames(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


def normal(*shape: int, seed: int = 6) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def float64(tensor: torch.Tensor) -> Array:
    return tensor.numpy().astype(np.float64)


def windows(sizes: Sizes) -> list[torch.Tensor]:
    """Features of two windows: video, audio, text."""
    widths = (sizes.face_dim, sizes.voice_dim, sizes.text_dim)
    return [normal(2, sizes.steps, width, seed=width) for width in widths]


def estimates(state: State, features: list[torch.Tensor]) -> Array:
    video, audio, text = map(float64, features)
    return reference.network(video, audio, text, Weights(state))


def check_every_tensor_is_felt(state: State, names: list[str], compute: Callable[[State], Array]) -> None:
    before, generator = compute(state), torch.Generator().manual_seed(1)
    for name in names:
        noise = torch.rand(state[name].shape, generator=generator) + 0.1
        after = compute({**state, name: state[name] + 0.5 * state[name].abs().mean() * noise})
        assert np.abs(after - before).max() / np.abs(before).max() > FELT, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_imported_fusion_computes_the_documented_equations(variant: str, tmp_path: Path) -> None:
    state, features = network_state(variant, NARROW), windows(NARROW)
    wanted = estimates(state, features)
    with torch.inference_mode():
        found = imported(state, tmp_path).module.get_submodule("fusion")(*features)
    assert distance(found, wanted) <= TOLERANCE
    dead = (".net.", ".query_linear.", "num_batches_tracked")
    live = [n for n in state if not n.startswith("spatial.") and not any(part in n for part in dead)]
    check_every_tensor_is_felt(state, live, lambda changed: estimates(changed, features))


def test_an_imported_ir50_computes_the_documented_equations(tmp_path: Path) -> None:
    state, images = ir50_state(NARROW), reference.images_from_frames(frames(3, NARROW.crop_px).numpy())
    module = imported(state, tmp_path).module
    assert isinstance(module, Ir50)
    with torch.inference_mode():
        found = module(torch.from_numpy(images).float())
    assert distance(found, reference.ir50(images, Weights(state), NARROW.units)) <= TOLERANCE
    live = [n for n in state if not n.startswith("logits") and not n.endswith("num_batches_tracked")]
    check_every_tensor_is_felt(state, live, lambda changed: reference.ir50(images, Weights(changed), NARROW.units))


@pytest.mark.parametrize("postprocessing", [False, True])
def test_an_imported_vggish_computes_the_documented_equations(postprocessing: bool, tmp_path: Path) -> None:
    state, patches = vggish_state(NARROW, postprocessing=postprocessing), normal(3, 96, 64)
    result = imported(state, tmp_path)
    assert isinstance(result.module, Vggish)
    assert result.sources[0].form == ("torchvggish" if postprocessing else "vggish")
    wanted = reference.vggish(float64(patches), Weights(state))
    with torch.inference_mode():
        found = result.module(patches)
    assert distance(found, wanted) <= TOLERANCE
    assert (wanted < 0).any(), "the last ReLU of torchvggish's code must not be there"
    live = [n for n in state if not n.startswith("pproc")]
    check_every_tensor_is_felt(state, live, lambda changed: reference.vggish(float64(patches), Weights(changed)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_whole_network_computes_from_pixels_sound_and_words_what_the_equations_do(
    variant: str, tmp_path: Path
) -> None:
    state, steps = network_state(variant, NARROW), NARROW.steps
    model = imported(state, tmp_path).module
    assert isinstance(model, Rcma)
    pictures, waveforms, text = frames(steps, NARROW.crop_px), normal(steps, 15_600) * 0.1, windows(NARROW)[2][:1]
    with torch.inference_mode():
        found = model(pictures[None], waveforms[None], text)
        patches = model.encoders["audio"].get_submodule("front_end")(waveforms)  # has no weights
    images = reference.images_from_frames(pictures.numpy())
    video = reference.ir50(images, Weights(state, "spatial.visual."), NARROW.units)
    audio = reference.vggish(float64(patches), Weights(state, "spatial.audio.backbone."))
    wanted = reference.network(video[None], audio[None], float64(text), Weights(state))
    assert distance(found, wanted) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "entries"), [("rcma-v1", 580), ("rjcma-head", 581)])
def test_files_of_the_documented_size_import_and_compute_the_equations(
    variant: str, entries: int, tmp_path: Path
) -> None:
    sizes = Sizes()
    state = network_state(variant, sizes)
    assert len(state) == entries
    result = imported(state, tmp_path)
    assert result.config == replace(paper_config(variant), attention_layers=2)  # type: ignore[arg-type]
    assert isinstance(result.module, Rcma)
    features, images, patches = windows(sizes), frames(2, 40), normal(2, 96, 64)
    with torch.inference_mode():
        face = result.module.encoders["video"](images)
        voice = result.module.encoders["audio"].get_submodule("backbone")(patches)
        found = result.module.fusion(*features)
    visual = Weights(state, "spatial.visual.")
    assert (
        distance(face, reference.ir50(reference.images_from_frames(images.numpy()), visual, sizes.units)) <= TOLERANCE
    )
    audio = Weights(state, "spatial.audio.backbone.")
    assert distance(voice, reference.vggish(float64(patches), audio)) <= TOLERANCE
    assert distance(found, estimates(state, features)) <= TOLERANCE
    result.save(tmp_path / "out.safetensors")
    again = load_checkpoint(tmp_path / "out.safetensors").model
    with torch.inference_mode():
        assert torch.equal(again.fusion(*features), found)


def test_the_configuration_is_read_from_the_shapes(tmp_path: Path) -> None:
    found = imported(network_state("rjcma-head", NARROW), tmp_path, output="arousal").config
    assert found == RcmaConfig(
        outputs=("arousal",),
        window_steps=20,
        default_hop_steps=20,
        resize_px=19,
        crop_px=16,
        ir_units=(2, 1, 2),
        ir_widths=(6, 8, 10),
        video_dim=12,
        vggish_channels=(2, 3, 4, 4, 5, 6),
        vggish_hidden=16,
        audio_dim=7,
        text_dim=9,
        video_tcn=(12, 10),
        audio_tcn=(7, 7),
        text_tcn=(11, 8),
        tcn_kernel=3,
        attention="all-raw",
        attention_layers=3,
        head="mlp",
        head_hidden=13,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_imported_network_survives_its_checkpoint_bit_for_bit(variant: str, tmp_path: Path) -> None:
    result, features = imported(network_state(variant, NARROW), tmp_path), windows(NARROW)
    result.save(tmp_path / "out.safetensors")
    loaded = load_checkpoint(tmp_path / "out.safetensors")
    assert loaded.provenance == result.provenance
    assert loaded.model.config == result.config
    with torch.inference_mode():
        assert torch.equal(loaded.model.fusion(*features), result.module.get_submodule("fusion")(*features))
    ours, theirs = loaded.model.state_dict(), result.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("make", [ir50_state, vggish_state])
def test_an_imported_backbone_survives_its_part_bit_for_bit(make: Callable[[Sizes], State], tmp_path: Path) -> None:
    result = imported(make(NARROW), tmp_path)
    result.save(tmp_path / "out.safetensors")
    loaded = load_part(tmp_path / "out.safetensors")
    assert loaded.part.name == result.part
    assert loaded.provenance == result.provenance
    ours, theirs = loaded.module.state_dict(), result.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_what_is_dead_is_dropped_by_name_and_told_with_its_reason(tmp_path: Path) -> None:
    state = network_state("rjcma-head", NARROW)
    (source,) = imported(state, tmp_path).sources
    dropped = {group.label: set(group.names) for group in source.dropped}
    assert dropped == {
        "spatial.visual.logits": {"spatial.visual.logits.weight", "spatial.visual.logits.bias"},
        "temporal.*.net.0": {name for name in state if ".net.0." in name},
        "temporal.*.net.4": {name for name in state if ".net.4." in name},
        "dense_coattn.query_linear": {name for name in state if ".query_linear." in name},
    }
    assert [len(group.names) for group in source.dropped] == [2, 18, 18, 6]
    assert all(group.reason for group in source.dropped)
    result = imported(vggish_state(NARROW, postprocessing=True), tmp_path)
    assert [group.label for group in result.sources[0].dropped] == ["pproc"]
    assert any("ReLU" in note for note in result.sources[0].notes)


@pytest.mark.parametrize("variant", VARIANTS)
def test_counters_of_batches_may_be_absent(variant: str, tmp_path: Path) -> None:
    state = network_state(variant, NARROW, counters=False)
    result = imported(state, tmp_path)
    (source,) = result.sources
    with_counters = network_state(variant, NARROW)
    assert set(source.filled) == {name for name in with_counters if name.endswith("num_batches_tracked")}
    counters = [t for n, t in result.module.state_dict().items() if n.endswith("num_batches_tracked")]
    assert counters
    assert not any(counters)


def test_newer_names_of_weight_norm_mean_the_same(tmp_path: Path) -> None:
    state, features = network_state("rcma-v1", NARROW), windows(NARROW)
    newer = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): tensor
        for name, tensor in state.items()
    }
    assert set(newer) != set(state)
    with torch.inference_mode():
        found = imported(newer, tmp_path).module.get_submodule("fusion")(*features)
    assert distance(found, estimates(state, features)) <= TOLERANCE


def test_weights_of_half_and_double_precision_become_float32(tmp_path: Path) -> None:
    state = vggish_state(NARROW)
    half = imported({name: tensor.half() for name, tensor in state.items()}, tmp_path).module
    double = imported({name: tensor.double() for name, tensor in state.items()}, tmp_path).module
    for wanted, rounded, exact in zip(state.values(), half.parameters(), double.parameters(), strict=True):
        assert torch.equal(rounded, wanted.half().float())
        assert torch.equal(exact, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_imported_network_exports(variant: str, tmp_path: Path) -> None:
    result = imported(network_state(variant, NARROW), tmp_path)
    result.save(tmp_path / "out.safetensors")
    checkpoint = load_checkpoint(tmp_path / "out.safetensors")
    video, audio, text = (float64(x).astype(np.float32) for x in windows(NARROW))
    recordings = {
        "video": {"frames": frames(4, NARROW.crop_px).numpy()},
        "audio": {"waveform": (normal(4, 15_600) * 0.1).numpy()},
        "fusion": {"video": video, "audio": audio, "text": text},
    }
    bundle = export_bundle(checkpoint, tmp_path / "out.affect", recordings=recordings)
    provenance = bundle.manifest.provenance
    assert provenance.checkpoint_sha256 == checkpoint.sha256
    assert "Aff-Wild2" in provenance.training_corpus
    assert "not stated" in provenance.licence
    assert "valence" in provenance.limits
