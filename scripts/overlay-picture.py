"""Makes docs/overlay.png: two drawn people in one picture, estimated by a demo bundle, as `affectrt run` shows them.

affectrt demo && python scripts/overlay-picture.py demo-out/rcma-demo.affect docs/overlay.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from affectrt.runtime.faces import Face, Frame
from affectrt.runtime.run import run_bundle
from affectrt.runtime.sinks import OverlaySink
from affectrt.runtime.sources import FileSource, MemorySource, VideoChunk, VideoWish
from affectrt.training.synthetic import make_clip, make_identity

# Nobody from these numbers was ever in a training corpus; see cli/demo.py.
PEOPLE = (1_000_000, 1_000_006)
SEED = 7
SECONDS = 16.0
SHOWN_S = 14.0
SIZE = (640, 360)
SIDE = 256
WALL = (150, 152, 146)


class KnownFaces:
    """The drawn tiles, where they are known to stand: the demo's weights see a person as a whole tile."""

    def find(self, frame: Frame, pts_s: float) -> list[Face]:
        return [
            Face(track, (*corner, corner[0] + SIDE, corner[1] + SIDE), 1.0) for track, corner in enumerate(places())
        ]


def places() -> list[tuple[int, int]]:
    gap = (SIZE[0] - len(PEOPLE) * SIDE) // (len(PEOPLE) + 1)
    return [(gap + at * (SIDE + gap), (SIZE[1] - SIDE) // 2) for at in range(len(PEOPLE))]


def main(bundle: str, to: str) -> None:
    clips = [make_clip(make_identity(SEED, one), SEED + one, seconds=SECONDS) for one in PEOPLE]
    frames = []
    for tiles in zip(*(clip.frames() for clip in clips), strict=True):
        frame: Frame = np.full((SIZE[1], SIZE[0], 3), WALL, np.uint8)
        for tile, (left, top) in zip(tiles, places(), strict=True):
            frame[top : top + SIDE, left : left + SIDE] = cv2.resize(tile, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        frames.append(frame)
    first = clips[0]
    source = MemorySource.from_arrays(
        frames=frames,
        pts_s=np.arange(len(frames)) / first.fps,
        samples=first.samples,
        sample_rate_hz=first.sample_rate_hz,
        name="two drawn people",
    )
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "overlay.mkv"
        run_bundle(bundle, source, [OverlaySink(film)], finder=KnownFaces())
        with FileSource(film, video=VideoWish(max_side_px=4096)) as shown:
            pictures = [event.frames[0] for event in shown if isinstance(event, VideoChunk)]
    picture = pictures[round(SHOWN_S * first.fps)]
    cv2.imwrite(to, picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main(*sys.argv[1:3])
