"""Published files → a network, or a part of one, with everything that is known of its origin."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import save_checkpoint, save_part
from ..configuration import OUTPUTS, Config
from ..differences import listed
from ..errors import CheckpointError, ConfigError
from ..network import Network
from ..parts import PARTS
from ..systems import SYSTEMS
from .cav_forms import CAV_FORMS, CAV_REFUSED
from .forms import Form
from .rcma_forms import RCMA_FORMS
from .reading import SourceFile, read_source
from .translation import SourceReport, translate

__all__ = ["FORMS", "Imported", "import_files"]

FORMS: dict[str, Form] = {form.name: form for form in (*RCMA_FORMS, *CAV_FORMS)}

NO_LICENCE = "not stated in the files; ask whoever published them before any use"
USE = "Research on affect, within what the licence of the published weights allows"
LIMITS = "Published weights, read and renamed; affectrt has not measured how good they are."
TOLD = " Its output is called {} {}: the files do not say for which dimension they were trained."


@dataclass(frozen=True)
class Imported:
    """A whole network, where `part` is None, or one part's module; in evaluation mode, on the CPU.

    `read` are the fields of the configuration that the files' shapes told.
    """

    module: nn.Module
    system: str
    part: str | None
    config: Config
    read: dict[str, object]
    provenance: dict[str, Any]
    sources: tuple[SourceReport, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.part is not None:
            save_part(PARTS[self.part], self.module, self.config, path, self.provenance)
        else:
            assert isinstance(self.module, Network)
            save_checkpoint(self.module, path, self.provenance)


def import_files(
    paths: Sequence[str | os.PathLike[str]],
    *,
    form: str | None = None,
    output: str | None = None,
    licence: str | None = None,
) -> Imported:
    """Read one published file, or all that make up one network.

    `form` is a name in FORMS, for a single file; without it a file is recognised by its names. `output` is the
    dimension of a whole network, valence by default: the authors train one network for each and their files do not
    tell. Raises CheckpointError with everything that is wrong.
    """
    if output is not None and output not in OUTPUTS:
        raise CheckpointError(f"the output {output!r}", expected=" or ".join(OUTPUTS))
    if form is not None and (form not in FORMS or len(paths) != 1):
        raise CheckpointError(
            f"the form {form!r} for {len(paths)} files", expected=f"one file, and one of {', '.join(FORMS)}"
        )
    files = [read_source(path) for path in paths]
    forms = [_recognised(file) if form is None else FORMS[form] for file in files]
    # In one order, so that the same files in any order give the same checkpoint.
    order = sorted(range(len(files)), key=lambda i: list(FORMS).index(forms[i].name))
    files, forms = [files[i] for i in order], [forms[i] for i in order]
    part = _check_set(files, forms)
    fields = _fields(files, forms)
    config_type, network_type = SYSTEMS[forms[0].system]
    if len(files) > 1:
        with torch.device("meta"):
            _check_whole(files, forms, network_type(config_type()))
    dimension = output or OUTPUTS[0]
    told = dict(PARTS[part].alone) if part else {"outputs": (dimension,)}
    try:
        config = config_type.from_dict({**config_type().to_dict(), **told, **fields})
    except ConfigError as error:
        names = ", ".join(file.name for file in files)
        raise CheckpointError(f"the shapes in {names} describe no network: {error.found}") from None
    with torch.device("meta"):
        network = network_type(config)
    state, sources = _translate(files, forms, network)
    module = network.get_submodule(PARTS[part].path) if part else network
    prefix = f"{PARTS[part].path}." if part else ""
    module.load_state_dict({name.removeprefix(prefix): t for name, t in state.items()}, strict=True, assign=True)
    provenance = _provenance(forms, sources, licence)
    if not part:
        provenance["limits"] += TOLD.format(dimension, "by default" if output is None else "as told when imported")
    return Imported(module.eval(), network.system, part, config, fields, provenance, sources)


def _recognised(file: SourceFile) -> Form:
    found = [form for form in FORMS.values() if form.recognises(file.tensors)]
    if len(found) == 1:
        return found[0]
    for refused in CAV_REFUSED:
        if not found and refused.recognises(file.tensors):
            raise CheckpointError(
                f"{file.name} is {refused.holds}, and cannot be imported: {refused.reason}", expected=refused.expected
            )
    known = "\n".join(f"    {form.name}: {form.holds}" for form in FORMS.values())
    some = listed(sorted(file.tensors)[:6])
    what = "could be " + " or ".join(form.name for form in found) if found else "is none of the known files"
    raise CheckpointError(
        f"{file.name} {what}: it holds {len(file.tensors)} tensors, such as {some}",
        expected=f"the names of one of\n{known}",
        fix="--from NAME lists what the file lacks to be that one",
    )


def _check_set(files: Sequence[SourceFile], forms: Sequence[Form]) -> str | None:
    """The part that the result is, None for a whole network. Refuses files that do not belong together."""
    if not files:
        raise CheckpointError("no file to import", expected="one published file, or all parts of one network")
    if len(files) == 1:
        return forms[0].part
    told = ", ".join(f"{file.name}: {form.name}" for file, form in zip(files, forms, strict=True))
    parts = [form.part for form in forms]
    if len({form.system for form in forms}) > 1:
        raise CheckpointError(f"the files are of different systems ({told})", expected="files of one network")
    if None in parts:
        raise CheckpointError(f"a whole network among several files ({told})", expected="a whole network alone")
    if len(set(parts)) < len(parts):
        raise CheckpointError(f"two files hold the same part ({told})", expected="each part once")
    return None


def _fields(files: Sequence[SourceFile], forms: Sequence[Form]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for file, form in zip(files, forms, strict=True):
        for name, value in form.fields(file.tensors).items():
            if fields.setdefault(name, value) != value:
                raise CheckpointError(
                    f"the files do not fit each other: {name} is {value} in {file.name}, {fields[name]} before it"
                )
    return fields


def _check_whole(files: Sequence[SourceFile], forms: Sequence[Form], network: Network) -> None:
    """The files must leave nothing of a network open; names decide, so one of any widths serves to tell."""
    open_names = [n for n in network.state_dict() if not any(n.startswith(form.path) for form in forms)]
    if open_names:
        given = {form.part for form in forms}
        lacking = [p for p in PARTS.values() if p.system == network.system and p.name not in given]
        lacking = [p for p in lacking if any(n.startswith(f"{p.path}.") for n in open_names)]
        told = (
            ", ".join(f"{p.name} ({p.holds})" for p in lacking) or f"{len(open_names)} tensors such as {open_names[0]}"
        )
        raise CheckpointError(
            f"{', '.join(file.name for file in files)} are parts of {network.system}, not all of it",
            expected=f"besides them: {told}",
            fix="give all files of one network, or import each part alone: affectrt import FILE --out CKPT",
        )


def _translate(
    files: Sequence[SourceFile], forms: Sequence[Form], network: Network
) -> tuple[dict[str, Tensor], tuple[SourceReport, ...]]:
    wanted = network.state_dict()
    state: dict[str, Tensor] = {}
    reports, misfits = [], []
    for file, form in zip(files, forms, strict=True):
        tensors, report, problems = translate(file, form, wanted)
        state |= tensors
        reports.append(report)
        if problems:
            misfits.append(_misfit(file, form, problems))
    if misfits:
        raise CheckpointError(
            "\n".join(misfits),
            expected="; ".join(f"{form.name}: {form.holds}" for form in forms),
            fix="fetch the file again; without --from it is taken for what its names say",
        )
    return state, tuple(reports)


def _misfit(file: SourceFile, form: Form, problems: list[str]) -> str:
    others = [other.name for other in FORMS.values() if other is not form and other.recognises(file.tensors)]
    alike = f"; it looks like {' or '.join(others)}" if others and not form.recognises(file.tensors) else ""
    return f"{file.name} is not what a file of the form {form.name} must be{alike}:\n    " + "\n    ".join(problems)


def _provenance(forms: Sequence[Form], sources: Sequence[SourceReport], licence: str | None) -> dict[str, Any]:
    """Nothing here changes from one import of the same files to the next: no date, no folder, no machine."""
    return {
        "recipe": f"affectrt import of {', '.join(form.name for form in forms)}",
        "training_corpus": "; ".join(dict.fromkeys(form.training_corpus for form in forms)),
        "licence": licence or "; ".join(dict.fromkeys(form.licence or NO_LICENCE for form in forms)),
        "intended_use": USE,
        "limits": LIMITS,
        "versions": {"affectrt": version("affectrt"), "torch": str(torch.__version__), "numpy": np.__version__},
        "sources": json.loads(json.dumps([asdict(source) for source in sources])),  # as it will be read back
    }
