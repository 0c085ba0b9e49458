"""Models of others that a run may need: pinned by hash, fetched once, kept in the user's cache under their hash.

Layout: FOLDER/NAME/SHA256.onnx. A file whose content is not its name is as good as not there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from affectrt.bundle.errors import MediaError, MissingDependency, UsageError
from affectrt.bundle.plain_files import chunks, open_plain, os_reason

from .cache_folder import CACHE_VARIABLE, cache_folder
from .download import fetch
from .engines.own_files import write_own

__all__ = ["ASSETS", "Asset", "Edition", "assets_folder", "find_asset", "installed", "keep_asset", "pull_asset"]

MAX_BYTES = 64 << 20
NAMED_BY_HASH = re.compile(r"[0-9a-f]{64}\.onnx")


@dataclass(frozen=True)
class Edition:
    """One file of an asset that is known to work; `url` None: nobody serves it pinned, it comes from a file."""

    label: str
    sha256: str
    size_bytes: int
    url: str | None = None


@dataclass(frozen=True)
class Asset:
    """Editions, the one that is fetched first, then those taken when somebody brings them."""

    name: str
    licence: str
    purpose: str
    editions: tuple[Edition, ...]


_OPENCV_ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo/47534e27c9851bb1128ccc0102f1145e27f23f98"

ASSETS = MappingProxyType(
    {
        "yunet": Asset(
            name="yunet",
            licence="MIT",
            purpose="finds faces (OpenCV's YuNet)",
            editions=(
                Edition(
                    "2023mar",
                    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
                    232_589,
                    f"{_OPENCV_ZOO}/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
                ),
                Edition("2026may", "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0", 229_738),
            ),
        ),
    }
)


def assets_folder() -> Path:
    """$AFFECTRT_CACHE_DIR/assets, else affectrt/assets in the user's cache."""
    return cache_folder("assets")


def asset_named(name: str) -> Asset:
    """UsageError for a name that is no asset's."""
    if name not in ASSETS:
        raise UsageError(f"an asset named {name!r}", expected=", ".join(ASSETS), fix="affectrt assets list")
    return ASSETS[name]


def installed(name: str) -> dict[str, Path]:
    """SHA-256 → file of every intact edition that is there: the known ones in their order, then trusted ones."""
    folder = assets_folder() / asset_named(name).name
    try:
        files = sorted(path for path in folder.iterdir() if NAMED_BY_HASH.fullmatch(path.name))
    except OSError:
        return {}
    whole = {path.stem: path for path in files if _digest(path) == path.stem}
    known = [edition.sha256 for edition in ASSETS[name].editions if edition.sha256 in whole]
    return {digest: whole[digest] for digest in [*known, *(d for d in whole if d not in known)]}


def find_asset(name: str, sha256: str | None = None, *, strictly: bool = True) -> Path:
    """The file of an asset: the edition `sha256`, or the first that is there.

    MissingDependency with the command that brings it. Not `strictly`: another edition will do where that one is not.
    """
    there = installed(name)
    if sha256 in there:
        return there[sha256]
    if there and (sha256 is None or not strictly):
        return next(iter(there.values()))
    pull = f"affectrt assets pull {name}"
    wanted = sha256 or ASSETS[name].editions[0].sha256
    edition = next((one for one in ASSETS[name].editions if one.sha256 == wanted), None)
    served = edition is not None and edition.url is not None
    told = "" if sha256 is None else f" of edition {edition.label if edition else ''} {wanted[:12]}…".replace("  ", " ")
    others = f"; there is {', '.join(digest[:12] for digest in there)}" if there else ""
    raise MissingDependency(
        f"{name}{told}, which {ASSETS[name].purpose}, is not in {assets_folder()}{others}",
        expected=f"a file with SHA-256 {wanted}",
        fix=f"{pull}   (without network: {pull} --from FILE)" if served else f"{pull} --from FILE",
    )


def pull_asset(name: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download the pinned edition, unless it is there. MediaError when what comes is not what was pinned."""
    edition = asset_named(name).editions[0]
    there = installed(name).get(edition.sha256)
    if there is not None:
        return there
    assert edition.url is not None
    content = fetch(edition.url, edition.size_bytes, progress)
    digest = hashlib.sha256(content).hexdigest()
    if digest != edition.sha256 or len(content) != edition.size_bytes:
        raise MediaError(
            f"{edition.url} gave {len(content)} bytes with SHA-256 {digest}; nothing was kept",
            expected=f"{edition.size_bytes} bytes with SHA-256 {edition.sha256}",
            fix=f"try again, or affectrt assets pull {name} --from FILE",
        )
    return _kept(name, digest, content)


def keep_asset(name: str, file: Path, *, trust: bool = False) -> Path:
    """Take an edition from a file. MediaError for one that nobody knows, unless a person says to `trust` it."""
    asset = asset_named(name)
    try:
        with open_plain(file) as (descriptor, size):
            if size > MAX_BYTES:
                raise OSError(f"has {size} bytes, more than {MAX_BYTES}")
            content = b"".join(chunks(descriptor, MAX_BYTES))
    except OSError as error:
        raise MediaError(f"{file} {os_reason(error)}", expected=f"a file of {name}") from None
    digest = hashlib.sha256(content).hexdigest()
    known = {edition.sha256: edition.label for edition in asset.editions}
    if digest not in known and not trust:
        raise MediaError(
            f"{file} has SHA-256 {digest}, which is no known edition of {name}",
            expected=" or ".join(f"{sha} ({label})" for sha, label in known.items()),
            fix=f"affectrt assets pull {name} --from {file} --trust, if you know where it comes from",
        )
    return _kept(name, digest, content)


def _kept(name: str, digest: str, content: bytes) -> Path:
    path = assets_folder() / name / f"{digest}.onnx"
    try:
        write_own(path, content)
    except OSError as error:
        raise MediaError(
            f"{name} cannot be kept in {path.parent}: {os_reason(error)}", fix=f"export {CACHE_VARIABLE}=FOLDER"
        ) from None
    return path


def _digest(path: Path) -> str | None:
    try:
        with open_plain(path) as (descriptor, size):
            if size > MAX_BYTES:
                return None
            hasher = hashlib.sha256()
            for chunk in chunks(descriptor, size):
                hasher.update(chunk)
            return hasher.hexdigest()
    except OSError:
        return None
