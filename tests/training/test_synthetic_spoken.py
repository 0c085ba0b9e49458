"""Spoken clips: words at the times at which they sound, chosen by what the text shows, in a voice that shows too."""

from __future__ import annotations

import io
import json
import string
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from affectrt.bundle.errors import MissingDependency, UsageError
from affectrt.runtime.words.transcript import read_transcript
from affectrt.training.corpus import Corpus
from affectrt.training.synthetic import espeak, ideal_ccc, make_clip, make_corpus, make_identity, speech
from affectrt.training.synthetic.clip import clip_path
from affectrt.training.synthetic.lexicon import LEXICON, every_word
from affectrt.training.synthetic.speech import Speaker
from affectrt.training.synthetic.spoken import SpokenVoice, speak
from affectrt.training.synthetic.voice import SAMPLE_RATE_HZ, synthesise_voice

SENTIMENT = {s.word: (s.valence, s.arousal) for kind, words in LEXICON.items() if kind != "adverb" for s in words}


@pytest.fixture(scope="module", autouse=True)
def _espeak() -> None:
    try:
        with Speaker("en-us"):
            pass
    except MissingDependency as error:
        pytest.skip(f"espeak-ng is missing: {error}")


def plain(word: str) -> str:
    return word.strip(".,!").lower()


def voice_of(valence: float, arousal: float, seconds: float = 10.0) -> SpokenVoice:
    shown = np.tile([valence, arousal], (round(seconds * 25), 1))
    return speak(make_identity(3, 1).voice, shown, np.zeros_like(shown), np.random.default_rng(0))


