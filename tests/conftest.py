"""Lets every test import the stand-ins of `tests/doubles`: `from doubles.tiny_bundle import make_tiny_bundle`."""

import sys
from pathlib import Path

from affectrt.runtime.sources.gst import bind_unwinder

sys.path.insert(0, str(Path(__file__).parent))

# Some of them use GStreamer without affectrt; see there why it must not come first.
bind_unwinder()
