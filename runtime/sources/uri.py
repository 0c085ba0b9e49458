"""What a person types for a source, taken apart; credentials stay out of everything that is shown.

clip.mp4, file:///clip.mp4          a media file
v4l2:///dev/video0?width=1280       a camera of Video4Linux (width, height, fps)
csi://0?fps=30                      a camera on a Jetson's CSI connector, by sensor number (width, height, fps)
pulse://[device], alsa://[device]   a microphone: PulseAudio or PipeWire, ALSA; without a device the default one
rtsp://…, rtsps://…                 a network camera
http://…, https://…                 a stream or a file of a web server, HLS included
test://[pattern]                    made up here (width, height, fps, duration, audio, flash)
VIDEO+AUDIO                         pictures of one, sound of the other: v4l2:///dev/video0+pulse://
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from affectrt.bundle.errors import UsageError

__all__ = ["Kind", "SourceUri", "parse_source", "redacted"]

Kind = Literal["file", "v4l2", "csi", "pulse", "alsa", "rtsp", "http", "test"]

_KINDS: dict[str, Kind] = {
    "file": "file",
    "v4l2": "v4l2",
    "csi": "csi",
    "pulse": "pulse",
    "alsa": "alsa",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "http": "http",
    "https": "http",
    "test": "test",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.\-]*)://")
_PAIR = re.compile(rf"\+(?=(?:{'|'.join(_KINDS)})://)", re.IGNORECASE)
_PICTURE = ("width", "height", "fps")
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "v4l2": _PICTURE,
    "csi": _PICTURE,
    "test": (*_PICTURE, "duration", "audio", "flash"),
}
_PATTERNS = {"smpte", "smpte75", "snow", "black", "white", "blink", "ball", "bar", "circular", "pinwheel", "gradient"}
_TEST_AUDIO = ("tone", "ticks", "silence")
_LARGEST = {"width": 8192, "height": 8192, "fps": 240, "duration": 1e7, "flash": 3600}
# Everything between :// and the last @ of a word, and everything after a question mark.
_USERINFO = re.compile(r"(://)[^\s]*@")
_QUERY = re.compile(r"(://[^\s?]*)\?[^\s]*")
_FORMS = "a file, v4l2:///dev/video0, csi://0, pulse://, alsa://, rtsp://…, http://…, test://, or a pair VIDEO+AUDIO"


def redacted(text: str) -> str:
    """A text without what could be a user, a password or a token in the URLs in it."""
    return _QUERY.sub(r"\1?…", _USERINFO.sub(r"\1…@", text))


@dataclass(frozen=True)
class SourceUri:
    """One source. `location` is a path, a device ("" is the default one), a sensor number, a pattern, or a URL without
    user and password; `public` is what may be shown anywhere.
    """

    kind: Kind
    location: str = field(repr=False)
    public: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    def hide(self, text: str) -> str:
        """A foreign text, such as a message of GStreamer, without this source's secrets."""
        for secret in (self.user and self.password, self.password):
            if secret:
                for form in {secret, quote(secret, safe=""), quote(secret)}:
                    text = text.replace(form, "…")
        query = urlsplit(self.location).query if self.kind in {"rtsp", "http"} else ""
        return redacted(text.replace(query, "…") if query else text)


def parse_source(text: str | os.PathLike[str]) -> tuple[SourceUri, ...]:
    """One source, or a pair of which the first gives the pictures and the second the sound.

    What exists as a file is one, whatever its name looks like. UsageError for everything that is not understood; it
    repeats no secret.
    """
    if not isinstance(text, str):
        return (_file(os.fspath(text)),)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is not a source", expected=_FORMS)
    if os.path.exists(text):  # noqa: PTH110 - Path.exists raises for names that are too long
        return (_file(text),)
    parts = _PAIR.split(text)
    if len(parts) == 1:
        return (_one(text, redacted(text)),)
    if len(parts) > 2:
        raise UsageError(f"{redacted(text)} names {len(parts)} sources", expected="one, or a pair VIDEO+AUDIO")
    video, audio = (_one(part, redacted(text)) for part in parts)
    if video.kind in {"pulse", "alsa"} and audio.kind not in {"pulse", "alsa"}:
        raise UsageError(
            f"{video.public}+{audio.public} begins with the sound",
            expected="pictures first: VIDEO+AUDIO",
            fix=f"write {audio.public}+{video.public}",
        )
    if video.kind in {"pulse", "alsa", "file"} or audio.kind in {"file", "v4l2", "csi"}:
        raise UsageError(
            f"{video.public}+{audio.public} is no pair of pictures and sound",
            expected="a camera or stream, then a microphone or stream",
        )
    return video, audio


