"""Published weights of other programs, read without executing anything in them, as checkpoints of ours.

Data order: `pickles`, `reading` (a file → named tensors) → `forms` (what a documented file holds, one module of them
for each system) → `translation` (their tensors → ours) → `importer` (files → a network or a part of one).
"""

from .forms import Dead, Form
from .importer import FORMS, Imported, import_files
from .reading import SourceFile, read_source
from .translation import Dropped, SourceReport

__all__ = [
    "FORMS",
    "Dead",
    "Dropped",
    "Form",
    "Imported",
    "SourceFile",
    "SourceReport",
    "import_files",
    "read_source",
]
