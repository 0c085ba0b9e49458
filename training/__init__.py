"""Corpora, the loss and the metrics, training and evaluation.

`corpus` reads what `synthetic` makes, and Aff-Wild2 itself. Importing this room loads neither torch nor GStreamer:
the modules that train import torch themselves, and `synthetic` imports GStreamer when it writes a file.
"""

from .corpus import Corpus, CorpusVideo

__all__ = ["Corpus", "CorpusVideo"]