def _one(text: str, shown: str) -> SourceUri:
    """`shown` stands for everything that was typed: a part of it alone might be half a password."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _file(text)
    kind = _KINDS.get(scheme[1].lower())
    if kind is None:
        raise UsageError(f"{shown}: sources of kind {scheme[0]} are not supported", expected=_FORMS)
    if any(ord(c) < 33 or ord(c) == 127 for c in text) and kind != "file":
        raise UsageError(f"{shown!r} contains a space or control character", fix="percent-encode it")
    if kind not in {"file", "rtsp", "http"}:
        return _local(kind, text[scheme.end() :], scheme[1].lower())
    try:
        parts = urlsplit(text)
        port = parts.port  # ValueError for what is no number
    except ValueError:
        raise UsageError(
            f"{shown} is not a URL: its host or its port cannot be",
            expected="scheme://[user:password@]host[:port]/path",
            fix="percent-encode special characters in the user, the password and the path",
        ) from None
    if kind == "file":
        return _file_from_uri(parts, shown)
    return _remote(kind, parts, shown, port)


def _file(path: str) -> SourceUri:
    return SourceUri("file", path, public=os.path.basename(path) or path)  # noqa: PTH119 - as typed


def _file_from_uri(parts: SplitResult, shown: str) -> SourceUri:
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path or "\0" in path:
        raise UsageError(f"{shown} is no file of this machine", expected="file:///path")
    return _file(path)


def _remote(kind: Kind, parts: SplitResult, shown: str, port: int | None) -> SourceUri:
    if not parts.hostname:
        raise UsageError(f"{shown} names no host", expected=f"{parts.scheme}://host[:port]/path")
    if "@" in parts.path:
        # A password with an unescaped slash looks like this, and would end up in the path that is shown.
        raise UsageError(f"{shown} has an @ in its path", fix="write %40 for an @ and %2F for a / in a password")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{parts.scheme.lower()}://{host}{'' if port is None else f':{port}'}{parts.path}"
    return SourceUri(
        kind,
        place + (f"?{parts.query}" if parts.query else ""),
        public=place + ("?…" if parts.query else ""),
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _local(kind: Kind, rest: str, scheme: str) -> SourceUri:
    allowed = _OPTIONS.get(kind, ())
    place, _, query = rest.partition("?") if allowed else (rest, "", "")
    location = unquote(place)
    if kind == "v4l2" and not location.startswith("/"):
        raise UsageError(f"v4l2://{place} is not a device", expected="a path such as v4l2:///dev/video0")
    if kind == "csi" and not re.fullmatch(r"\d{0,2}", location):
        raise UsageError(f"csi://{place} is not a sensor", expected="a number such as csi://0")
    if kind == "test" and location and location not in _PATTERNS:
        raise UsageError(f"test://{place} is not a pattern", expected=f"one of {', '.join(sorted(_PATTERNS))}")
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(pairs) != len(options) or not set(options) <= set(allowed) or (query and not pairs):
        raise UsageError(
            f"{scheme}://{rest}: options are not understood", expected="?" + "&".join(f"{o}=…" for o in allowed)
        )
    for name, value in options.items():
        _check_option(f"{scheme}://{rest}", name, value)
    return SourceUri(kind, location, public=f"{scheme}://{rest}", options=options)


def _check_option(shown: str, name: str, value: str) -> None:
    if name == "audio":
        if value not in _TEST_AUDIO:
            raise UsageError(f"{shown}: audio={value}", expected=f"one of {', '.join(_TEST_AUDIO)}")
        return
    whole = name in _PICTURE
    pattern = r"[1-9]\d{0,4}" if whole else r"\d{1,8}(\.\d{1,6})?"
    if not re.fullmatch(pattern, value) or not 0 < float(value) <= _LARGEST[name]:
        unit = "" if whole else " seconds"
        raise UsageError(f"{shown}: {name}={value}", expected=f"a number up to {_LARGEST[name]:g}{unit}")
