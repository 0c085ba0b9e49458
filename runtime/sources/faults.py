"""Why a live pipeline cannot go on, and whether it is of use to try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affectrt.bundle.errors import AffectError, MediaError

from .messages import error_from_message
from .uri import SourceUri

__all__ = ["Fault", "fault_from_message"]

_RESOURCE, _STREAM, _CORE = "gst-resource-error-quark", "gst-stream-error-quark", "gst-core-error-quark"
_NOT_FOUND, _NOT_AUTHORISED = 3, 15  # GstResourceError
_UNREADABLE = {(_STREAM, code) for code in (4, 5, 6, 9)} | {(_CORE, 12)}  # other kinds, no codec, no plug-in
_NO_PLUGIN = {(_STREAM, 6), (_CORE, 12)}
_LOCAL = {"v4l2", "csi", "pulse", "alsa", "test", "file"}
_REFUSED = "user and password are not accepted"


@dataclass(frozen=True)
class Fault:
    """`reason` is fit to be shown. `final`: at the first connection there is no use in trying again, and `error` is
    what is told then. `transport`: a network camera may only speak over another one.
    """

    reason: str
    final: bool = False
    error: AffectError | None = None
    transport: bool = False


def fault_from_message(message: Any, sources: Sequence[SourceUri], missing: Sequence[str]) -> Fault:
    """What a fatal message of GStreamer means. `missing` are decoders that lack, in words."""
    error, _debug = message.parse_error()
    kind = (error.domain, error.code)
    name = "+".join(source.public for source in sources)
    text = str(error.message)
    for source in sources:
        text = source.hide(text)
    if missing or kind in _UNREADABLE:
        told = error_from_message(message, name, missing) if missing or kind not in _NO_PLUGIN else _no_media(name)
        transport = not missing and any(source.kind == "rtsp" for source in sources)
        return Fault(told.found, final=True, error=told, transport=transport)
    if kind == (_RESOURCE, _NOT_AUTHORISED):
        told = MediaError(f"{name}: {_REFUSED}", fix="write them into the URI: rtsp://user:password@host/path")
        return Fault(_REFUSED, final=True, error=told)
    local = all(source.kind in _LOCAL for source in sources)
    if kind == (_RESOURCE, _NOT_FOUND) or local:
        told = MediaError(f"{name} cannot be opened: {text}", expected="a source that is there", fix=_fix(sources))
        return Fault(text, final=True, error=told)
    return Fault(text)


def _no_media(name: str) -> MediaError:
    return MediaError(f"{name} is neither audio nor video of a kind that GStreamer knows", expected="a media stream")


def _fix(sources: Sequence[SourceUri]) -> str | None:
    kinds = [source.kind for source in sources]
    lists = {
        "v4l2": "v4l2-ctl --list-devices",
        "pulse": "pactl list short sources",
        "alsa": "arecord -l",
    }
    commands = [lists[kind] for kind in kinds if kind in lists]
    return f"see what there is: {'; '.join(commands)}" if commands else None
