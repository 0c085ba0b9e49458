"""What docs/training.md says of memory, of cached features and of several processes, measured here.

python scripts/training-figures.py memory FOLDER --frames 200000 --batches 6
python scripts/training-figures.py speed CORPUS WEIGHTS --epochs 3
OMP_NUM_THREADS=1 python scripts/training-figures.py processes CORPUS --devices 2 --epochs 3
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback

from affectrt.bundle.contract import Contract
from affectrt.training.experiments.config import ExperimentConfig, network_of
from affectrt.training.experiments.run import train_experiment
from affectrt.training.prepare.writer import VideoFolder, recorded
from affectrt.training.prepared import PreparedCorpus
from affectrt.training.prepared_record import CORPUS_FILE, VIDEOS, ContractParts

STEPS = 10_000  # of a video: 400 s at 25 Hz
TOLD = {
    "system": "rcma",
    "output": "both",
    "licence": "none",
    "intended_use": "figures",
    "network": {"variant": "demo"},
}
FROZEN = {"release": {"stages": 0}, "schedule": {"kind": "cosine"}, "optimiser": {"learning_rate": 1e-3}}


class StoppedError(Exception):
    """Enough batches."""


class Watch(Callback):
    """Time of each epoch, and its end after `batches`."""

    def __init__(self, batches: int = 0) -> None:
        self.batches, self.began = batches, (0.0, 0.0)
        self.seconds: list[tuple[float, float]] = []  # by the clock, and of processor

    def on_train_epoch_start(self, *_: Any) -> None:
        self.began = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append((time.perf_counter() - self.began[0], time.process_time() - self.began[1]))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self.batches:
            raise StoppedError


def fabricate(root: Path, contract: Contract, frames: int) -> None:
    """Videos of zeros, whose crops and sound take no disk: files with holes, as large as real ones."""
    assert contract.video is not None and contract.audio is not None
    side, rate = contract.video.resize_px, contract.audio.sample_rate_hz
    samples = round(STEPS / contract.step_hz * rate) + contract.audio.span_samples
    shapes = {"crops": ((STEPS, side, side, 3), np.uint8), "waveform": ((samples,), np.float32)}
    count = -(-frames // STEPS)
    holes: dict[str, dict[str, object]] = {}
    videos = []
    for number in range(count):
        name = f"video-{number:04d}"
        with VideoFolder(root / VIDEOS / name, "new") as folder:
            folder.array("crop_of_step", np.arange(STEPS, dtype=np.int32))
            starts = np.round(np.arange(STEPS) / contract.step_hz * rate).astype(np.int64)
            folder.array("start_of_step", starts)
            wave = np.sin(np.arange(STEPS) / (40 + number))
            folder.array("labels", np.stack([wave, -wave], axis=1).astype(np.float32))
            folder.array("times", np.arange(STEPS) / contract.step_hz)
            files = {file: record.model_dump() for file, record in folder.files().items()}
            for what, (shape, dtype) in shapes.items():
                array = folder.growing(what, dtype, shape[1:])
                array.rows = shape[0]
                array.close()
                path = folder.path / f"{what}.npy"
                os.truncate(path, path.stat().st_size + int(np.prod(shape)) * np.dtype(dtype).itemsize)
                holes.setdefault(what, recorded(path).model_dump())
                files[path.name] = holes[what]
            folder.finish()
        counts = dict.fromkeys(("pictures", "crops", "seen", "heard", "annotated"), STEPS)
        told = {"name": name, "split": "train" if number else "validation", "steps": STEPS, "files": files, **counts}
        told |= {"step_hz": contract.step_hz, "media": f"{name}.mp4", "media_bytes": 1, "crop_px": side}
        videos.append({**told, "samples": samples, "seconds": STEPS / contract.step_hz})
    parts = ContractParts.of(contract).model_dump(mode="json")
    made_by = {"affectrt": "0", "opencv": "0", "gstreamer": "0"}
    record = {"format": "affectrt-corpus/1", "kind": "synthetic", "clock": "steps", "faces": "whole"}
    record |= {"contract": parts, "made_by": made_by, "licence": "CC0-1.0", "videos": videos}
    (root / CORPUS_FILE).write_text(json.dumps(record), encoding="utf-8")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def private_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def memory(folder: Path, frames: int, batches: int) -> None:
    config = ExperimentConfig.model_validate({**TOLD, **FROZEN, "name": "memory", "epochs": 1, "batch": 4, "hop": 200})
    contract = Contract.model_validate(network_of(config).contract())
    print(f"imported                     peak {peak_mib():6.0f} MiB, private {private_mib():6.0f} MiB")
    if not (folder / CORPUS_FILE).exists():
        fabricate(folder, contract, frames)
    corpus = PreparedCorpus.open(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    steps = sum(video.steps for video in corpus.all_videos)
    print(f"{steps} frames, {len(corpus.all_videos)} videos, {len(files)} files, {size / steps:.0f} bytes a frame")
    print(f"opened                       peak {peak_mib():6.0f} MiB, private {private_mib():6.0f} MiB")
    digest = hashlib.sha256()
    for video in corpus.all_videos:  # every window's reading, without the network
        crops = video.spans().crops
        for at in range(0, len(crops), 300):
            digest.update(np.asarray(crops[at : at + 300]).tobytes())
    print(f"every crop read              peak {peak_mib():6.0f} MiB, private {private_mib():6.0f} MiB")
    with tempfile.TemporaryDirectory() as work, contextlib.suppress(StoppedError):
        out = Path(work) / "x.safetensors"
        train_experiment(config, "", folder, out, accelerator="cpu", callbacks=[Watch(batches)])
    print(f"trained {batches} batches of 4 windows  peak {peak_mib():6.0f} MiB, private {private_mib():6.0f} MiB")


def speed(corpus: Path, weights: Path, epochs: int) -> None:
    told = {**TOLD, **FROZEN, "name": "speed", "epochs": epochs, "batch": 4, "hop": 100}
    told["init"] = {"files": [weights], "take": "encoders"}
    medians: dict[str, list[Any]] = {}
    for features in ("computed", "cached", "computed", "cached"):  # in turn: the machine is not always as busy
        config = ExperimentConfig.model_validate({**told, "features": features})
        watch, cpu = Watch(), time.process_time()
        with tempfile.TemporaryDirectory() as work:
            out = Path(work) / "x.safetensors"
            train_experiment(config, "", corpus, out, accelerator="cpu", callbacks=[watch])
        cpu = time.process_time() - cpu
        medians.setdefault(features, []).append(np.median(watch.seconds, axis=0))
        clock, processor = medians[features][-1]
        print(f"{features:9} epoch {clock:7.2f} s, {processor:7.2f} s of processor; all {cpu:7.2f} s", flush=True)
    ratio = np.min(medians["computed"], axis=0) / np.min(medians["cached"], axis=0)
    print(f"an epoch is {ratio[0]:.1f} times as fast with cached features, by processor time {ratio[1]:.1f} times")


def processes(corpus: Path, devices: int, epochs: int, alone: bool) -> None:
    """The same global batches by one process and by several, in turn; an epoch holds training and validation."""
    if alone:
        told = {**TOLD, **FROZEN, "name": "processes", "epochs": epochs + 1, "batch": 4, "hop": 50, "devices": devices}
        watch = Watch()
        with tempfile.TemporaryDirectory() as work:
            out = Path(os.environ.setdefault("AFFECTRT_FIGURES_WORK", work))  # the others, started by this one, see it
            config = ExperimentConfig.model_validate(told)
            trained = train_experiment(
                config, "", corpus, out / "x.safetensors", work=out, accelerator="cpu", callbacks=[watch]
            )
        if trained is not None:
            print(json.dumps([seconds for seconds, _ in watch.seconds[1:]]))  # the first epoch warms up
        return
    best: dict[int, float] = {}
    for count in (1, devices, 1, devices):
        command = [sys.executable, __file__, "processes", str(corpus), "--devices", str(count), "--epochs", str(epochs)]
        ran = subprocess.run([*command, "--alone"], check=True, stdout=subprocess.PIPE, text=True)
        seconds = json.loads(ran.stdout.splitlines()[-1])
        print(f"{count} process(es): epochs of {', '.join(f'{s:.2f}' for s in seconds)} s", flush=True)
        best[count] = min([*seconds, best.get(count, float("inf"))])
    print(f"{devices} processes are {best[1] / best[devices]:.2f} times as fast as one, on {os.cpu_count()} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="what", required=True)
    one = verbs.add_parser("memory")
    one.add_argument("folder", type=Path)
    one.add_argument("--frames", type=int, default=200_000)
    one.add_argument("--batches", type=int, default=6)
    other = verbs.add_parser("speed")
    other.add_argument("corpus", type=Path)
    other.add_argument("weights", type=Path)
    other.add_argument("--epochs", type=int, default=3)
    many = verbs.add_parser("processes")
    many.add_argument("corpus", type=Path)
    many.add_argument("--devices", type=int, default=2)
    many.add_argument("--epochs", type=int, default=3)
    many.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    {"memory": memory, "speed": speed, "processes": processes}[given.pop("what")](**given)


if __name__ == "__main__":
    main()
