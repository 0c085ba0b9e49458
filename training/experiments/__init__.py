"""Experiments: the published trainings, and the same with their known errors repaired, on a prepared corpus.

In the order of the data: `config` (one TOML file), `rules` (published against repaired, difference by difference),
`folds`, `windows`, `words`, `series` → `data` (windows as batches) → `objective` (the loss, over all processes) →
`release`, `schedule` (what is trained when, how fast) → `module` → `run`. Importing this package loads neither torch
nor Lightning.

Sources: C1 is the code of arXiv 2111.05222, praveena2j/Cross-Attentional-AV-Fusion at 85bf502; C2 that of
arXiv 2403.13659, praveena2j/RJCMA at 489f33d. Neither runs as it is; facts are taken from them, no code.
"""

from .config import ExperimentConfig, read_config
from .folds import folds
from .windows import author_clip_windows, clip_windows, series_windows

__all__ = ["ExperimentConfig", "author_clip_windows", "clip_windows", "folds", "read_config", "series_windows"]
