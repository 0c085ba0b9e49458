"""Which of the faces in a recording is the person that its annotation speaks of.

The rule. Tracks are the finder's; a person who was away for long has several.

- "left" and "right" (of two people in one recording): in every picture with several faces the leftmost and the
  rightmost one have these sides, by the middle of their boxes. A track is the side that it had in most such pictures;
  a track that never was beside another is the side of the frame on which the middle of its boxes mostly lies. In each
  picture the largest face whose track is the wanted side is the person.
- otherwise: the main track is the one whose sides, added up over all its pictures, are the most: large for long. Other
  tracks fill the pictures without it, in the order of the same sum, each as a whole: only a track that never is in a
  picture with one taken before it, and whose median side is between half and twice that of the main track.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from affectrt.runtime.faces import Face

from .raw import Side

__all__ = ["Seen", "person_of"]

Seen = Sequence[Sequence[Face]]
"""The faces in each picture."""

_LIKE = 2.0


def person_of(pictures: Seen, frame_width: float, side: Side | None) -> list[Face | None]:
    """The person's face in each picture, None where it is not seen."""
    taken = _on_side(pictures, frame_width, side) if side is not None else _main(pictures)
    chosen: list[Face | None] = []
    for faces in pictures:
        own = [face for face in faces if face.track in taken]
        chosen.append(max(own, key=lambda face: (face.side_px, -face.track)) if own else None)
    return chosen


def _middle(face: Face) -> float:
    return (face.box[0] + face.box[2]) / 2


def _on_side(pictures: Seen, frame_width: float, side: Side) -> set[int]:
    beside: defaultdict[int, Counter[str]] = defaultdict(Counter)
    alone: defaultdict[int, list[float]] = defaultdict(list)
    for faces in pictures:
        for face in faces:
            alone[face.track].append(_middle(face))
        if len(faces) > 1:
            beside[min(faces, key=_middle).track]["left"] += 1
            beside[max(faces, key=_middle).track]["right"] += 1
    taken = set()
    for track, middles in alone.items():
        votes = beside[track]
        if votes["left"] != votes["right"]:
            of_track = "left" if votes["left"] > votes["right"] else "right"
        elif any(len(faces) > 1 and any(face.track == track for face in faces) for faces in pictures):
            continue  # between two others, or as often the one as the other
        else:
            of_track = "left" if median(middles) < frame_width / 2 else "right"
        if of_track == side:
            taken.add(track)
    return taken


def _main(pictures: Seen) -> set[int]:
    sides: defaultdict[int, list[float]] = defaultdict(list)
    beside: defaultdict[int, set[int]] = defaultdict(set)
    for faces in pictures:
        for face in faces:
            sides[face.track].append(face.side_px)
            beside[face.track].update(other.track for other in faces if other.track != face.track)
    order = sorted(sides, key=lambda track: (-sum(sides[track]), track))
    taken: set[int] = set()
    for track in order:
        like = not taken or 1 / _LIKE <= median(sides[track]) / median(sides[order[0]]) <= _LIKE
        if like and not taken & beside[track]:
            taken.add(track)
    return taken
