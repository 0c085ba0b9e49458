"""The pipeline that a source gets on this machine, for people: in words, and as a line for gst-launch-1.0."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from fractions import Fraction

from .base import StreamName, VideoWish
from .elements import Capture, Step, audio_branch, captures, hardware_decoders, video_branch
from .registry import GstRegistry, Registry
from .uri import SourceUri

__all__ = ["explain"]


def explain(
    source: Sequence[SourceUri],
    *,
    video: VideoWish | None = None,
    audio_rate_hz: int | None = None,
    realtime: bool = False,
    registry: Registry | None = None,
) -> str:
    """What would be built for a parsed source. No secret is in it; MissingDependency as when it would be built."""
    registry = registry or GstRegistry()
    wanted: list[StreamName] = [n for n, w in (("video", video), ("audio", audio_rate_hz)) if w is not None]  # type: ignore[misc]
    hardware = hardware_decoders(registry)
    lines: list[str] = []
    launch: list[str] = []
    for index, one in enumerate(source):
        mine: list[StreamName] = wanted if len(source) == 1 else [n for n in wanted if n == ("video", "audio")[index]]
        if one.kind == "file":
            pace = "played in real time" if realtime else "as fast as it is read; nothing is dropped"
            parts = [Capture(f"file, {pace}", uri=f"file://{one.public}")]
        else:
            parts = captures(one, mine, registry)
        for part in parts:
            lines.append(f"{one.public}: {part.words}")
            if part.uri is not None or part.decode:
                lines.append(
                    f"  decoded by {', '.join(hardware) if hardware else 'software'}, as the streams' kinds ask"
                )
            paced = one.kind in {"file", "http"}
            launch += _launch(part, one.public, mine, video, audio_rate_hz, registry, len(launch), paced=paced)
    if "video" in wanted and video is not None:
        rate = "" if video.max_rate_hz is None else f", at most {video.max_rate_hz} a second"
        lines.append(
            f"frames: RGB, longer side at most {video.max_side_px} pixels{rate}; scaled before colours are converted"
        )
    if "audio" in wanted:
        lines.append(f"sound: mono at {audio_rate_hz} Hz, kept on its timestamps")
    return "\n".join([*lines, "gst-launch-1.0 " + " ".join(launch)])


def _launch(
    part: Capture,
    public: str,
    wanted: Iterable[StreamName],
    video: VideoWish | None,
    audio_rate_hz: int | None,
    registry: Registry,
    number: int,
    *,
    paced: bool,
) -> list[str]:
    branches: dict[StreamName, str] = {}
    if video is not None:
        memory = "memory:NVMM" if any("NVMM" in s.properties.get("caps", "") for s in part.steps) else ""
        size = (1280, 720, Fraction(1))
        branches["video"] = video_branch(video, registry, memory=memory, size=size, paced=paced)
    if audio_rate_hz is not None:
        branches["audio"] = audio_branch(audio_rate_hz, paced=paced)
    branches = {name: _shown(branch) for name, branch in branches.items()}
    if part.stream is not None:
        chain = [_text(step) for step in part.steps] + (["decodebin"] if part.decode else [])
        return [" ! ".join([*chain, branches[part.stream]])]
    name = f"d{number}"
    parts = [f"uridecodebin name={name} uri={shlex.quote(public)}"]
    return parts + [f"{name}. ! {branches[stream]}" for stream in wanted]


def _text(step: Step) -> str:
    return " ".join([step.element, *(f"{name}={shlex.quote(value)}" for name, value in step.properties.items())])


def _shown(branch: str) -> str:
    """Every word that a shell would read otherwise is quoted, and names that would meet are left out."""
    words = [w for w in branch.split() if w not in {"name=sink", "name=rate"}]
    return " ".join(shlex.quote(word) if word != "!" else word for word in words)
