"""A session that runs for days: memory stays flat, and what it says at last is what a fresh session says."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from doubles.numpy_model import RATE, STEP_HZ, NumpyScheduler, contract

from affectrt.runtime.estimate import Estimate
from affectrt.runtime.faces import Face
from affectrt.runtime.session import Session

SAMPLES = int(RATE / STEP_HZ)
HOP, WINDOW = 5, 25


def picture(step: int) -> np.ndarray:
    return np.full((8, 8, 3), step * 7919 % 256, np.uint8)


def sound(step: int) -> np.ndarray:
    return np.full(SAMPLES, (step * 104_729 % 201 - 100) / 100, np.float32)


def faces_at(step: int) -> list[Face]:
    """Somebody new every 40 s, who is lost for 4 s in between; a second face now and then."""
    faces = []
    if step % 1000 < 900:
        faces.append(Face(step // 1000, (0, 0, 8, 8), 0.9))
    if step % 700 < 100:
        faces.append(Face(1_000_000 + step // 700, (0, 0, 8, 8), 0.5))
    return faces


def lived(session: Session, first: int, until: int, *, gaps: bool = True) -> Iterator[list[Estimate]]:
    """Estimates after each second of media, computed as they come."""
    scheduler = NumpyScheduler(session.contract)
    for begin in range(first, until, 25):
        if gaps and begin % 5000 == 0 and begin:
            session.mark_gap(f"lost at {begin}")
        for step in range(begin, min(begin + 25, until)):
            session.push_audio(sound(step), step / STEP_HZ)
            session.push_video([picture(step)], [step / STEP_HZ], [faces_at(step)])
        while waiting := session.pending():
            if begin % 175 == 0 and (runs := [r for r in waiting if r.stage == "fusion"][:1]):
                session.skip(runs)
                waiting = session.pending()
            scheduler.encoded.clear()
            session.resolve(waiting, scheduler.infer(waiting))
        yield session.poll()


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def soak(steps: int, marks: int) -> None:
    c = contract(window=WINDOW, warm_up=10)
    session = Session(c, hop_steps=HOP, found_faces=True)
    last: list[Estimate] = []
    blocks: list[int] = []
    resident: list[int] = []
    count, every = 0, steps // marks
    for number, estimates in enumerate(lived(session, 0, steps)):
        count += len(estimates)
        last = (last + estimates)[-100:]
        if (number + 1) * 25 % every == 0:
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            resident.append(resident_kb())
    # A fresh session that begins where the present face did, on the same clock and the same grid of hops.
    begin = max(step for step in (steps - steps % 1000, steps - 1000) if steps - step >= 200 and step % HOP == 0)
    fresh = Session(c, hop_steps=HOP, found_faces=True)
    again: list[Estimate] = []
    fresh.push_audio(np.zeros(0, np.float32), 0.0)
    fresh.mark_gap("begins late")
    for estimates in lived(fresh, begin, steps, gaps=False):
        again += estimates
    wanted = {(e.track, e.t_s): e for e in again}
    compared = [
        (e, wanted[e.track, e.t_s]) for e in last if (e.track, e.t_s) in wanted and e.t_s * STEP_HZ >= begin + 150
    ]
    assert len(compared) > 30
    drift = max(abs(a.valence - b.valence) + abs(a.arousal - b.arousal) for a, b in compared)  # type: ignore[operator]
    # The first third fills windows, caches and the list of gaps.
    settled = len(blocks) // 3
    grown, grown_kb = blocks[-1] - blocks[settled], resident[-1] - resident[settled]
    print(f"{steps} steps, {count} estimates: {grown:+d} blocks, {grown_kb:+d} kB since a third, drift {drift:.1e}")
    assert drift <= 1e-4
    assert grown < 2000, blocks
    assert grown_kb < 8000, resident
    assert len(session.gaps) <= 100 and session.skipped_steps > 0


def test_twenty_thousand_steps_leave_nothing_behind() -> None:
    soak(20_000, 8)


@pytest.mark.slow
def test_a_million_steps_leave_nothing_behind() -> None:
    soak(1_000_000, 40)
