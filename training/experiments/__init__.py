"""Experiments: the published trainings, and the same with their known errors repaired, on a prepared corpus.

In the order of the data: `config` (one TOML file), `rules` (published against repaired, difference by difference),
`folds`, `windows`, `series` → `data` (windows as batches) → `objective` (the loss, over all processes) → `release`,
`schedule` (what is trained when, how fast) → `module` → `run`. Importing this package loads neither torch nor
Lightning.
"""

from .config import ExperimentConfig, read_config
from .folds import folds
from .windows import author_clip_windows, clip_windows, series_windows

__all__ = ["ExperimentConfig", "author_clip_windows", "clip_windows", "folds", "read_config", "series_windows"]
