"""What a picture of the overlay shows: boxes, the plane, curves, and what is uncertain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.overlay_case import FACE, GREY, HEADER, HZ, SIZE, estimate, frame, near, play, read

from affectrt.runtime.sinks import OverlaySink
from affectrt.runtime.sinks.overlay_layout import BACKGROUND, colour_of
from affectrt.runtime.sinks.overlay_picture import OverlayPicture


def test_the_box_and_the_dot_stand_where_they_should_in_the_track_s_colour(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mkv"
    with OverlaySink(path) as sink:
        play(sink, 50)
    picture = OverlayPicture(*SIZE, HEADER)
    shown = read(path)[0][20]
    left, _, right, bottom = (round(v) for v in FACE.box)
    for x, y in ((left, 120), (right - 1, 120), (150, bottom - 1)):
        assert near(shown[y, x], colour_of(0), 90), (x, y, shown[y, x])
    assert near(shown[120, 150], (GREY,) * 3, 12), "the face itself is not painted over"
    plane = picture.layout.plane
    x, y = round(plane.left + 0.75 * (plane.width - 1)), round(plane.top + 0.75 * (plane.height - 1))
    assert near(shown[y, x], colour_of(0)), shown[y, x]
    for valence, arousal in ((-0.5, 0.5), (0.5, 0.5), (-0.5, -0.5)):
        x, y = picture.in_plane(valence, arousal)
        assert near(shown[y, x], BACKGROUND), "there is one dot"


def test_the_plane_and_the_curves_have_valence_and_arousal_the_right_way_round() -> None:
    picture = OverlayPicture(*SIZE, HEADER)
    plane = picture.layout.plane
    assert picture.in_plane(-1, -1) == (plane.left, plane.bottom - 1)
    assert picture.in_plane(1, 1) == (plane.right - 1, plane.top)
    assert picture.in_plane(1, -1) == (plane.right - 1, plane.bottom - 1)
    assert picture.in_plane(-1, 1) == (plane.left, plane.top)
    known = {0: [estimate(s, valence=0.9, arousal=-0.9) for s in range(100)]}
    drawn = picture.draw(frame(), 99 / HZ, [], known)
    for place, up in ((picture.layout.valence, True), (picture.layout.arousal, False)):
        curve = drawn[place.top : place.bottom, place.right - 3]
        rows = np.flatnonzero([near(pixel, colour_of(0), 60) for pixel in curve])
        assert len(rows) and (rows.max() < place.height / 3) == up and (rows.min() > 2 * place.height / 3) == (not up)
    # Ten seconds lie in the width: of four seconds the left half is empty.
    early = drawn[picture.layout.valence.top + 1 : picture.layout.valence.bottom - 1]
    left = early[:, picture.layout.valence.left + 2 : picture.layout.valence.left + picture.layout.valence.width // 2]
    assert not any(near(pixel, colour_of(0), 60) for pixel in left.reshape(-1, 3))


def test_each_track_has_a_colour_of_its_own_and_gaps_are_not_bridged() -> None:
    colours = [colour_of(track) for track in range(-1, 6)]
    assert len(set(colours)) == 7
    apart = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(apart) > 60
    picture = OverlayPicture(*SIZE, HEADER)
    known = {1: [estimate(s, track=1, valence=0.0) for s in (*range(50), *range(150, 200))]}
    drawn = picture.draw(frame(), 199 / HZ, [], known)
    place = picture.layout.valence
    strip = drawn[place.top + 2 : place.bottom - 2, place.left + 2 : place.right - 2]
    has = np.array([any(near(pixel, colour_of(1), 60) for pixel in strip[:, x]) for x in range(strip.shape[1])])
    at = np.linspace(-10, 0, len(has))  # seconds before now; estimates from -7.96 to -6 and from -1.96
    assert has[(at > -7.5) & (at < -6.3)].all() and has[at > -1.6].all() and not has[(at > -5.6) & (at < -2.4)].any()


def test_what_is_uncertain_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    picture = OverlayPicture(*SIZE, HEADER)
    monkeypatch.setattr(picture, "_write", lambda _canvas, lines, *_: words.extend(lines))

    def told(**changed: Any) -> list[str]:
        words.clear()
        picture.draw(frame(), 75.0, [FACE], {0: [estimate(75 * HZ, **changed)]})
        return list(words)

    assert told() == ["track 0  V +0.50  A -0.50", "1:15.0"]
    assert told(warming_up=True)[1] == "warming up"
    assert told(modalities=("video",))[1] == "no sound"
    assert told(modalities=("audio",), warming_up=True)[1] == "warming up, no face"
    assert told(arousal=None)[0] == "track 0  V +0.50"
    assert told(t_s=70.0)[:2] == ["track 0", "no estimate"], "an estimate of five seconds ago is not of now"
    words.clear()
    picture.draw(frame(), 75.0, [], {-1: [estimate(75 * HZ, track=-1, modalities=("audio",))]})
    assert words == ["1:15.0", "voice  V +0.50  A -0.50", "no face"]
