"""The page about an evaluation holds its figures, draws every video, and trusts no name."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from affectrt.bundle import Interval
from affectrt.training.evaluation import Agreement, Evaluation, Examination, Played, VideoScore
from affectrt.training.evaluation_figure import POINTS, series_svg, thinned
from affectrt.training.evaluation_report import letters, page

HOSTILE = "<script>alert('x')</script>&\"clip"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def _examination(modalities: tuple[str, ...], windows: str = "stream", name: str = HOSTILE) -> Examination:
    both = {"valence": Interval(value=0.8125, low=0.7, high=0.9), "arousal": Interval(value=0.25)}
    plain = {"valence": 0.8125, "arousal": float("nan")}
    evaluation = Evaluation(
        corpus=HOSTILE,
        split="test",
        modalities=modalities,
        hop_steps=16,
        described_steps=1,
        precision="fp32",
        backend="torch",
        ccc=both,
        videos=(VideoScore(name, HOSTILE, 50, 40, plain, plain, plain),),
        windows=windows,  # type: ignore[arg-type]
        rmse=both,
        pearson=both,
        author={"ccc_author_rcma": {"valence": 0.811, "arousal": 0.249}},
    )
    return Examination(evaluation, (_played(50, name),))


def _played(rows: int, name: str = "clip") -> Played:
    truth = np.stack([np.linspace(-1, 1, rows), np.zeros(rows)], axis=1)
    estimates = truth * 0.5
    estimates[10:15] = np.nan
    return Played(name, estimates, estimates, truth, np.arange(rows) / 25, np.arange(rows))


def test_no_name_becomes_markup_and_nothing_is_loaded_from_elsewhere() -> None:
    text = page([_examination(("video", "audio"))], [Agreement(("video",), 1.0, 3, 0, HOSTILE)], HOSTILE)
    tags = Tags(text).seen
    assert not [tag for tag, _ in tags if tag in {"script", "img", "link", "iframe"}]
    assert not [value for _, attrs in tags for key, value in attrs.items() if key in {"src", "href"}]
    assert HOSTILE not in text and "&lt;script&gt;" in text
    assert len([tag for tag, _ in tags if tag == "svg"]) == 1


def test_the_page_has_a_row_for_every_set_of_modalities_under_each_rule() -> None:
    sets = [("video", "audio", "text"), ("video",), ("audio",), ("text",), ("video", "audio"), ("audio", "text")]
    both = [_examination(m, w, "clip") for w in ("stream", "offline") for m in [*sets, ("video", "text")]]
    text = page(both, [Agreement(("video",), 3e-7, 50, 0, "clip")], "model")
    for name in ("AVT", "V", "A", "T", "AV", "AT", "VT"):
        rows = 5 if name == "V" else 4  # under both rules, of CCC and of the authors' metrics; V agrees
        assert text.count(f"<td>{name}</td>") == rows, name
    assert "0.812 [0.700, 0.900]" in text and "They agree" in text and "nan" not in text.lower().replace("nance", "")
    assert "no measure of agreement" in text, "what is wrong with the authors' metric is said"
    assert letters(("text", "video")) == "VT"


def test_windows_that_do_not_agree_are_warned_of() -> None:
    text = page([_examination(("video",))], [Agreement(("video",), 3e-3, 50, 0, "clip")], "model")
    assert "They do not agree" in text and "3.00e-03" in text


def test_a_curve_breaks_where_there_is_no_estimate_and_lies_where_its_values_do() -> None:
    svg = series_svg(_played(50), ("valence", "arousal"))
    truth, estimate = re.findall(r'class="(?:truth|estimate)" d="([^"]*)"', svg)[:2]
    assert truth.count("M") == 1 and truth.count("L") == 49
    assert estimate.count("M") == 2 and estimate.count("L") == 43
    numbers = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", truth)]
    assert numbers[0] - numbers[-1] == 120 and min(numbers) == 16  # −1 at the bottom, 1 on top
    first = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", estimate)]
    assert first[0] - first[-1] == 60


def test_a_long_series_is_drawn_as_means() -> None:
    values = np.arange(10 * POINTS + 5, dtype=np.float64)
    values[:11] = np.nan
    times, means = thinned(np.arange(len(values)) / 25, values)
    assert len(means) <= POINTS and np.isnan(means[0]) and means[-1] == values[-(len(values) % 11) :].mean()
    assert times[1] == np.arange(11, 22).mean() / 25
