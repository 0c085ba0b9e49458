"""What becomes of CAV's published files: recognised by content, unwrapped, told of, and kept bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles.published_cav import (
    NARROW,
    PAPER,
    audio_state,
    cam_state,
    four_states,
    head_state,
    i3d_state,
    lstm_audio_state,
    visual_state,
    wrapped,
)

from affectrt.models import CheckpointError, load_checkpoint, load_part
from affectrt.models.importing import Imported, import_files

State = dict[str, torch.Tensor]

# What a part alone is compared with has features of the documented width; the layers without a use may be narrow.
WIDE_FEATURES = replace(PAPER, dead=16)


def imported(folder: Path, *values: object) -> Imported:
    paths = []
    for index, value in enumerate(values):
        paths.append(folder / f"{index}.t7")
        torch.save(value, paths[-1])
    return import_files(paths)


def test_what_the_fusion_never_uses_is_dropped_by_name_and_with_the_reason(tmp_path: Path) -> None:
    result = imported(tmp_path, *(wrapped(state) for state in four_states().values()))
    dropped = {
        source.form: {name: group.reason for group in source.dropped for name in group.names}
        for source in result.sources
    }
    assert {form: len(names) for form, names in dropped.items()} == {
        "cav-visual": 6,
        "cav-audio": 53 - 20,
        "cav-cam": 0,
        "cav-head": 40 - 6,
    }
    assert "400 actions" in dropped["cav-visual"]["i3d_WSDDA.logits.conv3d.weight"]
    assert "this modality alone" in dropped["cav-visual"]["predictions.1.conv3d.bias"]
    assert "never applies" in dropped["cav-audio"]["bn52.running_var"]
    assert "this modality alone" in dropped["cav-audio"]["fc8.weight"]
    assert dropped["cav-audio"]["rnn.weight_hh_l1"] == dropped["cav-head"]["rnn_av.weight_hh_l1"]
    assert "no output depends" in dropped["cav-head"]["predictions.3.bias"]
    assert "untrained copy" in dropped["cav-head"]["cam.corr_weights"]
    assert result.provenance["sources"][3]["dropped"][0]["names"] == ["cam.corr_weights"]


def test_the_untrained_matrix_in_the_head_is_never_used(tmp_path: Path) -> None:
    states = four_states()
    assert not torch.equal(states["head"]["module.cam.corr_weights"], states["cam"]["corr_weights"])
    result = imported(tmp_path, *states.values())
    assert torch.equal(
        result.module.get_parameter("fusions.fusion.attention.correlation"), states["cam"]["corr_weights"]
    )
    with pytest.raises(CheckpointError, match=r"besides them: cross-attention"):
        imported(tmp_path, states["visual"], states["audio"], states["head"])


@pytest.mark.parametrize("prefix", ["", "module.", "cam.", "module.cam."])
@pytest.mark.parametrize("inside", ["plain", "net"])
def test_the_matrix_is_found_under_every_name_that_it_may_have(prefix: str, inside: str, tmp_path: Path) -> None:
    state = cam_state(prefix=prefix)
    beside = {"best_Val_accV": 0.5, "best_Val_accA": np.float64(0.25), "best_Val_acc_epoch": 17}
    result = imported(tmp_path, state if inside == "plain" else wrapped(state, **beside))
    (source,) = result.sources
    assert (source.form, result.part) == ("cav-cam", "cross-attention")
    assert torch.equal(result.module.get_parameter("correlation"), state[f"{prefix}corr_weights"])
    told = {"best_Val_accV": "0.5", "best_Val_accA": "0.25", "best_Val_acc_epoch": "17"}
    assert source.beside == ({} if inside == "plain" else told)


@pytest.mark.parametrize(
    "score", [0.5, np.float64(0.5), np.float32(0.5), torch.tensor(0.5)], ids=lambda s: str(type(s))
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-torch-1.6"])
def test_scores_beside_the_weights_may_be_of_any_kind(score: object, zipped: bool, tmp_path: Path) -> None:
    path, state = tmp_path / "visualmodel.t7", audio_state(NARROW)
    torch.save(wrapped(state, best_Val_acc=score), path, _use_new_zipfile_serialization=zipped)
    (source,) = import_files([path]).sources
    assert source.form == "cav-audio"
    assert source.unwrapped == ("net", "module.")
    assert source.beside == {"best_Val_acc": "a tensor []" if isinstance(score, torch.Tensor) else "0.5"}


@pytest.mark.parametrize(("width", "combine"), [(1024, "sum"), (2048, "concatenation")])
def test_the_head_tells_whether_features_are_summed_or_side_by_side(width: int, combine: str, tmp_path: Path) -> None:
    result = imported(tmp_path, wrapped(head_state(WIDE_FEATURES, width=width)))
    assert result.read == {"head_hidden": (512, 256), "combine": combine}
    assert any("their order is not documented" in note for note in result.sources[0].notes)


@pytest.mark.parametrize(
    "state",
    [visual_state(NARROW), audio_state(NARROW), cam_state(), head_state(WIDE_FEATURES), i3d_state(NARROW)],
    ids=["cav-visual", "cav-audio", "cav-cam", "cav-head", "i3d"],
)
def test_an_imported_part_survives_its_file_bit_for_bit(state: State, tmp_path: Path) -> None:
    result = imported(tmp_path, wrapped(state))
    result.save(tmp_path / "out.safetensors")
    loaded = load_part(tmp_path / "out.safetensors")
    assert (loaded.part.name, loaded.config, loaded.provenance) == (result.part, result.config, result.provenance)
    ours, theirs = loaded.module.state_dict(), result.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    with pytest.raises(CheckpointError, match=f"holds a part alone, {result.part}"):
        load_checkpoint(tmp_path / "out.safetensors")


def test_an_imported_network_survives_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    result = imported(tmp_path, *four_states().values())
    result.save(tmp_path / "out.safetensors")
    loaded = load_checkpoint(tmp_path / "out.safetensors")
    assert (loaded.model.config, loaded.provenance) == (result.config, result.provenance)
    ours, theirs = loaded.model.state_dict(), result.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_what_is_known_of_licences_is_kept(tmp_path: Path) -> None:
    assert "Apache-2.0" in imported(tmp_path, i3d_state(NARROW)).provenance["licence"]
    whole = imported(tmp_path, *four_states().values()).provenance
    assert whole["licence"].count("GPL-3.0") == 1
    assert whole["training_corpus"] == "video: ImageNet, then Kinetics-400, then RECOLA; audio: RECOLA; fusion: RECOLA"


def test_the_other_audio_network_is_recognised_and_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as refusal:
        imported(tmp_path, wrapped(lstm_audio_state()))
    told = str(refusal.value)
    assert "two convolutions and an LSTM" in told
    assert "not documented" in told and "never used it" in told and "conv2_2" in told


def test_the_one_layer_that_both_audio_networks_differ_in_decides(tmp_path: Path) -> None:
    state = audio_state(NARROW)
    without = {name: tensor for name, tensor in state.items() if "conv2_2" not in name}
    with pytest.raises(CheckpointError, match="two convolutions and an LSTM"):
        imported(tmp_path, without)
    assert imported(tmp_path, state).sources[0].form == "cav-audio"
