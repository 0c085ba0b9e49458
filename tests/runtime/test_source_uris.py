"""What people type for a source, also what hostile ones type: understood or refused, and never a secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectrt.bundle.errors import UsageError
from affectrt.runtime.sources import parse_source
from affectrt.runtime.sources.uri import redacted

TABLE = [
    # typed, kind, location, shown
    ("clip.mp4", "file", "clip.mp4", "clip.mp4"),
    ("some where/clip.mp4", "file", "some where/clip.mp4", "clip.mp4"),
    ("file:///some%20where/clip.mp4", "file", "/some where/clip.mp4", "clip.mp4"),
    ("file://localhost/clip.mp4", "file", "/clip.mp4", "clip.mp4"),
    ("v4l2:///dev/video0", "v4l2", "/dev/video0", "v4l2:///dev/video0"),
    ("v4l2:///dev/video0?width=640&fps=15", "v4l2", "/dev/video0", "v4l2:///dev/video0?width=640&fps=15"),
    ("csi://0", "csi", "0", "csi://0"),
    ("pulse://", "pulse", "", "pulse://"),
    ("pulse://default", "pulse", "default", "pulse://default"),
    ("pulse://alsa_input.usb-0.mono", "pulse", "alsa_input.usb-0.mono", "pulse://alsa_input.usb-0.mono"),
    ("alsa://hw:1,0", "alsa", "hw:1,0", "alsa://hw:1,0"),
    ("rtsp://cam/1", "rtsp", "rtsp://cam/1", "rtsp://cam/1"),
    ("RTSPS://Cam:322/1", "rtsp", "rtsps://cam:322/1", "rtsps://cam:322/1"),
    ("http://[::1]:8080/live.m3u8", "http", "http://[::1]:8080/live.m3u8", "http://[::1]:8080/live.m3u8"),
    ("https://host/a?token=geheim", "http", "https://host/a?token=geheim", "https://host/a?…"),
    ("test://", "test", "", "test://"),
    ("test://ball?fps=10&duration=1.5&audio=silence", "test", "ball", "test://ball?fps=10&duration=1.5&audio=silence"),
]


@pytest.mark.parametrize(("typed", "kind", "location", "shown"), TABLE)
def test_each_form_is_understood(typed: str, kind: str, location: str, shown: str) -> None:
    (source,) = parse_source(typed)
    assert (source.kind, source.location, source.public) == (kind, location, shown)


@pytest.mark.parametrize(
    ("typed", "kinds"),
    [
        ("v4l2:///dev/video0+pulse://default", ("v4l2", "pulse")),
        ("csi://0+alsa://hw:1,0", ("csi", "alsa")),
        ("rtsp://u:p@cam/1+pulse://", ("rtsp", "pulse")),
        ("test://?flash=1+test://?flash=1", ("test", "test")),
    ],
)
def test_a_pair_is_pictures_then_sound(typed: str, kinds: tuple[str, str]) -> None:
    assert tuple(source.kind for source in parse_source(typed)) == kinds


@pytest.mark.parametrize("name", ["a+b.mp4", "rtsp:", "x+pulse:"])
def test_what_exists_is_a_file_whatever_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name / "default" if name.endswith(":") else tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    typed = f"{name}//default" if name.endswith(":") else name
    assert [source.kind for source in parse_source(typed)] == ["file"]


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "a\0b",
        "ftp://host/x",
        "v4l2://0",
        "v4l2://",
        "csi://front",
        "csi://-1",
        "rtsp://",
        "rtsp:///x",
        "rtsp://host:99999/",
        "rtsp://host:port/",
        "http://[::1",
        "rtsp://host/a b",
        "rtsp://host/\r\nX: y",
        "file://elsewhere/x",
        "test://nonsense",
        "test://?width=0",
        "test://?width=99999",
        "test://?fps=-1",
        "test://?duration=nan",
        "test://?duration=1e9999",
        "test://?audio=loud",
        "test://?colour=red",
        "test://?width=1&width=2",
        "v4l2:///dev/video0?device=/dev/video1",
        "pulse://+v4l2:///dev/video0",
        "pulse://+pulse://",
        "clip.mp4+pulse://",
        "v4l2:///dev/video0+csi://0",
        "test://+test://+test://",
    ],
)
def test_what_is_not_understood_is_refused_with_what_would_be(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_source(typed)
    assert refused.value.expected or refused.value.fix


@pytest.mark.parametrize(
    "typed",
    [
        "rtsp://user:hunter2@cam/1",
        "rtsp://user:hunter2@cam:port/1",
        "rtsp://user:hunt/hunter2@cam/1",
        "rtsp://user:12/hunter2@cam/1",
        "rtsp://user:hunter2@",
        "rtsp://user:hunter2@cam/a b",
        "ftp://user:hunter2@cam/1",
        "rtsp://user:hunter2+rtsp://x@cam/1",
        "rtsp://us:hunter2@cam/1+file:///x",
        "pulse://+rtsp://user:hunter2@cam/1",
        "http://cam/1?token=hunter2",
        "http://cam:port/1?token=hunter2",
        "test://+test://+rtsp://user:hunter2@cam",
        "rtsp://[user:hunter2@cam/1",
    ],
)
def test_no_secret_is_shown_whether_it_is_understood_or_not(typed: str) -> None:
    try:
        sources = parse_source(typed)
    except UsageError as refused:
        assert "hunter2" not in str(refused) and refused.__suppress_context__ is not None
    else:
        assert "hunter2" not in repr(sources) + "".join(source.public for source in sources)


def test_secrets_vanish_from_foreign_texts() -> None:
    (source,) = parse_source("rtsp://user:p%40ss%20w@cam/1?token=geheim")
    assert (source.user, source.password) == ("user", "p@ss w")
    text = source.hide("could not open rtsp://user:p%40ss%20w@cam/1?token=geheim (p@ss w), session token=geheim")
    assert "p@ss" not in text and "p%40" not in text and "geheim" not in text
    assert redacted("see http://a:b@host/x?y=z and more") == "see http://…@host/x?… and more"


def test_user_and_password_are_no_part_of_what_is_opened() -> None:
    (source,) = parse_source("rtsp://user:hunter2@cam:8554/live")
    assert source.location == "rtsp://cam:8554/live"
