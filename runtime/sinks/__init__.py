"""Sinks: what becomes of estimates. A file is valid at any moment, also after a kill."""

from .base import SCHEMA, SCHEMA_VERSION, FrameSink, Header, ReaderGone, Sink
from .csv import CsvSink
from .jsonl import JsonLinesSink
from .opening import open_sink, open_sinks
from .overlay import OverlaySink

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "CsvSink",
    "FrameSink",
    "Header",
    "JsonLinesSink",
    "OverlaySink",
    "ReaderGone",
    "Sink",
    "open_sink",
    "open_sinks",
]
