"""The report: nothing from outside, every number as given, and no crash on what a poor run leaves behind."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from affectrt.benchmarks.demo_result import Curve, DemoResult, PrecisionRun, Still, headline
from affectrt.benchmarks.figures import figure_png
from affectrt.benchmarks.report import report_html, write_report

STEPS, STEP_HZ = 600, 25.0


def curve(scale: float) -> Curve:
    t = np.arange(STEPS) / STEP_HZ
    return Curve(t, scale * np.sin(t / 3), scale * np.cos(t / 2))


def run(precision: str, valence: float, arousal: float, *, wall_s: float = 1.2) -> PrecisionRun:
    seconds = {"decode": 0.3, "align": 0.12, "video": 0.6, "audio": 0.24, "fusion": 0.06, "sink": 0.012}
    ccc = {"valence": valence, "arousal": arousal}
    plan = {"video": precision, "audio": precision, "fusion": "fp32"}
    return PrecisionRun(precision, curve(0.6 if precision == "fp32" else 0.59), ccc, wall_s, seconds, plan, 4_200_000)


@pytest.fixture
def result() -> DemoResult:
    stills = tuple(Still(k * 6.0, np.full((48, 64, 3), 60 * k, np.uint8)) for k in range(4))
    runs = (run("fp32", 0.8714, 0.8127), run("int8", 0.8671, 0.8104, wall_s=0.7))
    facts = {"Bundle": {"fingerprint": "9f86d0" * 10, "<name>": "a & b"}, "Machine": {"CPU": "8086, 1 core"}}
    return DemoResult("clip.mp4", 24.0, STEP_HZ, curve(0.7), runs, stills, warm_up_s=5.0, facts=facts)


def svgs(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, flags=re.S)


def test_page_needs_nothing_from_outside(result: DemoResult) -> None:
    page = report_html(result)
    resources = re.findall(r"""(?:src|href|data|action|poster)\s*=\s*["']([^"']*)""", page)
    assert resources
    assert all(r.startswith(("data:image/jpeg;base64,", "#")) for r in resources)
    assert not re.search(r"@import|<script|<link|<iframe|url\((?!#)", page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert len(page) < 400_000


def test_every_tag_that_opens_closes(result: DemoResult) -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, _attrs: object) -> None:
            if tag not in {"meta", "img", "br"}:
                self.open.append(tag)

        def handle_startendtag(self, tag: str, _attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(report_html(result))
    parser.close()
    assert parser.open == []


def test_figures_are_valid_svg_in_the_pages_colours(result: DemoResult) -> None:
    page = report_html(result)
    figures = [ElementTree.fromstring(svg) for svg in svgs(page)]
    titles = [node.findtext("{http://www.w3.org/2000/svg}title") or "" for node in figures]
    for words in ("over time", "plane", "Work per step"):
        assert any(words in title for title in titles)
    drawn = "".join(svgs(page))
    used = set(re.findall(r"var\(--([a-z-]+)\)", drawn))
    assert {"truth", "first", "second", "shade", "video", "audio", "fusion"} <= used
    assert "#fe" not in drawn, "a marker colour was left in"
    assert used <= set(re.findall(r"--([a-z-]+):", page))


def test_ids_of_the_figures_of_one_kind_stay_within_it(result: DemoResult) -> None:
    for svg in svgs(report_html(result)):
        given = set(re.findall(r'\bid="([^"]+)"', svg))
        wanted = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
        assert wanted <= given


def test_numbers_in_the_tables_are_the_results(result: DemoResult) -> None:
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r) for r in re.findall(r"<tr.*?</tr>", report_html(result))]
    cells = {re.sub(r"<[^>]+>", "", row[0]): [re.sub(r"<[^>]+>", "", c) for c in row[1:]] for row in rows}
    assert cells["valence"] == ["0.871", "0.867", "−0.004"]
    assert cells["arousal"] == ["0.813", "0.810", "−0.002"]
    assert cells["waiting for the decoder"] == ["0.50", "0.50"]
    assert cells["video encoder"] == ["1.00 fp32", "1.00 int8"]
    assert cells["all parts"] == ["2.22", "2.22"]
    assert cells["on the clock"] == ["2.00", "1.17"]
    assert cells["× real time"] == ["20.0", "34.3"]


