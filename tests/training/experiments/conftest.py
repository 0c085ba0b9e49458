"""What tests of experiments share: one thread, a tiny BERT, and a toy corpus in which people speak."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from doubles.reading_experiments import make_spoken_corpus
from doubles.text_models import make_bert


@pytest.fixture(autouse=True)
def one_thread() -> None:
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return make_bert(tmp_path_factory.mktemp("hub") / "tiny-bert")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_spoken_corpus(tmp_path_factory.mktemp("spoken") / "rcma")
