"""Each form of the attention against its equations, evaluated here in plain float64 NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from affectrt.models import RecursiveAttention
from affectrt.models.attention import FORMS, AttentionForm

Array = npt.NDArray[np.float64]
STEPS = 11
WIDTHS = {"video": 6, "audio": 4, "text": 5}
SUBSETS = [names for n in (1, 2, 3) for names in itertools.combinations(WIDTHS, n)]
CASES = [(form, names) for form in FORMS for names in SUBSETS if form != "others-projected" or len(names) > 1]


def build(form: AttentionForm, names: tuple[str, ...], layers: int) -> tuple[RecursiveAttention, list[torch.Tensor]]:
    torch.manual_seed(5)
    widths = {name: WIDTHS[name] for name in names}
    attention = RecursiveAttention(widths, STEPS, form=form, layers=layers).double().eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.mul_(3)  # out of the linear middle of tanh
    return attention, [torch.randn(3, STEPS, width, dtype=torch.float64) for width in widths.values()]


class Layer:
    """The weights of one layer, by name."""

    def __init__(self, attention: RecursiveAttention, index: int) -> None:
        self.state = {name: t.numpy() for name, t in attention.layers[index].state_dict().items()}

    def weight(self, name: str) -> Array:
        return np.asarray(self.state[f"{name}.weight"])

    def affine(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.weight(name).T + self.state[f"{name}.bias"])


def code_form(form: str, layer: Layer, x: dict[str, Array]) -> dict[str, Array]:
    """One sample, X_m of shape (K, d_m)."""
    after = {"video": ("audio", "text"), "audio": ("text", "video"), "text": ("video", "audio")}
    result = {}
    for m, own in x.items():
        if form == "others-projected":
            joint = layer.affine(f"joint.{m}", np.concatenate([x[o] for o in after[m] if o in x], axis=1))
        else:
            joint = np.concatenate(list(x.values()), axis=1)
            if form == "all-projected":
                joint = layer.affine("joint.all", joint)
        keys = layer.weight(f"key.{m}") @ own + layer.state[f"key.{m}.bias"][:, None]  # along time: (K, d_m)
        scores = np.tanh(keys.T @ joint / np.sqrt(joint.shape[1]))  # (d_m, d)
        found = np.maximum(0, np.tanh(layer.affine(f"value.{m}", own) @ scores))  # (K, d)
        result[m] = own + np.maximum(0, layer.affine(f"output.{m}", found))
    return result


def paper_form(layer: Layer, x: dict[str, Array]) -> dict[str, Array]:
    """Equations 1–10 with columns as time. A Linear computes x Wᵀ, hence the transposes of the weights."""
    columns = {m: own.T for m, own in x.items()}
    joint = layer.weight("joint") @ np.concatenate(list(columns.values())) + layer.state["joint.bias"][:, None]
    result = {}
    for m, own in columns.items():
        w_j = layer.weight(f"affinity.{m}").T  # (d_m, d)
        w_c, w_h = layer.weight(f"map.{m}").T, layer.weight(f"output.{m}").T  # (K, K)
        scores = np.tanh(own.T @ w_j @ joint / np.sqrt(len(joint)))
        assert scores.shape == (STEPS, STEPS)
        result[m] = (np.maximum(0, own @ w_c @ scores) @ w_h + own).T
    return result


@pytest.mark.parametrize(("form", "names"), CASES)
@pytest.mark.parametrize("layers", [1, 3])
def test_attention_computes_its_equations(form: AttentionForm, names: tuple[str, ...], layers: int) -> None:
    attention, features = build(form, names, layers)
    found = attention(features)
    for sample in range(3):
        x = {name: t[sample].numpy() for name, t in zip(names, features, strict=True)}
        for index in range(layers):
            layer = Layer(attention, index)
            x = paper_form(layer, x) if form == "time-map" else code_form(form, layer, x)
        for name, tensor in zip(names, found, strict=True):
            assert np.allclose(tensor[sample].detach().numpy(), x[name], atol=1e-11), name


@pytest.mark.parametrize("form", FORMS)
def test_layers_do_not_share_weights(form: AttentionForm) -> None:
    one, _ = build(form, ("video", "audio"), 1)
    four, _ = build(form, ("video", "audio"), 4)
    assert sum(p.numel() for p in four.parameters()) == 4 * sum(p.numel() for p in one.parameters())


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_of_every_form_is_used(form: AttentionForm) -> None:
    """The authors' later code trains in vain on a projection that nothing reads."""
    attention, features = build(form, ("video", "audio", "text"), 2)
    torch.cat(attention(features), dim=2).square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


@pytest.mark.parametrize("form", FORMS)
def test_dropout_acts_in_training_alone(form: AttentionForm) -> None:
    attention, features = build(form, ("video", "audio"), 1)
    assert torch.equal(attention(features)[0], attention(features)[0])
    attention.train()
    assert not torch.equal(attention(features)[0], attention(features)[0])
