"""A local BERT in Hugging Face's layout becomes the text encoder of an imported network."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import torch

from ..errors import CheckpointError, ConfigError
from ..rcma import Rcma
from ..rcma_config import RcmaConfig
from .bert_directory import read_bert
from .forms import Dead, Form
from .importer import NO_LICENCE, Imported
from .translation import SourceReport, translate

__all__ = ["import_text"]

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
    bert = read_bert(folder)
    if bert.fields["text_dim"] != config.text_dim:
        raise CheckpointError(
            f"the BERT in {os.fspath(folder)} gives vectors of {bert.fields['text_dim']} numbers",
            expected=f"{config.text_dim}, as the network takes them",
        )
    try:
        whole = dataclasses.replace(config, **bert.fields, text_mean=mean, text_std=std)
    except ConfigError as error:
        raise CheckpointError(f"the network cannot take this BERT: {error.found}") from None
    with torch.device("meta"):
        network = Rcma(whole)
    wanted = {n.removeprefix(PLACE): t for n, t in network.state_dict().items() if n.startswith(PLACE)}
    state, report, problems = translate(bert.file, BERT, wanted)
    if problems:
        raise CheckpointError(
            f"{bert.file.name} does not hold the BERT that its config.json describes:\n    " + "\n    ".join(problems),
            expected=f"{len(wanted)} tensors, as BertModel has them, with or without `bert.` before their names",
            fix="fetch the folder again",
        )
    filled = {**imported.module.state_dict(), **{PLACE + name: tensor for name, tensor in state.items()}}
    network.load_state_dict(filled, strict=True, assign=True)
    read = {name: value for name, value in bert.fields.items() if name != "text_vocabulary"}
    return dataclasses.replace(
        imported,
        module=network.eval(),
        config=whole,
        read={**imported.read, **read, "text_vocabulary": f"{len(bert.fields['text_vocabulary'])} pieces"},
        provenance=_provenance(imported, report, licence),
        sources=(*imported.sources, report),
    )


def _provenance(imported: Imported, report: SourceReport, licence: str | None) -> dict[str, Any]:
    told = imported.provenance
    unknown = "; ".join(dict.fromkeys((str(told.get("licence", NO_LICENCE)), str(BERT.licence))))
    return {
        **told,
        "recipe": f"{told['recipe']}, {BERT.name}",
        "training_corpus": f"{told['training_corpus']}; {BERT.training_corpus}",
        "licence": licence or unknown,
        "sources": [*told["sources"], json.loads(json.dumps(dataclasses.asdict(report)))],
    }
