"""A local BERT in Hugging Face's layout becomes the text encoder of a network that takes words."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from ..rcma import Rcma
from ..rcma_config import RcmaConfig
from .bert_directory import read_bert
from .forms import Dead, Form
from .importer import NO_LICENCE, Imported
from .translation import SourceReport, translate

__all__ = ["TextSource", "import_text", "read_text"]

PLACE = "encoders.text.bert."
STATISTICS = (
    "mean and deviation of the words' vectors, with which the network was trained, are in no file: 0 and 1 stand for "
    "them unless they were told when imported"
)
BERT = Form(
    "bert",
    "rcma",
    None,
    "BERT, the encoder of words",
    (),
    lambda _: {},
    lambda name: name,
    "words: not stated in the files",
    dead=(
        Dead("pooler", r"pooler\.", "a vector for a whole sentence, which words do not need"),
        Dead("cls", r"cls\.", "heads of BERT's own training: hidden words, next sentences"),
        Dead("embeddings.position_ids", r"embeddings\.position_ids$", "0, 1, 2, …"),
    ),
    notes=(STATISTICS,),
    licence="of the BERT: not stated in its files; Google's own are under Apache-2.0, of others ask their publisher",
)


@dataclass(frozen=True, eq=False)
class TextSource:
    """A BERT that fits a network without a text encoder.

    `fields` are those of `RcmaConfig` that it decides; `state` its tensors, under their names in the whole network.
    """

    fields: dict[str, Any]
    state: dict[str, Tensor]
    report: SourceReport

    def given_to(self, network: Rcma, *, mean: float, std: float) -> Rcma:
        """A network of the same weights that encodes its words itself; `mean`, `std` of the vectors that it takes."""
        with torch.device("meta"):
            whole = Rcma(dataclasses.replace(network.config, **self.fields, text_mean=mean, text_std=std))
        whole.load_state_dict({**network.state_dict(), **self.state}, strict=True, assign=True)
        return whole.eval()

    def told(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """The provenance of a network, with what became of the BERT's file."""
        return {
            **provenance,
            "training_corpus": f"{provenance['training_corpus']}; {BERT.training_corpus}",
            "sources": [*provenance.get("sources", ()), json.loads(json.dumps(dataclasses.asdict(self.report)))],
        }


def read_text(folder: str | os.PathLike[str], config: RcmaConfig) -> TextSource:
    """The BERT in `folder`, for a network of `config`, which takes words' vectors from outside.

    Raises CheckpointError with everything that is wrong.
    """
    bert = read_bert(folder)
    if bert.fields["text_dim"] != config.text_dim:
        raise CheckpointError(
            f"the BERT in {os.fspath(folder)} gives vectors of {bert.fields['text_dim']} numbers",
            expected=f"{config.text_dim}, as the network takes them",
            fix="name the folder of a BERT of this width with --text",
        )
    try:
        with torch.device("meta"):
            network = Rcma(dataclasses.replace(config, **bert.fields))
    except ConfigError as error:
        raise _refused(error) from None
    wanted = {n.removeprefix(PLACE): t for n, t in network.state_dict().items() if n.startswith(PLACE)}
    state, report, problems = translate(bert.file, BERT, wanted)
    if problems:
        raise CheckpointError(
            f"{bert.file.name} does not hold the BERT that its config.json describes:\n    " + "\n    ".join(problems),
            expected=f"{len(wanted)} tensors, as BertModel has them, with or without `bert.` before their names",
            fix="fetch the folder again",
        )
    return TextSource(bert.fields, {PLACE + name: tensor for name, tensor in state.items()}, report)


def import_text(
    imported: Imported,
    folder: str | os.PathLike[str],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    licence: str | None = None,
) -> Imported:
    """`imported`, a whole RCMA that takes words' vectors from outside, with the BERT in `folder` that makes them.

    `mean`, `std`: of the vectors that it was trained on. `licence`: of all weights, as told to `import_files`. Raises
    CheckpointError with everything that is wrong.
    """
    config = imported.config
    if not isinstance(imported.module, Rcma) or not isinstance(config, RcmaConfig) or "text" not in config.modalities:
        what = f"the part {imported.part}" if imported.part else f"a network of {imported.system} without text"
        raise CheckpointError(f"a BERT for {what}", expected="a whole network of RCMA, which takes words")
    if config.text_layers:
        raise CheckpointError("the network has a text encoder already", expected="one without")
    source = read_text(folder, config)
    try:
        network = source.given_to(imported.module, mean=mean, std=std)
    except ConfigError as error:
        raise _refused(error) from None
    read = {name: value for name, value in source.fields.items() if name != "text_vocabulary"}
    told = imported.provenance
    unknown = "; ".join(dict.fromkeys((str(told.get("licence", NO_LICENCE)), str(BERT.licence))))
    recipe = {"recipe": f"{told['recipe']}, {BERT.name}", "licence": licence or unknown}
    return dataclasses.replace(
        imported,
        module=network,
        config=network.config,
        read={**imported.read, **read, "text_vocabulary": f"{len(source.fields['text_vocabulary'])} pieces"},
        provenance={**source.told(told), **recipe},
        sources=(*imported.sources, source.report),
    )


def _refused(error: ConfigError) -> CheckpointError:
    return CheckpointError(f"the network cannot take this BERT: {error.found}")
