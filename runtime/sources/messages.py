"""What GStreamer says of a broken input, in words that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectrt.bundle.errors import AffectError, MediaError, MissingDependency

from .gst import gst

__all__ = [
    "DECODERS_LINE",
    "error_from_message",
    "missing_decoder_from_message",
    "no_decoder",
    "no_streams",
    "sentence_from_message",
]

# libav decodes H.264, H.265, AAC, MPEG-2, MPEG-4 and much more; bad holds the rest that is free.
DECODERS_LINE = "sudo apt install gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"

_STREAM = "gst-stream-error-quark"
_CORE = "gst-core-error-quark"
_TYPE_NOT_FOUND, _WRONG_TYPE, _CODEC_NOT_FOUND, _DEMUX = 4, 5, 6, 9  # GstStreamError
_MISSING_PLUGIN = 12  # GstCoreError
_NO_DECODER = {(_CORE, _MISSING_PLUGIN), (_STREAM, _CODEC_NOT_FOUND)}


def error_from_message(message: Any, name: str, missing: Sequence[str]) -> AffectError:
    """The error for a fatal message that came before any media; `missing` are decoders named by earlier messages."""
    error, _debug = message.parse_error()
    kind = (error.domain, error.code)
    if missing or kind in _NO_DECODER:
        return no_decoder(name, missing or [str(error.message)])
    if kind in {(_STREAM, _TYPE_NOT_FOUND), (_STREAM, _WRONG_TYPE)}:
        return MediaError(
            f"{name} is not audio or video of a kind that GStreamer knows",
            expected="a media file such as MP4, MKV, WebM or WAV",
            fix=f"look at it with: file {name}",
        )
    if kind == (_STREAM, _DEMUX):
        return no_streams(name)
    return MediaError(f"{name} cannot be read: {error.message}", expected="a media file such as MP4, MKV, WebM or WAV")


def no_streams(name: str) -> MediaError:
    return MediaError(
        f"{name} has no playable streams: it is damaged, or an MP4 that was cut off before its index was written",
        expected="a whole media file",
        fix="copy it again from where it came from; record to MKV or fragmented MP4, which survive a cut",
    )


def no_decoder(name: str, missing: Sequence[str]) -> MissingDependency:
    return MissingDependency(
        f"{name} cannot be decoded, GStreamer has no plugin for it: {', '.join(missing)}",
        expected="a decoder for each stream that the model uses",
        fix=DECODERS_LINE,
    )


def missing_decoder_from_message(message: Any) -> tuple[str, str] | None:
    """(video or audio, the decoder in words) that an element message misses; None for every other message.

    GStreamer only says this and goes on without the stream, as if all were well.
    """
    from gi.repository import GstPbutils

    if message.type != gst().MessageType.ELEMENT or not GstPbutils.is_missing_plugin_message(message):
        return None
    caps = message.get_structure().get_value("detail")
    media_type = caps.get_structure(0).get_name() if hasattr(caps, "get_structure") else ""
    kind = media_type.split("/")[0].replace("image", "video")
    if kind not in {"video", "audio"}:
        return None
    return kind, str(GstPbutils.missing_plugin_message_get_description(message))


def sentence_from_message(message: Any) -> str:
    """The text of a WARNING or ERROR message; empty for a warning that only repeats that a decoder is missing."""
    lib = gst()
    parse = message.parse_error if message.type == lib.MessageType.ERROR else message.parse_warning
    error, _debug = parse()
    if message.type == lib.MessageType.WARNING and (error.domain, error.code) in _NO_DECODER:
        return ""
    return str(error.message)
