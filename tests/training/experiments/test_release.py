"""The three stages of the published release, by the numbers of tensors and parameters that its authors' code has."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from affectrt.models import Cav, Rcma, cav_demo_config, demo_config, paper_config  # noqa: E402
from affectrt.training.experiments.release import set_stage, stages_of, trained  # noqa: E402

# Per stage: (first, last tensor) of the authors' visual network and its parameters; the audio layer's parameters.
PUBLISHED = [((4, 9), 6_556_160, 524_416), ((163, 186), 13_115_392, 16_781_312), ((142, 162), 3_542_784, 50_335_744)]


@pytest.fixture(scope="module")
def network() -> Rcma:
    with torch.device("meta"):
        return Rcma(paper_config("rjcma-head"))


def authors_order(network: Rcma) -> list[str]:
    """Our names of the visual network's tensors in the order in which the authors' network lists theirs."""
    names = [name for name, _ in network.encoders["video"].backbone.named_parameters()]
    stem, body, output = ([n for n in names if n.startswith(part)] for part in ("stem.", "body.", "output."))
    # their unit holds the shortcut before the residual branch
    return [*stem, *output, *body]


def test_each_stage_releases_the_published_numbers_of_parameters(network: Rcma) -> None:
    for stage, (tensors, video, audio) in zip(stages_of(network), PUBLISHED, strict=True):
        by_modality = {"video": 0, "audio": 0}
        named: set[str] = set()
        for path in stage:
            for name, parameter in network.get_submodule(path).named_parameters():
                by_modality[path.split(".")[1]] += parameter.numel()
                named.add(f"{path}.{name}")
        assert by_modality == {"video": video, "audio": audio}
        ours = {f"encoders.video.backbone.{n}" for n in authors_order(network)[tensors[0] : tensors[1] + 1]}
        assert {name for name in named if ".video." in name} == ours


def test_stages_add_up_and_the_fusion_always_learns(network: Rcma) -> None:
    fusion = sum(p.numel() for p in network.fusion.parameters())
    released = 0
    for stage in range(4):
        set_stage(network, stage)
        assert sum(p.numel() for p in trained(network)) == fusion + released
        if stage < 3:
            released += sum(PUBLISHED[stage][1:])


def test_a_later_stage_can_be_taken_back(network: Rcma) -> None:
    set_stage(network, 1)
    first = len(trained(network))
    set_stage(network, 3)
    set_stage(network, 1)
    assert len(trained(network)) == first


def test_a_small_network_releases_what_it_has() -> None:
    stages = stages_of(Rcma(demo_config()))  # five units
    video = [[path.rsplit("backbone.", 1)[1] for path in stage if ".video." in path] for stage in stages]
    assert video == [["output"], ["body.2", "body.3", "body.4"], ["body.0", "body.1"]]


def test_cav_has_no_stages_and_learns_its_fusion_alone() -> None:
    network = Cav(cav_demo_config())
    set_stage(network, 0)
    assert stages_of(network) == ()
    assert {id(p) for p in trained(network)} == {id(p) for p in network.fusions.parameters()}
