"""Published weights of other programs, read without executing anything in them, as checkpoints of ours.

Data order: `pickles`, `reading` (a file → named tensors) → `forms` (what a documented file holds, one module of them
for each system) → `importer` (files → a network or a part of one, with its provenance).
"""

from .forms import Dead, Form
from .importer import FORMS, Imported, SourceReport, import_files
from .reading import SourceFile, read_source

__all__ = ["FORMS", "Dead", "Form", "Imported", "SourceFile", "SourceReport", "import_files", "read_source"]
