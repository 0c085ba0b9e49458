"""Published weights of other programs, read without executing anything in them, as checkpoints of ours.

Data order: `pickles`, `reading` (a file → named tensors) → `forms` (what a documented file holds, one module of them
for each system) → `translation` (their tensors → ours) → `importer` (files → a network or a part of one).
`bert_directory` and `text` put a local BERT into a network that takes words.
"""

from .forms import Dead, Form
from .importer import FORMS, Imported, import_files
from .reading import SourceFile, read_source
from .text import TextSource, import_text, read_text
from .translation import Dropped, SourceReport

__all__ = [
    "FORMS",
    "Dead",
    "Dropped",
    "Form",
    "Imported",
    "SourceFile",
    "SourceReport",
    "TextSource",
    "import_files",
    "import_text",
    "read_source",
    "read_text",
]
