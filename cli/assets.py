"""`affectrt assets pull [NAME]…` and `affectrt assets list`: models of others that a run may need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["assets"]


def assets(
    action: Annotated[str, typer.Argument(metavar="pull|list", help="Bring assets here, or tell which are.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all without.", show_default=False)
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take it from this file, without network.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="With --from: take an edition that is not known.")] = False,
) -> None:
    """Fetch or list the models of others that a run may need, such as the face detector.

    They are checked against their SHA-256 and kept in $AFFECTRT_CACHE_DIR/assets, or in your cache.
    """
    from affectrt.bundle.errors import UsageError
    from affectrt.runtime.assets import ASSETS, asset_named, keep_asset, pull_asset

    wanted = [asset_named(name).name for name in names or ASSETS]
    if action == "list":
        if source is not None or trust:
            raise UsageError("--from and --trust with list", fix="affectrt assets pull NAME --from FILE")
        _list(wanted)
    elif action != "pull":
        raise UsageError(f"affectrt assets {action}", expected="pull or list", fix="affectrt assets --help")
    elif source is not None:
        if len(wanted) != 1:
            raise UsageError("--from for several assets", fix="affectrt assets pull NAME --from FILE, one at a time")
        typer.echo(keep_asset(wanted[0], source, trust=trust))
    elif trust:
        raise UsageError("--trust without --from", fix="affectrt assets pull NAME --from FILE --trust")
    else:
        for name in wanted:
            with _progress_bar(name) as progress:
                path = pull_asset(name, progress)
            typer.echo(path)


def _list(names: list[str]) -> None:
    from affectrt.runtime.assets import ASSETS, installed

    for name in names:
        asset, there = ASSETS[name], installed(name)
        typer.echo(f"{name}: {asset.purpose}; {asset.licence}")
        labels = {edition.sha256: edition.label for edition in asset.editions}
        for digest in [*labels, *(digest for digest in there if digest not in labels)]:
            where = str(there[digest]) if digest in there else "not here"
            typer.echo(f"  {labels.get(digest, 'trusted')}  {digest[:12]}  {where}")


@contextmanager
def _progress_bar(name: str) -> Iterator[Callable[[int, int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
