"""Writing a bundle: whole or not at all, hashes and sizes counted here and nowhere else.

A bundle is made in a hidden sibling folder, synced to disk and renamed into place. An older bundle at that
place is moved aside first and comes back if anything fails; a directory that is not a bundle is never replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .contract import Contract
from .errors import BundleError
from .manifest import Accuracy, Attachment, Graph, Manifest, Precision, Provenance, Selection, Target
from .store import MANIFEST_NAME, Bundle, manifest_from_json, open_bundle
from .strict_json import value_from_json

__all__ = ["BundleDraft", "FileDraft", "GraphDraft", "check_place", "update_bundle", "write_bundle"]

Content = bytes | Path
Plans = Mapping[Precision, Mapping[str, Precision]]
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class GraphDraft:
    """A graph that goes into a bundle. The content is ONNX bytes or the path of a file that holds them."""

    stage: str
    precision: Precision
    content: Content
    opset: int
    target: Target = "any"
    parity_max_abs: float | None = None
    note: str = ""

    @property
    def file(self) -> str:
        """Where it lies in the bundle: graphs/STAGE.PRECISION[.TARGET].onnx."""
        suffix = "" if self.target == "any" else f".{self.target}"
        return f"graphs/{self.stage}.{self.precision}{suffix}.onnx"


@dataclass(frozen=True)
class FileDraft:
    """An attachment that goes into a bundle under the inner path `file`, such as ranges/video.json."""

    file: str
    content: Content


@dataclass(frozen=True)
class BundleDraft:
    """All that a bundle holds, before hashes and sizes are known."""

    name: str
    contract: Contract
    provenance: Provenance
    graphs: Sequence[GraphDraft]
    attachments: Mapping[str, FileDraft] = field(default_factory=dict)
    plans: Plans = field(default_factory=dict)
    accuracy: Sequence[Accuracy] = ()


def write_bundle(path: str | os.PathLike[str], draft: BundleDraft, *, overwrite: bool = False) -> Bundle:
    """Write `draft` as a bundle directory and open it. If it raises BundleError, nothing changed on disk."""
    with _staged(Path(path), overwrite=overwrite) as folder:
        graphs = tuple(_put_graph(folder, graph) for graph in draft.graphs)
        attachments = {name: _put_file(folder, file) for name, file in draft.attachments.items()}
        manifest = Manifest.model_construct(
            name=draft.name,
            contract=draft.contract,
            provenance=draft.provenance,
            graphs=graphs,
            attachments=attachments,
            plans={asked: dict(plan) for asked, plan in draft.plans.items()},
            accuracy=tuple(draft.accuracy),
        )
        _put_manifest(folder, manifest, Path(path))
    return open_bundle(path)


def update_bundle(
    bundle: Bundle,
    *,
    graphs: Sequence[GraphDraft] = (),
    attachments: Mapping[str, FileDraft] | None = None,
    plans: Plans | None = None,
    accuracy: Sequence[Accuracy] = (),
    selections: Sequence[Selection] = (),
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """A bundle with more in it, written over `bundle` or to `out`, all or nothing.

    A new graph replaces the one of the same stage, precision and target; a new attachment or plan the one of
    its name; a new accuracy the one of the same precision, backend and corpus; a new selection the one of its target.
    Accuracies and selections of what gets new graphs go, because they were measured on the old ones. What stays is
    hashed again.
    """
    target = bundle.path if out is None else Path(out)
    old = bundle.manifest
    drawn = {(g.stage, g.precision, g.target) for g in graphs}
    measured = {(a.precision, a.backend, a.corpus) for a in accuracy}
    redrawn: set[str] = {g.precision for g in graphs}
    if graphs or selections:
        redrawn.add("auto")
    measured_on_old = {g.target for g in graphs} | {chosen.target for chosen in selections}
    files = dict(attachments or {})
    with _staged(target, overwrite=overwrite or out is None) as folder:
        kept = [g for g in old.graphs if (g.stage, g.precision, g.target) not in drawn]
        for name, file in [(g.file, g) for g in kept] + [
            (a.file, a) for key, a in old.attachments.items() if key not in files
        ]:
            _put(folder, name, bundle.read(file))
        manifest = old.model_copy(
            update={
                "graphs": (*kept, *(_put_graph(folder, graph) for graph in graphs)),
                "attachments": {**old.attachments, **{k: _put_file(folder, f) for k, f in files.items()}},
                "plans": {**old.plans, **{asked: dict(plan) for asked, plan in (plans or {}).items()}},
                "accuracy": (
                    *(
                        a
                        for a in old.accuracy
                        if a.precision not in redrawn and (a.precision, a.backend, a.corpus) not in measured
                    ),
                    *accuracy,
                ),
                "selections": (
                    *(s for s in old.selections if not measured_on_old & {s.target, "any"}),
                    *selections,
                ),
            }
        )
        _put_manifest(folder, manifest, target)
    return open_bundle(target)


@contextmanager
def _staged(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden folder that becomes `target` when the block ends well, and vanishes otherwise."""
    check_place(target, overwrite=overwrite)
    name = f"{target.name}.{secrets.token_hex(6)}"
    fresh, aside = target.with_name(f".new-{name}"), target.with_name(f".old-{name}")
    fresh.mkdir()
    try:
        yield fresh
        for folder in (*(p for p in fresh.iterdir() if p.is_dir()), fresh):
            _sync(folder)
        if target.exists():
            target.rename(aside)
        try:
            fresh.rename(target)
        except BaseException:
            if aside.exists() and not target.exists():
                aside.rename(target)
            raise
        _sync(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        # The old bundle goes only when the new one stands; if neither renaming worked, it must survive.
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)


