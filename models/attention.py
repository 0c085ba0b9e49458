"""Recursive (joint) cross-modal attention (arXiv 2403.13659) in the forms in which it was published.

Code and paper differ, and the code changed between the first and the later versions of the paper:

| form               | joint representation J of modality m         | map     | published as                      |
|--------------------|----------------------------------------------|---------|-----------------------------------|
| `others-projected` | Linear of the other modalities, side by side | d_m × d | first version's code ("RCMA")     |
| `all-raw`          | all modalities, side by side                 | d_m × d | later code ("RJCMA")              |
| `all-projected`    | Linear of all modalities, side by side       | d_m × d | what that code computes and drops |
| `time-map`         | Linear of all modalities, side by side       | K × K   | the paper's fourth version        |

The later code also holds, in each layer, a Linear d → d whose output nothing uses. Ours has none in `all-raw`; add
d² + d per layer to compare parameter counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["FORMS", "AttentionForm", "FeatureMapAttention", "RecursiveAttention", "TimeMapAttention"]

AttentionForm = Literal["others-projected", "all-raw", "all-projected", "time-map"]
FORMS: tuple[AttentionForm, ...] = ("others-projected", "all-raw", "all-projected", "time-map")


class RecursiveAttention(nn.Module):
    """Features per modality, each (B, K, d_m) → the same shapes after `layers` attention layers with own weights.

    `widths` gives d_m by modality, in the order of the features. The window length K is in the weights.
    """

    def __init__(
        self, widths: Mapping[str, int], window_steps: int, *, form: AttentionForm, layers: int, dropout: float = 0.6
    ) -> None:
        super().__init__()

        def layer() -> nn.Module:
            if form == "time-map":
                return TimeMapAttention(widths, window_steps, dropout=dropout)
            return FeatureMapAttention(widths, window_steps, form=form, dropout=dropout)

        self.layers = nn.ModuleList(layer() for _ in range(layers))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        attended = list(features)
        for layer in self.layers:
            attended = layer(attended)
        return attended


class FeatureMapAttention(nn.Module):
    """One layer of the code forms. With X_m (K × d_m) and J (K × d):

    S = tanh(key(X_mᵀ) J / √d), `key` a Linear along time; Y = ReLU(tanh(value(X_m) S));
    X_m ← X_m + ReLU(output(Y)). Dropout on S and on the increment. There is no softmax.
    """

    def __init__(
        self, widths: Mapping[str, int], window_steps: int, *, form: AttentionForm, dropout: float = 0.6
    ) -> None:
        super().__init__()
        self.form = form
        names = list(widths)
        # The modalities side by side in J. The authors' code goes round the circle video → audio → text → video.
        self.sources: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            others = [(index + offset) % len(names) for offset in range(1, len(names))]
            self.sources[name] = others if form == "others-projected" else list(range(len(names)))
        joint = {name: sum(widths[names[i]] for i in sources) for name, sources in self.sources.items()}
        self.joint = nn.ModuleDict()
        if form == "others-projected":
            self.joint.update({name: nn.Linear(joint[name], joint[name]) for name in names})
        elif form == "all-projected":
            self.joint["all"] = nn.Linear(joint[names[0]], joint[names[0]])
        self.scale = {name: 1 / math.sqrt(joint[name]) for name in names}
        self.key = nn.ModuleDict({name: nn.Linear(window_steps, window_steps) for name in names})
        self.value = nn.ModuleDict({name: nn.Linear(widths[name], widths[name]) for name in names})
        self.output = nn.ModuleDict({name: nn.Linear(joint[name], widths[name]) for name in names})
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        attended = []
        for name, x, joint in zip(self.scale, features, self._joints(features), strict=True):
            keys = self.key[name](x.transpose(1, 2))
            scores = self.dropout(torch.tanh(keys @ joint * self.scale[name]))
            found = torch.relu(torch.tanh(self.value[name](x) @ scores))
            attended.append(x + self.dropout(torch.relu(self.output[name](found))))
        return attended

    def _joints(self, features: Sequence[Tensor]) -> list[Tensor]:
        if self.form == "others-projected":
            return [
                self.joint[name](torch.cat([features[i] for i in sources], dim=2))
                for name, sources in self.sources.items()
            ]
        joint = torch.cat(list(features), dim=2)
        if self.form == "all-projected":
            joint = self.joint["all"](joint)
        return [joint] * len(features)


class TimeMapAttention(nn.Module):
    """One layer of the paper's equations 1–10, in its own layout X_m (d_m × K), J (d × K); no biases but J's.

    C = tanh(X_mᵀ W_j J / √d), K × K; H = ReLU(X_m W_c C); X_m ← H W_h + X_m. The paper does not say where dropout
    goes; here it is where the code forms have it: on C and on the increment.
    """

    def __init__(self, widths: Mapping[str, int], window_steps: int, *, dropout: float = 0.6) -> None:
        super().__init__()
        total = sum(widths.values())
        self.joint = nn.Linear(total, total)
        self.affinity = nn.ModuleDict({n: nn.Linear(width, total, bias=False) for n, width in widths.items()})
        self.map = nn.ModuleDict({n: nn.Linear(window_steps, window_steps, bias=False) for n in widths})
        self.output = nn.ModuleDict({n: nn.Linear(window_steps, window_steps, bias=False) for n in widths})
        self.scale = 1 / math.sqrt(total)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        joint = self.joint(torch.cat(list(features), dim=2)).transpose(1, 2)
        attended = []
        for name, x in zip(self.map, features, strict=True):
            scores = self.dropout(torch.tanh(self.affinity[name](x) @ joint * self.scale))
            found = torch.relu(self.map[name](x.transpose(1, 2)) @ scores)
            attended.append(x + self.dropout(self.output[name](found)).transpose(1, 2))
        return attended
