"""How far a build is, for a person who waits minutes, and how to end it early.

TensorRT reports nested phases from threads of its own, through a monitor that must never raise. So the monitor only
notes, and the thread that waits reads the notes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["BuildProgress", "Pulse", "Silence", "monitor_for", "watched"]

LOOK_S = 0.2


class BuildProgress(Protocol):
    def say(self, line: str) -> None:
        """One line for a thing that is done, waited for, or done otherwise than asked."""
        ...

    def begin(self, what: str) -> None:
        """A build begins; `what` names it."""
        ...

    def show(self, share: float | None, doing: str) -> None:
        """How much of this build is done, 0 to 1 or None where TensorRT does not tell, and what it does now."""
        ...

    def end(self) -> None:
        """The build that began is over, well or not."""
        ...


class Silence:
    """Says and shows nothing."""

    def say(self, line: str) -> None:
        pass

    def begin(self, what: str) -> None:
        pass

    def show(self, share: float | None, doing: str) -> None:
        pass

    def end(self) -> None:
        pass


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Pulse:
    """What TensorRT's threads reported of one build so far, and whether it shall end. Thread-safe."""

    def __init__(self, doing: str = "") -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._doing = doing
        self._share: float | None = None
        self._cancelled = threading.Event()

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[name] = _Phase(parent, max(1, steps))
            self._doing = name

    def step_complete(self, name: str, step: int) -> bool:
        """Whether to go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
        return not self._cancelled.is_set()

    def phase_finish(self, name: str) -> None:
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is not None and phase.parent is None:
                self._share = 1.0

    def cancel(self) -> None:
        self._cancelled.set()

    def read(self) -> tuple[float | None, str]:
        """The share that is done, which never shrinks, and the newest phase."""
        with self._lock:
            roots = [name for name, phase in self._phases.items() if phase.parent is None]
            if roots:
                self._share = max(self._share or 0.0, self._share_of(roots[0]))
            return self._share, self._doing

    def _share_of(self, name: str, depth: int = 0) -> float:
        """Finished steps, and of the one that is under way what its own phases have finished."""
        phase = self._phases[name]
        inner = [other for other, below in self._phases.items() if below.parent == name and other != name]
        under_way = max((self._share_of(other, depth + 1) for other in inner), default=0.0) if depth < 8 else 0.0
        return min(1.0, (phase.done + under_way) / phase.steps)


def monitor_for(trt: Any, pulse: Pulse) -> Any | None:
    """A monitor for a builder's configuration, or None where this TensorRT has none."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        # An exception that leaves one of these methods ends the process.
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            try:
                pulse.phase_start(phase_name, parent_phase, num_steps)
            except BaseException:
                pulse.cancel()

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                return pulse.step_complete(phase_name, step)
            except BaseException:
                return False

        def phase_finish(self, phase_name: str) -> None:
            try:
                pulse.phase_finish(phase_name)
            except BaseException:
                pulse.cancel()

    return Monitor()


def watched(work: Callable[[], bytes], pulse: Pulse, progress: BuildProgress) -> bytes:
    """The result of `work`, which runs in a thread of its own, so that Ctrl-C is heard while TensorRT computes.

    Ctrl-C asks TensorRT to end, waits until it has, and raises KeyboardInterrupt; a second one waits no longer.
    """
    results: list[bytes] = []
    errors: list[BaseException] = []

    # Not Thread.join: before Python 3.13 it takes a thread for ended once Ctrl-C has interrupted it.
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="tensorrt-build", daemon=True)
    try:
        thread.start()
        while not ended.wait(LOOK_S):
            progress.show(*pulse.read())
        progress.show(*pulse.read())
    except KeyboardInterrupt:
        pulse.cancel()
        progress.say("cancelled: waiting for TensorRT to end what it is timing; nothing will be kept")
        if thread.ident is not None:
            ended.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]