def pitch_hz(voice: SpokenVoice) -> float:
    """Median over voiced frames of the strongest autocorrelation between 70 and 400 Hz."""
    found = []
    for start in range(0, voice.samples.size - 1024, 512):
        frame = voice.samples[start : start + 1024].astype(np.float64)
        frame -= frame.mean()
        lags = np.correlate(frame, frame, "full")[1023:]
        band = lags[SAMPLE_RATE_HZ // 400 : SAMPLE_RATE_HZ // 70]
        if np.mean(frame**2) > 1e-4 and band.max() > 0.5 * lags[0]:
            found.append(SAMPLE_RATE_HZ / (SAMPLE_RATE_HZ // 400 + int(band.argmax())))
    return float(np.median(found))


def test_every_word_has_time_of_its_own_and_sounds_in_it_and_between_words_it_is_quiet() -> None:
    clip = make_clip(make_identity(5, 0), 9, seconds=12.0, size_px=40, spoken=True)
    assert len(clip.words) > 20
    before = 0.0
    loud: list[float] = []
    in_words = np.zeros(clip.samples.size, bool)
    for word in clip.words:
        assert before <= word.start_s < word.end_s <= 12.0
        before = word.end_s
        heard = slice(round(word.start_s * SAMPLE_RATE_HZ), round(word.end_s * SAMPLE_RATE_HZ))
        in_words[heard] = True
        loud.append(level(clip.samples[heard]))
    edge = round(0.02 * SAMPLE_RATE_HZ)  # the last sound rings a little in the filter
    between = ~np.convolve(in_words, np.ones(2 * edge + 1), "same").astype(bool)
    assert between.mean() > 0.03
    assert min(loud) > 5 * level(clip.samples[between])


def level(samples: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def test_the_mouth_moves_with_the_words() -> None:
    voice = voice_of(0.0, 0.0)
    times = np.arange(len(voice.mouth)) / 25
    spoken = np.zeros(len(times), bool)
    for word in voice.words:
        spoken |= (times > word.start_s + 0.03) & (times < word.end_s - 0.03)
    silent = np.ones(len(times), bool)
    for word in voice.words:
        silent &= (times < word.start_s - 0.05) | (times > word.end_s + 0.05)
    assert voice.mouth.min() >= 0 and voice.mouth.max() <= 1
    assert silent.any() and voice.mouth[spoken].mean() > 0.2 and voice.mouth[silent].max() < 0.02


def test_what_words_mean_follows_what_the_text_shows_and_so_the_truth() -> None:
    rows = []
    for seed in range(4):
        path = clip_path(seed, 24.0, spoken=True)
        assert path.words is not None
        said = speak(make_identity(1, seed).voice, path.voice, path.words, np.random.default_rng(seed))
        for word in said.words:
            if plain(word.text) in SENTIMENT:
                under = slice(round(word.start_s * 25), round(word.end_s * 25) + 1)
                rows.append((*SENTIMENT[plain(word.text)], *path.words[under].mean(0), *path.truth[under].mean(0)))
    follows = np.corrcoef(np.array(rows).T)
    assert len(rows) > 80
    assert follows[0, 2] > 0.85 and follows[0, 4] > 0.65, "valence"
    assert follows[1, 3] > 0.5 and follows[1, 5] > 0.3, "arousal, weaker"
    assert abs(follows[0, 3]) < 0.3 and abs(follows[1, 2]) < 0.3, "neither speaks for the other"


def test_pitch_speed_and_loudness_follow_arousal() -> None:
    calm, roused = voice_of(0.0, -0.9), voice_of(0.0, 0.9)
    assert pitch_hz(roused) > 1.3 * pitch_hz(calm)

    def speed(voice: SpokenVoice) -> float:
        letters = sum(len(word.text) for word in voice.words)
        return letters / sum(word.end_s - word.start_s for word in voice.words)

    assert speed(roused) > 1.2 * speed(calm)
    assert level(roused.samples) > 1.5 * level(calm.samples)


def test_the_voice_of_the_pleased_rings() -> None:
    def ring(voice: SpokenVoice) -> float:
        power = np.abs(np.fft.rfft(voice.samples)) ** 2
        hz = np.fft.rfftfreq(voice.samples.size, 1 / SAMPLE_RATE_HZ)
        return float(power[(hz > 2300) & (hz < 3300)].sum() / power[(hz > 300) & (hz < 1000)].sum())

    assert ring(voice_of(0.9, 0.0)) > 2 * ring(voice_of(-0.9, 0.0))


def test_a_spoken_clip_is_the_same_every_time_and_another_seed_says_something_else() -> None:
    one, same, other = (
        make_clip(make_identity(1, 0), seed, seconds=4.0, size_px=40, spoken=True) for seed in (5, 5, 6)
    )
    assert one.words == same.words and np.array_equal(one.samples, same.samples) and one.states == same.states
    assert one.espeak == same.espeak is not None
    assert one.words != other.words


def test_that_clips_can_speak_changes_nothing_of_those_that_do_not() -> None:
    silent, spoken = (clip_path(7, 5.0, spoken=way) for way in (False, True))
    assert silent.words is None and spoken.words is not None
    for name in ("truth", "face", "voice"):
        assert np.array_equal(getattr(silent, name), getattr(spoken, name))
    identity = make_identity(2, 0)
    clip = make_clip(identity, 7, seconds=5.0, size_px=40)
    sound = np.random.default_rng(np.random.SeedSequence([7, 2]).spawn(3)[1])
    assert np.array_equal(clip.samples, synthesise_voice(identity.voice, silent.voice, sound).samples)
    assert clip.words == () and clip.espeak is None


def test_words_bring_a_share_of_the_truth_that_face_and_voice_do_not() -> None:
    paths = [clip_path(seed, 24.0, spoken=True) for seed in range(24)]
    ideal = ideal_ccc(paths[:16], paths[16:], context_s=1.0)
    assert 0.03 < np.mean(ideal["all"]) - np.mean(ideal["both"]) < 0.06
    assert ideal["words"][0] > ideal["words"][1] + 0.05
    without = ideal_ccc([clip_path(seed, 24.0) for seed in range(2)], [clip_path(2, 24.0)])
    assert set(without) == {"face", "voice", "both"}


def test_all_words_are_plain_and_in_the_recogniser_s_dictionary() -> None:
    assert 150 <= len(every_word()) <= 400
    assert all(set(word) <= set(string.ascii_lowercase) for word in every_word())
    pocketsphinx = pytest.importorskip("pocketsphinx")
    dictionary = Path(pocketsphinx.__file__).parent / "model" / "en-us" / "cmudict-en-us.dict"
    known = {line.split()[0] for line in dictionary.read_text(encoding="utf-8").splitlines() if line.strip()}
    assert [word for word in every_word() if word not in known] == []


def test_a_spoken_corpus_has_transcripts_and_their_hashes_and_one_that_does_not_speak_tells_of_neither(
    tmp_path: Path,
) -> None:
    pytest.importorskip("gi")
    shape = {"seed": 3, "train": 1, "validation": 0, "test": 1, "seconds": 3.0, "size_px": 40, "progress": False}
    root = tmp_path / "spoken"
    make_corpus(root, **shape, spoken=True)  # type: ignore[arg-type]
    record = json.loads((root / "corpus.json").read_text())
    for clip in record["clips"]:
        assert f"transcripts/{clip['name']}.words.json" in clip["sha256"] and clip["espeak_ng"]
    (video,) = Corpus.open(root).videos("test")
    assert video.words_path == root / "transcripts" / f"{video.name}.words.json"
    words = read_transcript(video.words_path)
    assert len(words) == record["clips"][1]["words"] > 3 and words[0].text[0].isupper()

    before = video.words_path.read_bytes()
    video.words_path.unlink()
    make_corpus(root, **shape, spoken=True)  # type: ignore[arg-type]
    assert video.words_path.read_bytes() == before
    with pytest.raises(UsageError, match="already holds another corpus"):
        make_corpus(root, **shape)  # type: ignore[arg-type]

    make_corpus(tmp_path / "silent", **shape)  # type: ignore[arg-type]
    silent = (tmp_path / "silent" / "corpus.json").read_text()
    assert "spoken" not in silent and "words" not in silent and "espeak" not in silent
    assert not (tmp_path / "silent" / "transcripts").exists()


def test_without_espeak_ng_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = io.BytesIO()
    monkeypatch.setattr(espeak, "LIBRARIES", ("libnothing-of-this-name.so",))
    assert espeak.serve("en-us", io.BytesIO(), told) == 1
    stand_in = tmp_path / "espeak.py"
    stand_in.write_text(f"import sys; sys.stdout.buffer.write({told.getvalue()!r})")
    monkeypatch.setattr(speech.espeak, "__file__", str(stand_in))
    with pytest.raises(MissingDependency, match="sudo apt-get install espeak-ng"), Speaker("en-us"):
        pass
    stand_in.write_text("import os; os.abort()")
    with pytest.raises(MissingDependency, match="crashed"), Speaker("en-us"):
        pass
