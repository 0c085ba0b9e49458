"""Which finder a contract and a person want."""

from __future__ import annotations

from typing import Literal, cast, get_args

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError

from ..assets import find_asset
from ..faces import FaceFinder, WholeFrame
from .yunet import YuNet
from .yunet_finder import YuNetFinder

__all__ = ["Faces", "choose_finder"]

Faces = Literal["auto", "whole", "yunet"]


def choose_finder(contract: Contract, faces: str = "auto", max_faces: int = 4) -> FaceFinder:
    """The finder of one stream: call it once for each, and `reset` the finder on every gap of its stream.

    "auto" takes what the contract names, "whole" the whole frame as one face, track 0 (also right for frames that are
    aligned crops already), "yunet" the detector: the contract's edition where it is there, else another that is.
    `max_faces` bounds the tracks of the detector alone. A contract without video gets the whole frame.
    UsageError for another word or number, MissingDependency with the command where the detector is not there.
    """
    if faces not in get_args(Faces):
        raise UsageError(f"--faces {faces}", expected=" | ".join(get_args(Faces)), fix="give one of them")
    asked = cast("Faces", faces)
    view = contract.video.face if contract.video is not None else None
    if view is None or asked == "whole" or (asked == "auto" and view.finder == "whole_frame"):
        return WholeFrame()
    model = find_asset("yunet", view.edition, strictly=asked == "auto")
    return YuNetFinder(YuNet(model), max_faces=max_faces)
