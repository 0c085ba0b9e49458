"""Lets every test import the stand-ins of `tests/doubles`: `from doubles.tiny_bundle import make_tiny_bundle`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
