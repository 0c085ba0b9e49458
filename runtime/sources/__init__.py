"""Sources: where audio and video come from, as chunks on media time."""

from .base import AudioChunk, Event, Gap, LiveSource, Note, Outcome, Source, StreamEnd, VideoChunk, VideoWish
from .file import FileSource
from .memory import MemorySource
from .opening import open_source

__all__ = [
    "AudioChunk",
    "Event",
    "FileSource",
    "Gap",
    "LiveSource",
    "MemorySource",
    "Note",
    "Outcome",
    "Source",
    "StreamEnd",
    "VideoChunk",
    "VideoWish",
    "open_source",
]
