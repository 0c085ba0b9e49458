"""Opening a bundle: nothing in it is believed before it is checked.

A bundle may come from anyone. `open_bundle` reads `manifest.json` under a size limit, checks it against the
schema, and then checks that every file it names is there, is a plain file, and has the size and SHA-256 that
it should. All problems of a kind are reported at once. Files that the manifest does not name are ignored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .contract import Contract
from .errors import BundleError, listed
from .manifest import FORMAT, FORMAT_VERSION, Attachment, Graph, Manifest, Precision, Selection, Target
from .plain_files import chunks, open_plain, os_reason
from .strict_json import printable, problems_from_validation, value_from_json

__all__ = ["MANIFEST_NAME", "MAX_MANIFEST_BYTES", "Bundle", "manifest_from_json", "open_bundle"]

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "int8-fp16")
FETCH_AGAIN = "copy the bundle again from where it came from, or write it anew with `affectrt export`"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and files have been checked; `fingerprint` is the SHA-256 of manifest.json."""

    path: Path
    manifest: Manifest
    fingerprint: str

    @property
    def contract(self) -> Contract:
        return self.manifest.contract

    def precisions(self) -> tuple[Precision, ...]:
        """What may be asked for: fp32 always, and every precision that has a plan."""
        return tuple(p for p in PRECISIONS if p == "fp32" or p in self.manifest.plans)

    def selection(self, target: Target) -> Selection | None:
        """What was chosen for `target` by measurement, if anything was."""
        return next((chosen for chosen in self.manifest.selections if chosen.target == target), None)

    def plan(self, precision: str, target: Target = "cpu") -> dict[str, Precision]:
        """Stage → precision that runs on `target` when `precision` is asked for; raises BundleError if it cannot be."""
        fix = f"affectrt calibrate {self.path} CORPUS"
        plan: Mapping[str, Precision]
        if precision == "auto":
            chosen = self.selection(target)
            if chosen is None:
                raise BundleError(f"nothing was selected for {target} in {self.path}", expected="a selection", fix=fix)
            plan = chosen.plan
        elif precision in self.precisions():
            plan = next((p for asked, p in self.manifest.plans.items() if asked == precision), {})
        else:
            choice = (*self.precisions(), *(["auto"] if self.selection(target) else []))
            raise BundleError(
                f"{self.path} has no precision {precision!r}", expected=f"one of {', '.join(choice)}", fix=fix
            )
        return {stage: plan.get(stage, "fp32") for stage in self.contract.stages}

    def graph_for(self, stage: str, precision: str, target: Target = "cpu") -> Graph:
        """The graph that computes `stage` on `target` when `precision` is asked for.

        The manifest's plan decides which precision runs; a graph made for `target` goes before one for "any".
        """
        plan = self.plan(precision, target)
        if stage not in plan:
            raise BundleError(f"{self.path} has no stage {stage!r}", expected=f"one of {', '.join(plan)}")
        graph = self.graph_in(stage, plan[stage], target)
        if graph is None:
            made = {g.target for g in self.manifest.graphs if (g.stage, g.precision) == (stage, plan[stage])}
            raise BundleError(
                f"{self.path} has no {plan[stage]} graph of stage {stage!r} for {target}",
                expected=f"a graph for {target} or any; there is one for {', '.join(sorted(made)) or 'none'}",
                fix=f"affectrt calibrate {self.path} CORPUS",
            )
        return graph

    def graph_in(self, stage: str, precision: Precision, target: Target) -> Graph | None:
        """The graph of `stage` in just this precision that `target` can run; one made for it goes before "any"."""
        made = {g.target: g for g in self.manifest.graphs if (g.stage, g.precision) == (stage, precision)}
        return made.get(target) or made.get("any")

    def read(self, file: Graph | Attachment) -> bytes:
        """The content of a graph or attachment; hashed again, so that what is used is what was checked."""
        problem, content = _read_inner(self.path, file)
        if problem is not None:
            raise BundleError(f"{self.path} changed since it was opened: {problem}", fix=FETCH_AGAIN)
        return content


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open and check the bundle at `path`; raises BundleError that names everything wrong with it."""
    root = Path(path)
    if not root.is_dir():
        found = "is not a directory" if root.exists() else "does not exist"
        raise BundleError(
            f"{root} {found}",
            expected="a bundle directory, NAME.affect",
            fix="affectrt export CKPT --out NAME.affect",
        )
    content = _read_manifest(root)
    manifest = manifest_from_json(content, root)
    files = _named_files(manifest)
    problems = [problem for file in files if (problem := _read_inner(root, file, keep=False)[0]) is not None]
    if problems:
        raise BundleError(listed(f"{root} is damaged", problems), fix=FETCH_AGAIN)
    return Bundle(root, manifest, hashlib.sha256(content).hexdigest())


def manifest_from_json(content: bytes, root: Path) -> Manifest:
    """The manifest in `content`; `root` is only named in the BundleError that is raised if it is wrong."""
    where = root / MANIFEST_NAME
    try:
        value = value_from_json(content)
    except ValueError as error:
        raise BundleError(f"{where} cannot be read: {error}", fix=FETCH_AGAIN) from None
    _check_format(value, where)
    try:
        # JSON mode, so that lists may fill tuples while text never passes for a number.
        manifest = Manifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        problems = problems_from_validation(error)
        raise BundleError(listed(f"{where} does not follow the format", problems), fix=FETCH_AGAIN) from None
    problems = list(_contradictions(manifest))
    if problems:
        raise BundleError(listed(f"{where} contradicts itself", problems), fix=FETCH_AGAIN)
    return manifest


def _named_files(manifest: Manifest) -> list[Graph | Attachment]:
    return [*manifest.graphs, *manifest.attachments.values()]


def _read_manifest(root: Path) -> bytes:
    where = root / MANIFEST_NAME
    try:
        with open_plain(where) as (descriptor, size):
            if size > MAX_MANIFEST_BYTES:
                raise BundleError(
                    f"{where} has {size} bytes", expected=f"at most {MAX_MANIFEST_BYTES}", fix=FETCH_AGAIN
                )
            return b"".join(chunks(descriptor, MAX_MANIFEST_BYTES))
    except OSError as error:
        raise BundleError(
            f"{where} cannot be read: {os_reason(error)}",
            expected="a bundle directory with a manifest.json in it",
            fix="affectrt export CKPT --out NAME.affect",
        ) from None


def _check_format(value: Any, where: Path) -> None:
    name = value.get("format") if isinstance(value, dict) else None
    if name != FORMAT:
        raise BundleError(
            f"{where} is not the manifest of a bundle: its format is {printable(name)}", expected=repr(FORMAT)
        )
    version = value.get("format_version")
    if type(version) is int and version != FORMAT_VERSION:
        raise BundleError(
            f"{where.parent}: this bundle has format version {version}; this affectrt reads {FORMAT_VERSION}",
            expected=f"format version {FORMAT_VERSION}",
            fix="pip install --upgrade affectrt"
            if version > FORMAT_VERSION
            else "export the model again: affectrt export CKPT --out NAME.affect",
        )


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """What the schema alone cannot see: files named twice, and plans that no graph can fulfil."""
    names = [f.file for f in _named_files(manifest)]
    # Compared without case: on some file systems the two names are one file.
    folded = [name.lower() for name in names]
    for name in sorted({n for n, f in zip(names, folded, strict=True) if folded.count(f) > 1}):
        yield f"{name} is named more than once"
    if MANIFEST_NAME in folded:
        yield f"{MANIFEST_NAME} names itself as a graph or attachment"
    made = {(g.stage, g.precision) for g in manifest.graphs}
    for asked, plan in manifest.plans.items():
        for stage, precision in plan.items():
            if asked == "fp32" and precision != "fp32":
                yield f"the plan for fp32 runs {stage} in {precision}"
            if (stage, precision) not in made:
                yield f"the plan for {asked} runs {stage} in {precision}, but there is no such graph"
    for chosen in manifest.selections:
        usable = {(g.stage, g.precision) for g in manifest.graphs if g.target in ("any", chosen.target)}
        for stage, precision in chosen.plan.items():
            if (stage, precision) not in usable:
                yield f"the selection for {chosen.target} runs {stage} in {precision}, but there is no such graph"


def _read_inner(root: Path, file: Graph | Attachment, *, keep: bool = True) -> tuple[str | None, bytes]:
    """What is wrong with a file of the bundle (None: nothing), and its content if `keep`."""
    path = root / file.file
    kept: list[bytes] = []
    try:
        if path.parent != root and path.parent.is_symlink():
            return f"{file.file}: {path.parent.name} is a symbolic link", b""
        with open_plain(path) as (descriptor, size):
            if size != file.size_bytes:
                return f"{file.file}: has {size} bytes, not {file.size_bytes}", b""
            digest = hashlib.sha256()
            for chunk in chunks(descriptor, size):
                digest.update(chunk)
                if keep:
                    kept.append(chunk)
    except OSError as error:
        return f"{file.file}: {os_reason(error)}", b""
    if digest.hexdigest() != file.sha256:
        return f"{file.file}: SHA-256 is {digest.hexdigest()[:12]}…, not {file.sha256[:12]}…", b""
    return None, b"".join(kept)
