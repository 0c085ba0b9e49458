"""Sources: where audio and video come from, as chunks on media time."""

from .base import (
    AudioChunk,
    Event,
    Gap,
    LiveSource,
    Note,
    Outcome,
    Source,
    StreamEnd,
    VideoChunk,
    VideoWish,
    WordsChunk,
)
from .explain import explain
from .file import FileSource
from .live import GstLiveSource
from .memory import MemorySource
from .opening import open_source
from .reconnect import Reconnect
from .uri import SourceUri, parse_source

__all__ = [
    "AudioChunk",
    "Event",
    "FileSource",
    "Gap",
    "GstLiveSource",
    "LiveSource",
    "MemorySource",
    "Note",
    "Outcome",
    "Reconnect",
    "Source",
    "SourceUri",
    "StreamEnd",
    "VideoChunk",
    "VideoWish",
    "WordsChunk",
    "explain",
    "open_source",
    "parse_source",
]
