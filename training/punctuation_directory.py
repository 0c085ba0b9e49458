"""A folder with a token classifier of punctuation, in Hugging Face's layout: judged first, then opened.

Nothing in it is executed: weights come from safetensors, code and adapters are refused, and nothing is fetched.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectrt.bundle.errors import UsageError, listed

__all__ = ["LabelMap", "PunctuationDirectory", "check_directory"]

LabelMap = Mapping[int, str]

WANT = (
    "a token classifier of punctuation in Hugging Face's layout: config.json with id2label, model.safetensors "
    "and tokenizer.json"
)
WEIGHTS = "model.safetensors"
# Of these families `transformers` reads configuration and pieces without code from elsewhere, and how many positions
# they keep for themselves is known.
KEPT_POSITIONS = {"bert": 0, "distilbert": 0, "electra": 0, "roberta": 2, "camembert": 2, "xlm-roberta": 2}
_TOKENIZERS = re.compile(
    r"(?:(?:Bert|DistilBert|Electra|Roberta|Camembert|XLMRoberta)Tokenizer(?:Fast)?"
    r"|PreTrainedTokenizerFast|TokenizersBackend)"
)
# "0": nothing follows the word.
_KNOWN_LABELS = frozenset({"0", ".", ",", "?", "!", ":", ";", "-"})
_FORBIDDEN = {
    "auto_map": "code that would be executed",
    "quantization_config": "weights that other packages unpack",
    "transformers_weights": "weights in another file",
}
_MOST_JSON_BYTES = 1 << 20
_MOST_TOKENIZER_BYTES = 64 << 20
# XLM-RoBERTa XXL has 48 layers and 4096 features.
_MOST = {"num_hidden_layers": 96, "hidden_size": 16_384, "vocab_size": 4_000_000, "max_position_embeddings": 65_536}
_OTHER_NAMES = {"num_hidden_layers": "n_layers", "hidden_size": "dim"}  # DistilBERT's
# Pieces that are looked at together: fewer are no sentence, and what models are trained on is no longer.
_FEWEST, _LONGEST = 8, 512


@dataclass(frozen=True)
class PunctuationDirectory:
    """A folder that may be opened; `labels` by the numbers that the model gives, `size` of its weights in bytes."""

    path: Path
    labels: LabelMap
    positions: int
    size: int

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def opened(self) -> tuple[Any, Any]:
        """Tokenizer and network, in float32 on the CPU; UsageError where they and the configuration disagree."""
        import torch
        from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

        auto: Any = AutoModelForTokenClassification
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        folder = str(self.path.absolute())
        try:
            with _quiet():
                tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **local)
                config = AutoConfig.from_pretrained(folder, **local)
                # Sizes cost nothing on this device: what the file cannot hold is never made.
                with torch.device("meta"):
                    count = sum(w.numel() for w in auto.from_config(config).parameters())
                if 2 * count > self.size:
                    raise UsageError(
                        f"{self.path / WEIGHTS} has {self.size} bytes, too few for {count} weights", expected=WANT
                    )
                network, told = auto.from_pretrained(
                    folder,
                    config=config,
                    use_safetensors=True,
                    dtype=torch.float32,
                    ignore_mismatched_sizes=True,  # they are told below
                    output_loading_info=True,
                    **local,
                )
        except UsageError:
            raise
        except Exception as error:  # what a damaged file leads to is of many kinds
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"{self.path} cannot be opened: {reason[0][:300]}",
                expected=WANT,
                fix="fetch it again",
            ) from None
        problems = [f"{name} is not among the weights" for name in sorted(told["missing_keys"])]
        problems += [f"{entry[0]} is of another shape" for entry in told["mismatched_keys"]]
        if not tokenizer.is_fast:
            problems.append("its tokenizer does not tell which piece is of which word")
        known = len(tokenizer)
        if known > network.get_input_embeddings().num_embeddings:
            problems.append(f"its tokenizer knows {known} pieces, the network fewer")
        most = tokenizer.model_max_length
        if isinstance(most, bool) or not isinstance(most, (int, float)) or not most >= _FEWEST:
            problems.append(f"model_max_length of its tokenizer is {_shown(most)}: too few for a sentence")
        if problems:
            raise UsageError(listed(f"{self.path} is not whole", problems), expected=WANT)
        return tokenizer, network.eval()

    def most_pieces(self, tokenizer: Any) -> int:
        """How many pieces the network takes at once, those that mark beginning and end included."""
        return int(min(self.positions, _LONGEST, tokenizer.model_max_length))


def check_directory(path: str | os.PathLike[str]) -> PunctuationDirectory:
    """UsageError with everything that is wrong, before a weight is read."""
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no directory", expected=WANT, fix="see docs/text.md, Punctuation")
    config = _json(folder / "config.json")
    spelling = _json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    size = _size_of_weights(folder)
    _check_tokenizer(folder)
    labels, problems = _labels(config.get("id2label"))
    for file, told in (("config.json", config), ("tokenizer_config.json", spelling)):
        problems += [f"{file} has {key}: {what}" for key, what in _FORBIDDEN.items() if told.get(key) is not None]
    if (folder / "adapter_config.json").exists():
        problems.append("adapter_config.json: an adapter to a network that is elsewhere")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KEPT_POSITIONS:
        problems.append(f"model_type is {_shown(kind)}, not one of {', '.join(sorted(KEPT_POSITIONS))}")
    spelt = spelling.get("tokenizer_class")
    if spelt is not None and not (isinstance(spelt, str) and _TOKENIZERS.fullmatch(spelt)):
        problems.append(f"tokenizer_class is {_shown(spelt)}, which is not one of these families")
    sizes: dict[str, Any] = {name: config.get(name, config.get(_OTHER_NAMES.get(name, name))) for name in _MOST}
    wrong = [
        f"{name} is {_shown(value)}, not a number from 1 to {_MOST[name]}"
        for name, value in sizes.items()
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST[name]
    ]
    positions = 0
    if not wrong and isinstance(kind, str):
        positions = sizes["max_position_embeddings"] - KEPT_POSITIONS.get(kind, 0)
        if positions < _FEWEST:
            wrong.append(f"max_position_embeddings is {sizes['max_position_embeddings']}: too few for a sentence")
    if problems + wrong:
        raise UsageError(listed(f"{folder} cannot be used for punctuation", problems + wrong), expected=WANT)
    return PunctuationDirectory(folder, labels, positions, size)


def _labels(told: Any) -> tuple[dict[int, str], list[str]]:
    if not isinstance(told, dict) or not told:
        return {}, ["config.json has no id2label, so nobody knows which number is a full stop"]
    labels: dict[int, str] = {}
    problems = []
    for key, label in told.items():
        if not (isinstance(label, str) and label in _KNOWN_LABELS):
            problems.append(f"id2label has {_shown(label)}, not one of {' '.join(sorted(_KNOWN_LABELS))}")
        elif not re.fullmatch(r"\d{1,3}", key, re.ASCII):
            problems.append(f"id2label has the number {_shown(key)}")
        else:
            labels[int(key)] = label
    if not problems and sorted(labels) != list(range(len(told))):
        problems.append("id2label does not count from 0 on without gaps")
    if not problems and not {"0", "."} <= set(labels.values()):
        problems.append("id2label needs 0 (nothing) and . (a full stop)")
    return labels, problems


def _size_of_weights(folder: Path) -> int:
    weights = folder / WEIGHTS
    if weights.is_file():
        return weights.stat().st_size
    older = [name for name in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack") if (folder / name).exists()]
    parts = (folder / "model.safetensors.index.json").exists()
    what = f"only {', '.join(older)}" if older else "its weights in several files" if parts else "no weights"
    code = (
        "from transformers import AutoModelForTokenClassification as M, AutoTokenizer as T; "
        f"[k.from_pretrained({str(folder)!r}).save_pretrained('safe') for k in (M, T)]"
    )
    raise UsageError(
        f"{folder} has {what}",
        expected="model.safetensors, one file: pickles are never loaded",
        fix=f'where you trust that file: python -c "{code}", then --punctuation safe',
    )


def _check_tokenizer(folder: Path) -> None:
    """Without this file `transformers` may take other forms, or, of some families, a tokenizer that knows no word."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        code = f"from transformers import AutoTokenizer as T; T.from_pretrained({str(folder)!r}).save_pretrained('t')"
        raise UsageError(
            f"no tokenizer.json in {folder}",
            expected=WANT,
            fix=f'pip install sentencepiece && python -c "{code}" && cp t/tokenizer* {shlex.quote(str(folder))}/',
        )
    if path.stat().st_size > _MOST_TOKENIZER_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size} bytes", expected=f"at most {_MOST_TOKENIZER_BYTES}")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"no {path.name} in {path.parent}", expected=WANT)
    if path.stat().st_size > _MOST_JSON_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size} bytes", expected=f"at most {_MOST_JSON_BYTES}")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {str(error)[:200]}", expected=WANT) from None
    if not isinstance(told, dict):
        raise UsageError(f"{path} holds no JSON object", expected=WANT)
    return told


def _shown(value: object) -> str:
    return ascii(value)[:60] if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and warnings of `transformers`, whose errors are told in our words."""
    from transformers import utils

    logging: Any = utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
