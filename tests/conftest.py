"""Lets every test import the stand-ins of `tests/doubles`: `from doubles.tiny_bundle import make_tiny_bundle`."""

import signal
import sys
from pathlib import Path

from affectrt.runtime.sources.gst import bind_unwinder

sys.path.insert(0, str(Path(__file__).parent))

# Some of them use GStreamer without affectrt; see there why it must not come first.
bind_unwinder()

# A process that was started in the background ignores Ctrl-C, and what it starts does too: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
