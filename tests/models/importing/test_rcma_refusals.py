"""Files of RCMA that are not what they should be: refused with everything that is wrong, and nothing executed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles.published_rcma import NARROW, ir50_state, network_state, vggish_state

from affectrt.models import CheckpointError
from affectrt.models.importing import import_files

State = dict[str, torch.Tensor]

MAKERS: dict[str, Callable[[], State]] = {
    "rcma-v1": lambda: network_state("rcma-v1", NARROW),
    "rjcma-head": lambda: network_state("rjcma-head", NARROW),
    "res50": lambda: ir50_state(NARROW),
    "vggish": lambda: vggish_state(NARROW),
    "torchvggish": lambda: vggish_state(NARROW, postprocessing=True),
}
# As many units, blocks and layers as documented, so the documented names; the widths are small.
DOCUMENTED = replace(NARROW, units=(3, 4, 14, 3), widths=(2, 3, 4, 5), layers=2)
V1, HEAD = (
    {"video": (12,) * 4, "logmel": (7,) * 4, "bert": (8,) * 4},
    {"video": (9,) * 4, "logmel": (7,) * 4, "bert": (8,) * 4},
)
NAMES: dict[str, Callable[[], State]] = {
    "rcma-v1": lambda: network_state("rcma-v1", replace(DOCUMENTED, temporal=V1)),
    "rjcma-head": lambda: network_state("rjcma-head", replace(DOCUMENTED, temporal=HEAD)),
    "res50": lambda: ir50_state(DOCUMENTED),
    "vggish": lambda: vggish_state(DOCUMENTED),
    "torchvggish": lambda: vggish_state(DOCUMENTED, postprocessing=True),
}
ENTRIES = {"rcma-v1": 580, "rjcma-head": 581, "res50": 351, "vggish": 18, "torchvggish": 20}
# Names that the network does not use; those of the fourth kind may be absent.
DEAD = (".net.", "logits.", ".query_linear.", "num_batches_tracked", "pproc.")


@pytest.fixture(params=list(MAKERS))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def used(state: State) -> list[str]:
    return sorted(name for name in state if not any(part in name for part in DEAD))


def saved(value: object, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def refusal(folder: Path, value: object, form: str | None = None) -> str:
    path = folder / "model.pth"
    path.write_bytes(value if isinstance(value, bytes) else saved(value))
    with pytest.raises(CheckpointError) as refused:
        import_files([path], form=form)
    return str(refused.value)


def problems(told: str) -> list[str]:
    """The list in a refusal, without its title and what follows."""
    return [line.strip() for line in told.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-torch-1.6"])
def test_a_truncated_file_is_refused_wherever_it_ends(form: str, zipped: bool, tmp_path: Path) -> None:
    content = saved(MAKERS[form](), zipped=zipped)
    for end in (len(content) - 1, len(content) - 5000, len(content) // 2, 500, 40):
        told = refusal(tmp_path, content[:end])
        assert "model.pth is cut off or damaged" in told, f"{end} bytes of {len(content)}: {told}"


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-torch-1.6"])
def test_code_in_a_file_is_named_and_not_executed(form: str, zipped: bool, tmp_path: Path) -> None:
    made = tmp_path / "executed"
    told = refusal(tmp_path, saved({**MAKERS[form](), "extra": Payload(made)}, zipped=zipped))
    assert "these would be called: posix.mkdir" in told
    assert not made.exists()
    told = refusal(tmp_path, saved({"net": MAKERS[form](), "best_Val_acc": Payload(made)}, zipped=zipped))
    assert "these would be called: posix.mkdir" in told
    assert not made.exists()


def test_made_up_files_have_as_many_entries_as_documented(form: str) -> None:
    assert len(NAMES[form]()) == ENTRIES[form]


@pytest.mark.parametrize(("form", "other"), [(a, b) for a in MAKERS for b in MAKERS if a != b])
def test_another_network_is_not_taken_for_this_one(form: str, other: str, tmp_path: Path) -> None:
    state = MAKERS[other]()
    if (form, other) == ("torchvggish", "vggish"):
        (tmp_path / "model.pth").write_bytes(saved(state))
        assert import_files([tmp_path / "model.pth"], form=form).sources[0].form == form, "they share their weights"
        return
    told = refusal(tmp_path, state, form)
    assert f"model.pth is not what a file of the form {form} must be; it looks like {other}" in told
    # Where the file tells nothing of this network, what is missing is what is documented.
    alike = {form, other} <= {"rcma-v1", "rjcma-head"} or {form, other} <= {"vggish", "torchvggish"}
    wanted = MAKERS[form]() if alike else NAMES[form]()
    assert listed(told, "missing: ") == sorted(set(used(wanted)) - set(state))
    # What is dead in the form asked for is dropped, whatever network it comes from.
    dead = {"res50": ("logits.",), "torchvggish": ("pproc.",)}.get(form, ())
    unexpected = [name for name in state if name not in wanted and not name.startswith(dead)]
    assert listed(told, "unexpected: ") == sorted(unexpected)


def listed(told: str, title: str) -> list[str]:
    lines = [line for line in problems(told) if line.startswith(title)]
    return lines[0].removeprefix(title).split(", ") if lines else []


def test_every_missing_tensor_is_named_and_nothing_else(form: str, tmp_path: Path) -> None:
    names = used(MAKERS[form]())
    for name in names[:: max(1, len(names) // 6)]:
        state = MAKERS[form]()
        del state[name]
        assert problems(refusal(tmp_path, state)) == [f"missing: {name}"]


def test_a_wrong_shape_is_told_with_the_right_one_and_nothing_else(form: str, tmp_path: Path) -> None:
    names = [name for name in used(MAKERS[form]()) if not lonely(name)]
    for name in names[:: max(1, len(names) // 6)]:
        state = MAKERS[form]()
        right = list(state[name].shape)
        wrong = [right[0] + 1, *right[1:]]
        state[name] = torch.ones(wrong)
        assert problems(refusal(tmp_path, state)) == [f"{name} is F32 {wrong}, not F32 {right}"]


def lonely(name: str) -> bool:
    """Of a width that this tensor and one other alone tell: either may be the wrong one."""
    return name.endswith(("embeddings.4.weight", "embeddings.4.bias", "features.13.weight", "features.13.bias"))


def test_everything_that_is_wrong_is_told_at_once_and_sorted(form: str, tmp_path: Path) -> None:
    state = MAKERS[form]()
    names = [name for name in used(state) if not lonely(name)]
    missing, odd = [names[3], names[-1]], names[5]
    for name in missing:
        del state[name]
    right = list(state[odd].shape)
    state |= {odd: torch.zeros(1, 2, 3, 4, 5), "zebra.weight": torch.zeros(1), "antelope.bias": torch.zeros(1)}
    assert problems(refusal(tmp_path, state)) == [
        f"missing: {missing[0]}, {missing[1]}",
        "unexpected: antelope.bias, zebra.weight",
        f"{odd} is F32 [1, 2, 3, 4, 5], not F32 {right}",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused(form: str, value: float, tmp_path: Path) -> None:
    state = MAKERS[form]()
    name = used(state)[-1]
    state[name].view(-1)[0] = value
    assert problems(refusal(tmp_path, state)) == [f"NaN or infinity in {name}"]


def test_numbers_with_which_no_network_can_compute_are_refused_together(tmp_path: Path) -> None:
    state = network_state("rjcma-head", NARROW)
    state["bn.video.running_var"][0] = -1.0
    state["temporal.bert.network.1.conv2.weight_v"][3] = 0.0  # shared with its second name, as in the authors' files
    state["temporal.video.network.0.net.0.bias"] = torch.zeros_like(state["temporal.video.network.0.net.0.bias"])
    state["regressor2.bias"] = torch.full((1,), 1e300, dtype=torch.float64)  # finite there, infinite in float32
    assert problems(refusal(tmp_path, state)) == [
        "NaN or infinity in regressor2.bias",
        "a negative variance in bn.video.running_var",
        "a filter of length 0, which has no direction, in temporal.bert.network.1.conv2.weight_v",
        "not the copies that they should be: temporal.video.network.0.net.0.bias",
    ]


def test_a_network_without_words_is_refused_because_none_is_documented(tmp_path: Path) -> None:
    state = {name: t for name, t in MAKERS["rjcma-head"]().items() if "bert" not in name}
    (line, *_) = problems(refusal(tmp_path, state))
    assert line.startswith(
        "missing: bn.bert.bias, bn.bert.running_mean, bn.bert.running_var, bn.bert.weight, temporal."
    )


def test_parts_that_make_no_whole_are_refused(tmp_path: Path) -> None:
    for name, state in (("a", ir50_state(NARROW)), ("b", vggish_state(NARROW)), ("c", MAKERS["torchvggish"]())):
        torch.save(state, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"a, b are parts of rcma, not all of it"):
        import_files([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(CheckpointError, match=r"two files hold the same part \(.*b: vggish, c: torchvggish\)"):
        import_files([tmp_path / "b", tmp_path / "c"])
    torch.save(MAKERS["rcma-v1"](), tmp_path / "w")
    with pytest.raises(CheckpointError, match="a whole network among several files"):
        import_files([tmp_path / "w", tmp_path / "a"])
    with pytest.raises(CheckpointError, match="no file to import"):
        import_files([])