def check_place(target: Path, *, overwrite: bool) -> None:
    """Raises BundleError if a bundle may not be written to `target`; call it before work that takes long."""
    if not target.parent.is_dir():
        raise BundleError(f"the folder {target.parent} does not exist", fix=f"mkdir -p {target.parent}")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise BundleError(f"{target} exists already", fix="choose another name, or add --overwrite")
    if target.is_symlink() or not _is_bundle(target):
        raise BundleError(
            f"{target} exists and is not a bundle, so it is not replaced",
            expected="no such path, or a bundle directory",
            fix="choose another name, or move it away",
        )


def _is_bundle(path: Path) -> bool:
    """Whether `path` says it is a bundle, damaged or not."""
    with suppress(OSError, ValueError):
        value = value_from_json((path / MANIFEST_NAME).read_bytes())
        return isinstance(value, dict) and value.get("format") == "affect-bundle"
    return False


def _put_graph(folder: Path, draft: GraphDraft) -> Graph:
    digest, size = _put(folder, draft.file, draft.content)
    return Graph(
        stage=draft.stage,
        precision=draft.precision,
        target=draft.target,
        file=draft.file,
        sha256=digest,
        size_bytes=size,
        opset=draft.opset,
        parity_max_abs=draft.parity_max_abs,
        note=draft.note,
    )


def _put_file(folder: Path, draft: FileDraft) -> Attachment:
    digest, size = _put(folder, draft.file, draft.content)
    return Attachment(file=draft.file, sha256=digest, size_bytes=size)


def _put_manifest(folder: Path, manifest: Manifest, target: Path) -> None:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    content = text.encode("utf-8") + b"\n"
    manifest_from_json(content, target)  # what no reader would accept is not written
    _put(folder, MANIFEST_NAME, content)


def _put(folder: Path, inner: str, content: Content) -> tuple[str, int]:
    """Write `content` to a new file under `folder`, synced; returns SHA-256 and size."""
    Attachment(file=inner, sha256="0" * 64, size_bytes=1)  # refuses a path that leads out of the folder
    path = folder / inner
    path.parent.mkdir(exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in _chunks_of(content):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _chunks_of(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
