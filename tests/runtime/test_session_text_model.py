"""A network that sees, hears and reads, run by a session, equals its own forward on the windows of the whole clip."""

from __future__ import annotations

import numpy as np
import pytest
from doubles.text_models import VOCABULARY, random_text_model, text_config

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.runtime.replay import replay  # noqa: E402
from affectrt.runtime.scheduler import Scheduler  # noqa: E402
from affectrt.runtime.sources import MemorySource  # noqa: E402
from affectrt.runtime.words import Word, WordsChunk  # noqa: E402
from affectrt.runtime.words.pieces import Pieces  # noqa: E402
from affectrt.runtime.words.sentences import split_sentences  # noqa: E402
from affectrt.training.torch_engine import torch_engines  # noqa: E402

WORDS = (
    Word("I'm", 0.05, 0.2),
    Word("very", 0.2, 0.42),
    Word("happy.", 0.44, 0.9),
    Word("well-known", 1.0, 1.31),
    Word("sunny", 1.3, 1.6),
    Word("Zebra!", 1.65, 2.4),
)
STEPS, HOP, WINDOW = 50, 10, 40


class _Spoken(MemorySource):
    """All words after a second of media."""

    modalities = frozenset(("video", "audio", "text"))

    def __iter__(self):  # type: ignore[no-untyped-def]
        for number, event in enumerate(super().__iter__()):
            if number == 40:
                yield WordsChunk(WORDS, 0.0, np.inf, np.inf)
            yield event


@torch.inference_mode()
def test_the_session_equals_the_module_on_the_same_windows() -> None:
    config = text_config(modalities=("video", "audio", "text"), window_steps=WINDOW, default_hop_steps=HOP)
    model = random_text_model(config)
    contract = Contract.model_validate(model.contract())
    assert contract.video is not None and contract.audio is not None and contract.text is not None
    random = np.random.default_rng(1)
    size = contract.video.resize_px
    frames = random.integers(0, 256, (STEPS, size, size, 3), dtype=np.uint8)
    sound = random.normal(0, 0.2, STEPS * 640).astype(np.float32).clip(-1, 1)
    pieces = Pieces(VOCABULARY, contract.text)
    source = _Spoken.from_arrays(frames=frames, pts_s=np.arange(STEPS) / 25, samples=sound)
    told = replay(contract, source, Scheduler(contract, torch_engines(model)).infer, pieces=pieces, hop_steps=HOP)

    edge = (size - contract.video.crop_px) // 2
    crops = np.ascontiguousarray(frames[:, edge : size - edge, edge : size - edge])
    padded = np.pad(sound, (0, contract.audio.span_samples), "edge")
    starts = [contract.audio.span_start(k, contract.step_hz) for k in range(STEPS)]
    spans = np.stack([padded[at : at + contract.audio.span_samples] for at in starts])
    text = torch.zeros(STEPS, contract.text.feature_dim)
    for sentence in reversed(split_sentences(WORDS, contract.text)):
        (feeds,) = pieces.parts([word.text for word in sentence])
        vectors = model.encoders["text"](*(torch.from_numpy(feed[None]) for feed in feeds.values()))[0]
        for word, vector in reversed(list(zip(sentence, vectors, strict=False))):
            under = [k for k in range(STEPS) if word.start_s < k / 25 <= word.end_s]
            text[under] = (vector - contract.text.mean) / contract.text.std
    features = [
        model.encoders["video"](torch.from_numpy(crops)),
        model.encoders["audio"](torch.from_numpy(spans)),
        text,
    ]
    want = np.zeros((STEPS, 2), np.float32)
    for last in range(HOP - 1, STEPS, HOP):
        begin = max(0, last - WINDOW + 1)
        windows = [
            torch.nn.functional.pad(f[begin : last + 1], (0, 0, 0, WINDOW - (last + 1 - begin)))[None] for f in features
        ]
        want[last - HOP + 1 : last + 1] = model.fusion(*windows)[0, last - HOP + 1 - begin : last + 1 - begin].numpy()
    got = np.array([(e.valence, e.arousal) for e in told])
    assert [round(e.t_s * 25) for e in told] == list(range(STEPS)) and got.std() > 1e-3
    np.testing.assert_allclose(got, want, atol=2e-5)
    assert sum("text" in e.modalities for e in told) == int((text != 0).any(1).sum()) > 40
