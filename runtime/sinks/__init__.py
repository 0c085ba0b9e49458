"""Sinks: what becomes of estimates. Files are appended line by line and are valid at any moment."""

from .base import SCHEMA, SCHEMA_VERSION, Header, ReaderGone, Sink
from .csv import CsvSink
from .jsonl import JsonLinesSink
from .opening import open_sink, open_sinks

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "CsvSink",
    "Header",
    "JsonLinesSink",
    "ReaderGone",
    "Sink",
    "open_sink",
    "open_sinks",
]
