"""Spoken words: transcripts and recognisers, sentences, and the pieces that a text encoder takes."""

from .word import Word, WordsChunk

__all__ = ["Word", "WordsChunk"]