def test_what_must_be_said_is_said(result: DemoResult) -> None:
    page = report_html(result)
    for words in ("Drawn faces, synthetic voice", "nothing about how well", "not a reading of what someone feels"):
        assert words in page
    for words in ("at work or in education", "1 is perfect agreement", "warming up"):
        assert words in page
    assert "&lt;name&gt;" in page
    assert "a &amp; b" in page


@pytest.mark.parametrize(
    ("valence", "arousal", "words"),
    [
        (0.91, 0.85, "followed valence and arousal closely (CCC 0.91 and 0.85)"),
        (0.86, 0.31, "followed valence closely (CCC 0.86) and followed arousal loosely (CCC 0.31)"),
        (0.02, -0.1, "did not follow valence and arousal (CCC 0.02 and −0.10)"),
        (float("nan"), 0.6, "did not follow valence (CCC –) and followed arousal (CCC 0.60)"),
    ],
)
def test_headline_does_not_flatter(result: DemoResult, valence: float, arousal: float, words: str) -> None:
    assert words in headline(replace(result, runs=(run("fp32", valence, arousal),)))


def test_headline_tells_slowness_and_loss(result: DemoResult) -> None:
    slow = replace(result, runs=(run("fp32", 0.8, 0.8), run("int8", 0.7, 0.8, wall_s=48.0)))
    assert "at 0.5× real time in INT8, which lost 0.100 of CCC" in headline(slow)
    assert "lost nothing" in headline(replace(result, runs=(run("fp32", 0.8, 0.8), run("int8", 0.82, 0.81))))


def test_holes_and_undefined_numbers_are_shown_as_such(result: DemoResult) -> None:
    nothing = np.full(STEPS, np.nan)
    holed = curve(0.5)
    holed.valence[100:200] = np.nan
    blind = replace(run("fp32", float("nan"), 0.5), curve=Curve(holed.t_s, holed.valence, nothing))
    page = report_html(replace(result, runs=(blind, run("int8", 0.4, 0.5)), stills=()))
    assert "nan" not in "".join(svgs(page)).lower()
    assert "<td>–</td>" in page
    assert "Largest difference between INT8 and FP32 in any one estimate: valence 0.090, arousal –." in page


def test_one_run_and_long_names_make_a_page_too(result: DemoResult) -> None:
    long = replace(result, clip="clip-" + 300 * "x", runs=result.runs[:1], facts={"Bundle": {"name": 200 * "n"}})
    page = report_html(long)
    assert "INT8 −" not in page
    assert "overflow-wrap: anywhere" in page
    with pytest.raises(ValueError, match="at least one run"):
        report_html(replace(result, runs=()))


def test_long_clips_are_thinned_not_dropped(result: DemoResult) -> None:
    t = np.arange(100_000) / STEP_HZ
    wave = Curve(t, np.sin(t), np.cos(t))
    long = replace(result, clip_s=4000.0, truth=wave, runs=(replace(result.runs[0], curve=wave),))
    assert len(report_html(long)) < 500_000


def test_page_is_written_whole_or_not_at_all(result: DemoResult, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = write_report(result, tmp_path / "report.html")
    before = path.read_text(encoding="utf-8")
    assert before == report_html(result), "the page must not change from one drawing to the next"

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(replace(result, clip="other"), path)
    assert path.read_text(encoding="utf-8") == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_picture_for_the_readme_is_small(result: DemoResult) -> None:
    content = figure_png(result)
    assert len(content) < 200_000
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 1280
    assert picture.min() < 60 < picture.max()
