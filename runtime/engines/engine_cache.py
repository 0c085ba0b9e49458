"""Engines of this machine on disk: found by what they were built from and on, and checked before anyone runs them.

Layout: ROOT/GRAPH_SHA256/KEY.plan, and KEY.json, its record; KEY is the first 16 digits of the key's SHA-256, so a
record whose key was changed no longer bears its own name. An engine is executable code once TensorRT has it: every
check happens here, before that, and nothing here imports TensorRT.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectrt.bundle.errors import EngineError, listed
from affectrt.bundle.plain_files import os_reason

from ..cache_folder import CACHE_VARIABLE, cache_folder
from .engine_record import BuildOptions, EngineKey, EngineRecord, record_from_json
from .own_files import read_own, write_own

if TYPE_CHECKING:
    from .gpu import Gpu

__all__ = ["CACHE_VARIABLE", "EngineCache"]

MAX_SIDECAR_BYTES = 1 << 20
MAX_SIDECARS = 1000  # a folder holds one per TensorRT, driver and set of options that was ever tried
SHA256 = re.compile(r"[0-9a-f]{64}")


class EngineCache:
    """The engines under `root`; by default $AFFECTRT_CACHE_DIR/engines, else affectrt/engines in the user's cache."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = cache_folder("engines") if root is None else Path(root)

    def place(self, key: EngineKey) -> Path:
        """Where the engine of a key lies or will lie; its record has the suffix .json."""
        return self.root / key.graph_sha256 / f"{key.sha256()[:16]}.plan"

    def store(self, plan: bytes, record: EngineRecord) -> Path:
        """Put an engine and its record where `find` finds them; returns the engine's path. Raises EngineError."""
        path = self.place(record.key)
        sidecar = path.with_suffix(".json")
        if hashlib.sha256(plan).hexdigest() != record.engine_sha256 or len(plan) != record.size_bytes:
            raise ValueError("the record describes another engine")
        try:
            # Without a record there is no engine: whatever interrupts this, old and new never stand for each other.
            sidecar.unlink(missing_ok=True)
            write_own(path, plan)
            write_own(sidecar, record.to_json())
        except OSError as error:
            raise EngineError(
                f"the engine cannot be kept in {path.parent}: {os_reason(error)}",
                expected="a folder that this user may write to, with room on its disk",
                fix=f"{CACHE_VARIABLE}=FOLDER affectrt build …, or --cache-dir FOLDER",
            ) from None
        return path

    def find(
        self,
        graph_sha256: str,
        *,
        tensorrt: str,
        gpu: Gpu,
        batches: Sequence[int] | None = None,
        lengths: Sequence[int] = (),
        options: BuildOptions | None = None,
        rebuild: str,
    ) -> EngineRecord:
        """The newest engine of a graph that was built for just this; `batches` and `options` None: any.

        `lengths`: those of the contract, by which the same graph may be told to run in several.

        Raises EngineError that names what differs, with both values, and `rebuild`, the command that mends it.
        """
        good, bad = self._records(graph_sha256)
        judged = []
        for record in good:
            key = record.key
            wanted = EngineKey(
                graph_sha256=graph_sha256,
                tensorrt=tensorrt,
                gpu=gpu.name,
                compute_capability=gpu.compute_capability,
                driver=gpu.driver,
                l4t=gpu.l4t,
                batches=key.batches if batches is None else tuple(sorted(set(batches))),
                lengths=tuple(sorted(set(lengths))),
                options=key.options if options is None else options,
            )
            judged.append((list(key.differences(wanted)), record))
        fitting = [record for differences, record in judged if not differences]
        if fitting:
            return max(fitting, key=lambda record: record.built_at)
        if judged:
            # The one that is nearest; of several the newest.
            newest = sorted(judged, key=lambda item: item[1].built_at, reverse=True)
            differences, nearest = min(newest, key=lambda item: len(item[0]))
            problems = [f"{name}: the engine has {own}, needed is {other}" for name, own, other in differences]
            title = f"the engine of stage {nearest.stage!r} in {self.root} does not fit this machine or this request"
            raise EngineError(
                listed(title, problems + bad), expected="an engine that matches in everything", fix=rebuild
            )
        if bad:
            raise EngineError(listed(f"no engine in {self.root} can be trusted", bad), fix=rebuild)
        there = self._graphs()
        others = f"graph: engines are there for {', '.join(there)}, needed is {graph_sha256[:12]}"
        raise EngineError(
            listed(f"no engine was built for this graph in {self.root}", [others])
            if there
            else f"no engine was built for graph {graph_sha256[:12]}: there is none in {self.root}",
            expected="an engine built on this machine from this very graph",
            fix=rebuild,
        )

    def read(self, record: EngineRecord, *, rebuild: str) -> bytes:
        """The engine that `record` describes, as safe to run as the user's own files are.

        Raises EngineError unless sidecar and engine are plain files that others cannot write, the sidecar is this very
        record under its own name, and the engine has its size and SHA-256.
        """
        path = self.place(record.key)
        try:
            found = self._record(path.with_suffix(".json"))
        except ValueError as error:
            raise EngineError(f"an engine's record is refused: {error}", fix=rebuild) from None
        if found != record:
            raise EngineError(f"{path.with_suffix('.json')} changed since it was looked at", fix=rebuild)
        try:
            plan = read_own(path, record.size_bytes)
        except OSError as error:
            raise EngineError(f"an engine is refused: {path} {os_reason(error)}", fix=rebuild) from None
        digest = hashlib.sha256(plan).hexdigest()
        if len(plan) != record.size_bytes or digest != record.engine_sha256:
            raise EngineError(
                f"an engine is refused: {path} has {len(plan)} bytes and SHA-256 {digest[:12]}…",
                expected=f"{record.size_bytes} bytes and SHA-256 {record.engine_sha256[:12]}…, as its record says",
                fix=rebuild,
            )
        return plan

    def _records(self, graph_sha256: str) -> tuple[list[EngineRecord], list[str]]:
        """Records of a graph's folder, and why others are refused."""
        if not SHA256.fullmatch(graph_sha256):
            raise ValueError(f"{graph_sha256!r} is no SHA-256")
        good: list[EngineRecord] = []
        bad: list[str] = []
        for path in self._sidecars(self.root / graph_sha256):
            try:
                good.append(self._record(path))
            except ValueError as error:
                bad.append(str(error))
        return good, bad

    def _record(self, path: Path) -> EngineRecord:
        """Raises ValueError with a sentence that says why a sidecar is refused."""
        try:
            record = record_from_json(read_own(path, MAX_SIDECAR_BYTES))
        except OSError as error:
            raise ValueError(f"{path} {os_reason(error)}") from None
        except ValueError as error:
            raise ValueError(f"{path} cannot be believed: {error}") from None
        if record.key.graph_sha256 != path.parent.name:
            raise ValueError(
                f"{path} cannot be believed: graph: it tells of {record.key.graph_sha256[:12]}, "
                f"its folder of {path.parent.name[:12]}"
            )
        if path.stem != record.key.sha256()[:16]:
            raise ValueError(
                f"{path} cannot be believed: its key was changed; it would be named {record.key.sha256()[:16]}.json"
            )
        return record

    def _sidecars(self, folder: Path) -> Iterator[Path]:
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
        except OSError:
            return
        yield from (folder / name for name in names[:MAX_SIDECARS] if not name.startswith("."))

    def _graphs(self) -> list[str]:
        """The first graphs that have engines here, in short."""
        try:
            names = sorted(entry.name[:12] for entry in os.scandir(self.root) if SHA256.fullmatch(entry.name))
        except OSError:
            return []
        return [*names[:3], "…"] if len(names) > 3 else names
