"""`affectrt run BUNDLE SOURCE… [SINK…]`: valence and arousal of files and live sources."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .run_spoken import carrying, transcribers, words_by
from .run_telling import logs_on_stderr, print_stats, progress_bar, tell
from .run_words import told_apart

if TYPE_CHECKING:
    from affectrt.bundle import Asked
    from affectrt.bundle.contract import Contract
    from affectrt.runtime.report import RunReport
    from affectrt.runtime.run import Stop

__all__ = ["run"]

# 128 + the signal's number, as a shell reports it; a reader that has gone is what SIGPIPE would be.
_STOPPED = {"SIGINT": 128 + signal.SIGINT, "SIGTERM": 128 + signal.SIGTERM, "reader gone": 128 + signal.SIGPIPE}


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, a NAME.affect directory.")],
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... [SINK]...",
            help="Sources: media files, v4l2:///dev/video0, csi://0, pulse://, alsa://, rtsp://…, http://…, test://, or"
            " a pair VIDEO+AUDIO. Sinks: NAME.jsonl, NAME.csv, NAME.mp4 or .mkv (an overlay), or - for JSON Lines on "
            "standard output (the default).",
            show_default=False,
        ),
    ],
    precision: Annotated[
        str, typer.Option(help="As far as the bundle has it: fp32, int8, …; auto: what was selected.")
    ] = "fp32",
    backend: Annotated[
        str,
        typer.Option(
            help="What executes the graphs: tensorrt, onnxruntime, onnxruntime-cuda, or auto: TensorRT where its "
            "engines are built (affectrt build), else ONNX Runtime."
        ),
    ] = "auto",
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph/--no-cuda-graph", help="TensorRT: replay captured work; quicker to start.")
    ] = True,
    hop: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between two runs of the fusion.", show_default="the bundle's"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engines.", show_default="all cores")
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Largest batch; large inputs, such as clips, come in smaller ones.")
    ] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace sinks that exist already.")] = False,
    audio: Annotated[
        str | None, typer.Option(metavar="URI", help="Where the sound of the one source comes from, such as pulse://.")
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play files as a camera would, dropping what is late.")
    ] = False,
    faces: Annotated[
        str, typer.Option(help="auto: what the bundle names; whole: the frame is the face; yunet: a detector.")
    ] = "auto",
    max_faces: Annotated[int, typer.Option(min=1, help="Most faces that the detector follows.")] = 4,
    spoken: Annotated[
        str,
        typer.Option(
            "--words",
            metavar="WHENCE",
            help="Where the words come from: auto: a transcript beside the file (NAME.words.json, .ctm, .vtt, .srt), "
            "else PocketSphinx; none; a transcript's FILE; pocketsphinx; vosk:DIR; sherpa:DIR. See docs/text.md.",
        ),
    ] = "auto",
    reconnect_interval: Annotated[
        float,
        typer.Option("--rtsp-reconnect-interval-sec", help="Longest wait between attempts to reach a lost source."),
    ] = 5.0,
    reconnect_attempts: Annotated[
        int,
        typer.Option("--rtsp-reconnect-attempts", help="Attempts in a row before it is given up; -1: for ever."),
    ] = -1,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="End after so long, of files after so much media.", show_default="the end"
        ),
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="A line of JSON on standard error every 10 s and at the end.")
    ] = False,
    health: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON file, new every second, for watchdogs.", show_default=False),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print the pipeline of each source, and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary, only warnings.")] = False,
) -> None:
    """Estimate valence and arousal of every SOURCE and write them to every SINK.

    Exit code 0: all was read to its end. 1: a source could not be read, or only in part (what could be read is in the
    sinks), or a sink failed. 2: wrong use. 130, 143: stopped by Ctrl-C or SIGTERM; 141: nobody reads standard output.
    """
    from affectrt.bundle import UsageError, open_bundle
    from affectrt.runtime.engines import choose_backend, target_of
    from affectrt.runtime.finders import choose_finder
    from affectrt.runtime.live import run_streams
    from affectrt.runtime.run import Stop, run_bundle
    from affectrt.runtime.sinks import open_sinks
    from affectrt.runtime.sources import Reconnect
    from affectrt.runtime.status import HealthFile
    from affectrt.runtime.stream import is_live

    sources, sinks = told_apart(words, overwrite=overwrite)
    if audio is not None:
        if len(sources) > 1:
            raise UsageError("--audio with several sources", fix="write each pair as VIDEO+AUDIO")
        sources = [f"{sources[0]}+{audio}"]
    if duration is not None and not 0 < duration < float("inf"):
        raise UsageError(f"--duration {duration:g}", expected="seconds above 0")
    if explain:
        _explain(open_bundle(bundle).contract, sources, spoken, realtime=realtime)
        return
    targets = open_sinks(sinks or ["-"], overwrite=overwrite)
    pulse = HealthFile(health) if health is not None else None
    opened = open_bundle(bundle)
    asked = cast("Asked", precision)
    choice = choose_backend(opened, asked, backend)
    opened.plan(asked, target_of(choice.backend))  # an unknown precision is told before anything is loaded
    reconnect = Reconnect(interval_s=reconnect_interval, attempts=reconnect_attempts)
    listeners = transcribers(spoken, opened.contract, sources)
    media = [
        carrying(one, opened.contract, listener, realtime=realtime, reconnect=reconnect)
        for one, listener in zip(sources, listeners, strict=True)
    ]
    finders = [choose_finder(opened.contract, faces, max_faces) for _ in media]
    if choice.notable and not quiet:
        print(f"affectrt: {choice.why}", file=sys.stderr)
    stop, several = (
        Stop(),
        len(media) > 1 or any(map(is_live, media)) or stats or duration is not None or health is not None,
    )
    hidden = quiet or stats or log_json or not sys.stderr.isatty()
    common: dict[str, Any] = {
        "precision": asked,
        "backend": choice,
        "cuda_graph": cuda_graph,
        "hop_steps": hop,
        "threads": threads,
        "max_batch": batch,
        "stop": stop,
    }
    with (
        _stopped_by_signals(stop),
        logs_on_stderr(as_json=log_json, quiet=quiet),
        progress_bar(hidden=hidden) as progress,
    ):
        if several:
            reports = run_streams(
                opened,
                media,
                targets,
                **common,
                finders=finders,
                progress=progress,
                duration_s=duration,
                stats=print_stats if stats else None,
                health=pulse,
            )
        else:
            reports = [run_bundle(opened, media[0], targets, **common, finder=finders[0], progress=progress)]
    for report, source in zip(reports, media, strict=True):
        tell(report, quiet=quiet, logged=several, words=words_by(source))
    code = max(map(_exit_code, reports))
    if code:
        raise typer.Exit(code)


def _exit_code(report: RunReport) -> int:
    if report.stopped_by in _STOPPED:
        return _STOPPED[report.stopped_by]
    return int(bool(report.failure or report.failed_sinks) or not report.outcome.complete)


def _explain(contract: Contract, sources: list[str], spoken: str, *, realtime: bool) -> None:
    from affectrt.runtime.sources.explain import explain
    from affectrt.runtime.sources.opening import wishes
    from affectrt.runtime.sources.uri import parse_source
    from affectrt.runtime.words.choosing import takes_words

    for source, listener in zip(sources, transcribers(spoken, contract, sources), strict=True):
        video, rate_hz = wishes(contract, listener.sample_rate_hz if listener is not None else None)
        print(explain(parse_source(source), video=video, audio_rate_hz=rate_hz, realtime=realtime))
        if takes_words(contract):
            print(f"words: {listener.name if listener is not None else 'none; text is missing'}")


@contextmanager
def _stopped_by_signals(stop: Stop) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends a run that is reading in good order; before that, or again, it ends at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if stop.armed and stop.reason is None:
            stop.request(name)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(_STOPPED[name])

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
