"""Parameter counts of the published networks. The meta device makes shapes without memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from affectrt.models import Ir50, Rcma, RcmaFusion, Vggish, demo_config, paper_config

UNUSED_LOGITS = 512 * 8 + 8  # in the authors' totals; our fusion network has none


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(autouse=True)
def _meta() -> object:
    with torch.device("meta"):
        yield


def test_ir50_has_the_published_size() -> None:
    assert count(Ir50()) == 37_283_520
    assert count(Ir50(classes=8)) == 37_287_624


def test_vggish_has_the_published_size() -> None:
    assert count(Vggish()) == 72_141_184


@pytest.mark.parametrize(
    ("variant", "video", "audio", "text"),
    [("rcma-v1", 10_493_952, 657_408, 11_543_040), ("rjcma-head", 3_084_544, 657_408, 1_165_440)],
)
def test_temporal_networks_have_the_published_sizes(variant: str, video: int, audio: int, text: int) -> None:
    fusion = RcmaFusion(paper_config(variant))  # type: ignore[arg-type]
    found = {name: count(network) - count(network.norm) for name, network in fusion.temporal.items()}
    assert found == {"video": video, "audio": audio, "text": text}


def test_attention_has_the_published_size() -> None:
    assert count(RcmaFusion(paper_config("rcma-v1")).attention) == 6_940_776
    # The authors' later layers hold a Linear 512 → 512 each that nothing uses; ours do not.
    assert count(RcmaFusion(paper_config("rjcma-head")).attention) + 2 * (512 * 512 + 512) == 1_790_056


def test_all_projected_is_the_later_code_with_its_projection_used() -> None:
    from dataclasses import replace

    projected = replace(paper_config("rjcma-head"), attention="all-projected")
    assert count(RcmaFusion(projected).attention) == 1_790_056


def test_heads_have_the_published_sizes() -> None:
    assert count(RcmaFusion(paper_config("rcma-v1")).head) == 1_153
    assert count(RcmaFusion(paper_config("rjcma-head")).head) == 132_097


def test_whole_networks_have_the_published_sizes() -> None:
    assert count(Rcma(paper_config("rcma-v1"))) + UNUSED_LOGITS == 139_067_441
    assert count(Rcma(paper_config("rjcma-head"))) + UNUSED_LOGITS + 2 * (512 * 512 + 512) == 116_259_377


def test_paper_form_stacks_three_layers_and_code_forms_two() -> None:
    assert len(RcmaFusion(paper_config("rjcma-paper")).attention.layers) == 3
    assert len(RcmaFusion(paper_config("rjcma-head")).attention.layers) == 2


def test_demo_fits_three_megabytes() -> None:
    state = Rcma(demo_config()).state_dict()
    assert sum(tensor.numel() * tensor.element_size() for tensor in state.values()) < 2_900_000
