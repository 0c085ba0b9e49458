"""Files of CAV that are not what they should be: refused with everything that is wrong, and nothing executed."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from doubles.published_cav import (
    NARROW,
    PAPER,
    audio_state,
    cam_state,
    head_state,
    i3d_state,
    visual_state,
    wrapped,
)
from doubles.published_rcma import NARROW as NARROW_RCMA
from doubles.published_rcma import vggish_state

from affectrt.models import CheckpointError
from affectrt.models.importing import import_files

State = dict[str, torch.Tensor]


class Case(NamedTuple):
    """`names` are four tensors that the network uses, sorted, without `module.`; of `odd` another shape is wrong."""

    make: Callable[[], State]
    names: tuple[str, ...]
    odd: str
    wrong: tuple[int, ...]
    told: str


def head() -> State:
    return head_state(replace(PAPER, dead=16))


CASES = {
    "cav-visual": Case(
        lambda: visual_state(NARROW),
        (
            "i3d_WSDDA.Conv3d_1a_7x7.conv3d.weight",
            "i3d_WSDDA.Mixed_3b.b0.bn.running_mean",
            "i3d_WSDDA.Mixed_4d.b3b.bn.bias",
            "i3d_WSDDA.Mixed_5c.b2b.conv3d.weight",
        ),
        "i3d_WSDDA.Mixed_5c.b0.conv3d.weight",
        (5, 16, 1, 1, 1),
        "F32 [5, 16, 1, 1, 1], not F32 [6, 16, 1, 1, 1]",
    ),
    "cav-audio": Case(
        lambda: audio_state(NARROW),
        ("bn49.running_var", "bn50.weight", "conv2_2.weight", "conv3_2.bias"),
        "conv3_1.bias",
        (9,),
        "F32 [9], not F32 [8]",
    ),
    "cav-cam": Case(cam_state, ("corr_weights",), "corr_weights", (1024, 512), "F32 [1024, 512], not F32 [1024, 1024]"),
    "cav-head": Case(
        head,
        ("modal_predictions.1.bias", "modal_predictions.3.bias", "modal_predictions.3.weight"),
        "modal_predictions.5.weight",
        (2, 256),
        "F32 [2, 256], not F32 [1, 256]",
    ),
    "i3d": Case(
        lambda: i3d_state(NARROW),
        (
            "Conv3d_2c_3x3.bn.running_var",
            "Mixed_3c.b1b.conv3d.weight",
            "Mixed_4f.b2a.bn.weight",
            "Mixed_5b.b3b.conv3d.weight",
        ),
        "Conv3d_2b_1x1.bn.bias",
        (1,),
        "F32 [1], not F32 [5]",
    ),
}


@pytest.fixture(params=list(CASES))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refusal(folder: Path, value: object, form: str | None = None) -> str:
    path = folder / "model.t7"
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        torch.save(value, path)
    with pytest.raises(CheckpointError) as refused:
        import_files([path], form=form)
    return str(refused.value)


def saved(value: object, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def prefixed(state: State, name: str) -> str:
    return next(key for key in (name, f"module.{name}") if key in state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-torch-1.6"])
def test_a_truncated_file_is_refused_wherever_it_ends(form: str, zipped: bool, tmp_path: Path) -> None:
    content = saved(wrapped(CASES[form].make()), zipped=zipped)
    for end in (len(content) - 1, len(content) - 4096, len(content) // 2, 2000, 100, 12):
        told = refusal(tmp_path, content[:end])
        assert "model.t7 is cut off or damaged" in told, f"{end} bytes of {len(content)}: {told}"
        assert "fetch the file again" in told


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("place", ["beside", "within", "alone"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-torch-1.6"])
def test_code_in_a_file_is_named_and_not_executed(form: str, place: str, zipped: bool, tmp_path: Path) -> None:
    made, net = Payload(tmp_path / "executed"), CASES[form].make()
    content = {
        "beside": lambda: saved(wrapped(net, best_Val_acc=made), zipped=zipped),
        "within": lambda: saved(wrapped({**net, "module.conv9.weight": made}), zipped=zipped),  # type: ignore[dict-item]
        "alone": lambda: pickle.dumps({"net": made}),
    }[place]()
    told = refusal(tmp_path, content)
    assert "posix.mkdir" in told or "nt.mkdir" in told
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(("form", "other"), [(f, o) for f in CASES for o in (*CASES, "vggish") if f != o])
def test_another_network_is_not_taken_for_this_one(form: str, other: str, tmp_path: Path) -> None:
    state = vggish_state(NARROW_RCMA) if other == "vggish" else CASES[other].make()
    told = refusal(tmp_path, wrapped(state), form)
    assert f"model.t7 is not what a file of the form {form} must be; it looks like {other}" in told
    assert "missing: " in told and "unexpected: " in told
    assert all(name in told for name in CASES[form].names), "every missing name is told"


def test_a_network_of_nobody_we_know_is_refused_with_the_forms_that_are_read(tmp_path: Path) -> None:
    told = refusal(tmp_path, wrapped({"module.stem.weight": torch.zeros(3), "module.stem.bias": torch.zeros(3)}))
    assert "is none of the known files: it holds 2 tensors, such as stem.bias, stem.weight" in told
    assert all(f"{form}: " in told for form in CASES)


def test_one_missing_tensor_is_named(form: str, tmp_path: Path) -> None:
    case = CASES[form]
    for name in case.names:
        state = case.make()
        del state[prefixed(state, name)]
        told = refusal(tmp_path, wrapped(state), form if len(case.names) > 1 else None)
        if len(case.names) == 1:
            assert "holds nothing instead of named tensors" in told
        else:
            assert f"form {form} must be:\n    missing: {name}\n" in told
            assert "unexpected" not in told and ", not " not in told


def test_one_wrong_shape_is_told_with_the_right_one(form: str, tmp_path: Path) -> None:
    case = CASES[form]
    state = case.make()
    state[prefixed(state, case.odd)] = torch.zeros(case.wrong)
    told = refusal(tmp_path, wrapped(state))
    assert f"form {form} must be:\n    {case.odd} is {case.told}\n" in told
    assert "missing" not in told and "unexpected" not in told


def test_everything_that_is_wrong_is_told_at_once_and_sorted(form: str, tmp_path: Path) -> None:
    case = CASES[form]
    state = case.make()
    missing = [name for name in case.names if len(case.names) > 1]
    for name in missing:
        del state[prefixed(state, name)]
    odd = prefixed(state, case.odd)
    prefix = odd.removesuffix(case.odd)
    state[odd] = torch.zeros(case.wrong)
    state |= {f"{prefix}zebra.weight": torch.zeros(1), f"{prefix}attention.bias": torch.zeros(1)}
    lines = refusal(tmp_path, wrapped(state)).splitlines()[1:]
    if missing:
        assert lines.pop(0) == f"    missing: {', '.join(missing)}"
    assert lines[:2] == ["    unexpected: attention.bias, zebra.weight", f"    {case.odd} is {case.told}"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(form: str, value: float, tmp_path: Path) -> None:
    case = CASES[form]
    state = case.make()
    state[prefixed(state, case.odd)].view(-1)[0] = value
    assert f"NaN or infinity in {case.odd}" in refusal(tmp_path, wrapped(state))


def test_files_of_which_several_are_wrong_are_all_told(tmp_path: Path) -> None:
    states = {"v.t7": visual_state(NARROW), "a.t7": audio_state(NARROW), "c.pt": cam_state(NARROW)}
    states["h.t7"] = head_state(NARROW)
    del states["v.t7"]["module.i3d_WSDDA.Mixed_3b.b0.bn.weight"], states["h.t7"]["module.modal_predictions.5.bias"]
    for name, state in states.items():
        torch.save(wrapped(state), tmp_path / name)
    with pytest.raises(CheckpointError) as refused:
        import_files([tmp_path / name for name in states])
    told = str(refused.value)
    assert "v.t7 is not" in told and "missing: i3d_WSDDA.Mixed_3b.b0.bn.weight" in told
    assert "h.t7 is not" in told and "missing: modal_predictions.5.bias" in told


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    def together(*values: State) -> str:
        paths = [tmp_path / f"{index}.t7" for index in range(len(values))]
        for path, value in zip(paths, values, strict=True):
            torch.save(value, path)
        with pytest.raises(CheckpointError) as refused:
            import_files(paths)
        return str(refused.value)

    visual, audio, cam, fused = visual_state(NARROW), audio_state(NARROW), cam_state(NARROW), head_state(NARROW)
    assert "two files hold the same part" in together(visual, i3d_state(NARROW), audio, cam, fused)
    assert "different systems" in together(visual, vggish_state(NARROW_RCMA))
    assert "besides them: spectrogram-cnn" in together(visual, cam, fused)
    wider = audio_state(replace(NARROW, channels=(4, 5, 6, 8, 21)))
    assert "adds features of one width" in together(visual, wider, cam, fused)
