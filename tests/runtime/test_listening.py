"""A whole recording is heard before anybody asks what was said in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from doubles.transcribers import Parrot

from affectrt.bundle import MediaError
from affectrt.runtime.sources.file import FileSource
from affectrt.runtime.sources.memory import MemorySource
from affectrt.runtime.words import Word, WordsChunk
from affectrt.runtime.words.listening import listen

RATE_HZ = 16_000


def sound(seconds: float) -> MemorySource:
    return MemorySource.from_arrays(samples=np.zeros(round(seconds * RATE_HZ), np.float32), sample_rate_hz=RATE_HZ)


def test_every_word_is_there_in_order_and_the_recogniser_is_closed() -> None:
    parrot = Parrot()
    told: list[float] = []
    heard = listen(sound(400.5), parrot, lambda done_s, duration_s: told.append(done_s))
    assert [word.text for word in heard.words] == [f"word{n}" for n in range(400)], "none is forgotten, however long"
    assert heard.words[3] == Word("word3", 3.25, 3.75)
    assert heard.heard_s == pytest.approx(400.5) and heard.outcome.complete and not heard.failed
    assert parrot.closed == 1 and told == sorted(told) and told[-1] == pytest.approx(400.5)


def test_what_was_thought_first_is_replaced_and_garbage_is_left_out() -> None:
    def says(call: int) -> Sequence[WordsChunk]:
        if call == 1:
            return [WordsChunk([Word("ice", 0.1, 0.2), Word("cream", 0.2, 0.4)], 0.0, 0.5, 0.0)]
        if call == 2:
            wrong = [Word("", 1.0, 1.1), Word("nan", float("nan"), 1.2), Word("back", 1.5, 1.4)]
            return [WordsChunk([Word("scream", 0.15, 0.4), *wrong, Word("I", 0.05, 0.15)], 0.0, 2.0, 2.0)]
        return [WordsChunk([Word("late", 1.0, 1.2)], 0.0, 3.0, 3.0)]

    heard = listen(sound(3.0), Parrot(on_hear=says))
    assert [word.text for word in heard.words] == ["I", "scream"], "and what is final stays"


def test_a_recogniser_that_gives_up_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def fails(call: int) -> None:
        if call == 3:
            raise RuntimeError("out of breath")

    heard = listen(sound(5.0), Parrot(on_hear=fails))
    assert heard.failed and heard.heard_s == pytest.approx(5.0)
    assert "out of breath" in caplog.text


def test_a_recording_that_is_not_there_raises_what_its_source_raises() -> None:
    with pytest.raises(MediaError, match="does not exist"):
        listen(FileSource("nowhere.wav", audio_rate_hz=RATE_HZ), Parrot())
