"""Every network of the papers' size on PyTorch: how long a row takes, and how near that is to what the GPU can do.

Where TensorRT is missing this still says what the machine is good for. Random weights cost what trained ones do.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

from .figures import Roofline
from .latency import latency_of
from .peaks import torch_with_cuda
from .steps import Collector, Settings

__all__ = ["NETWORKS", "networks", "trace_network"]

# System and stage → what the network is called.
NETWORKS = {
    ("rcma", "video"): "IR-50",
    ("rcma", "audio"): "VGGish",
    ("rcma", "text"): "BERT-base",
    ("rcma", "fusion"): "RCMA fusion",
    ("cav", "video"): "I3D",
    ("cav", "audio"): "spectrogram CNN",
    ("cav", "fusion"): "CAV fusion",
}
BATCHES = (1, 8)
TOLERANCE = 1e-3
LARGEST = 1e9  # what is not a number is as wrong as can be
PRECISIONS: tuple[Literal["fp32", "fp16"], ...] = ("fp32", "fp16")
BYTES = {"uint8": 1, "int64": 8, "float16": 2, "float32": 4}


@dataclass(frozen=True)
class _Network:
    """One stage of a system: its module, the contract's tensors, and multiply-accumulates of a row."""

    name: str
    stage: str
    module: Any
    inputs: tuple[Any, ...]
    output: Any
    macs: int


def networks(paper: bool = True) -> Iterator[tuple[str, str]]:
    """System and stage of every network."""
    yield from NETWORKS


def trace_network(found: Collector, settings: Settings, *, system: str, stage: str) -> None:
    """FP32 (without TF32) and FP16 at each batch size; FP32 is held against the same network on the CPU."""
    torch = torch_with_cuda()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # shapes are fixed: the fastest algorithm is worth looking for
    network = _network(system, stage, paper=settings.paper)
    for precision in PRECISIONS:
        for batch in BATCHES:
            try:
                found.add(_trace(torch, network, precision, batch, settings, found))
            except Exception as error:  # a batch that does not fit must not hide the others
                words = " ".join(str(error).split())[:300]
                found.problems.append(f"{network.name} {precision}, batch {batch}: {type(error).__name__}: {words}")


def _network(system: str, stage: str, *, paper: bool) -> _Network:
    """The fusion of a system with one graph for each dimension is the first of them."""
    import torch

    from affectrt.benchmarks.macs import count_macs
    from affectrt.bundle.contract import Contract
    from affectrt.export.graphs import graph_from_module
    from affectrt.models.systems import SYSTEMS

    config = _config(system, stage, paper=paper)
    torch.manual_seed(0)
    model = SYSTEMS[system][1](config).eval()
    contract = Contract.model_validate(model.contract())
    real = stage if stage in contract.encoder_stages else contract.fusion.stages[0].stage
    module = model.stage_modules()[real]
    inputs, output = contract.stage_inputs(real), contract.stage_output(real)
    lengths = contract.lengths(real)
    graph = graph_from_module(module, inputs, output, lengths).SerializeToString()
    macs = count_macs(graph, max(lengths, default=None)).total
    return _Network(NETWORKS[system, stage], real, module.eval(), inputs, output, macs)


def _config(system: str, stage: str, *, paper: bool) -> Any:
    """What has the stage. Of text: the longest sentence, and few pieces, since a table costs what is read of it."""
    from affectrt.models.sizes import (
        LETTER_PIECES,
        cav_demo_config,
        cav_paper_config,
        demo_config,
        paper_config,
        text_demo_config,
    )

    both = ("valence", "arousal")
    if stage == "text":
        widest = paper_config(modalities=("audio", "text"), outputs=both)
        return replace(widest, text_layers=12, text_vocabulary=LETTER_PIECES) if paper else text_demo_config()
    configs: dict[tuple[str, bool], Callable[[], Any]] = {
        ("rcma", True): lambda: paper_config(modalities=("video", "audio"), outputs=both),
        ("cav", True): lambda: cav_paper_config(outputs=both),
        ("rcma", False): demo_config,
        ("cav", False): cav_demo_config,
    }
    return configs[system, paper]()


def _trace(
    torch: Any,
    network: _Network,
    precision: Literal["fp32", "fp16"],
    batch: int,
    settings: Settings,
    found: Collector,
) -> Roofline:
    cpu = tuple(_example(torch, info, batch) for info in network.inputs)
    with torch.no_grad(), ExitStack() as stack:
        wanted = network.module(*cpu).float()
        module = copy.deepcopy(network.module).cuda()
        if precision == "fp16":
            module = halved(torch, module)
            stack.enter_context(torch.autocast("cuda", dtype=torch.float16, cache_enabled=False))
        inputs = tuple(tensor.cuda() for tensor in cpu)
        got = module(*inputs).float().cpu()
        error = float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))
        if precision == "fp32" and not error <= TOLERANCE:
            found.problems.append(f"{network.name} on the GPU differs from the CPU by {error:.2g}")
        call, captured = _captured(torch, lambda: module(*inputs))
        latency = _times(torch, call, settings)
        weights = sum(p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers()))
    moved = weights + sum(t.numel() * t.element_size() for t in inputs) + wanted.numel() * BYTES[network.output.dtype]
    return _roofline(network, precision, batch, captured, latency, moved, error, found)


def halved(torch: Any, module: Any) -> Any:
    """For autocast: weights become FP16 once, not in every call; norms stay FP32, since they take either kind."""
    norms = torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, torch.nn.LayerNorm
    module.half()
    for part in module.modules():
        if isinstance(part, norms):
            part.float()
    return module


def _roofline(
    network: _Network,
    precision: Literal["fp32", "fp16"],
    batch: int,
    captured: bool,
    latency: Any,
    moved: int,
    error: float,
    found: Collector,
) -> Roofline:
    peak, bandwidth = found.known.peak(precision), found.known.bandwidth()
    row_s = max(latency.p50_ms, 1e-6) / 1000 / batch
    speed = network.macs / row_s
    bound = None
    if peak is not None and bandwidth is not None:
        bound = max(network.macs / peak, moved / bandwidth / batch)
    return Roofline(
        network=network.name,
        stage=network.stage,
        precision=precision,
        batch=batch,
        captured=captured,
        latency=latency,
        ms_per_row=1000 * row_s,
        gmac_per_row=network.macs / 1e9,
        gmac_per_s=speed / 1e9,
        bytes_per_call=moved,
        relative_error=error if math.isfinite(error) else LARGEST,
        share_of_peak=None if peak is None else speed / peak,
        bound_ms=None if bound is None else 1000 * bound,
        share_of_bound=None if bound is None else bound / row_s,
    )


def _captured(torch: Any, work: Callable[[], Any]) -> tuple[Callable[[], Any], bool]:
    """A replay of `work`; `work` itself where it cannot be captured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # cuDNN looks for algorithms, which must not be captured
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except Exception:
        torch.cuda.synchronize()
        return work, False
    return graph.replay, True


def _times(torch: Any, call: Callable[[], Any], settings: Settings) -> Any:
    """The device's time of single calls, by events."""
    for _ in range(settings.warmups):
        call()
    torch.cuda.synchronize()
    seconds: list[float] = []
    while len(seconds) < settings.calls or sum(seconds) < settings.seconds:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(float(begin.elapsed_time(end)) / 1000)
    return latency_of(seconds, settings.warmups)


def _example(torch: Any, info: Any, batch: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, *info.shape)
    if info.dtype == "uint8":
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    if info.dtype == "int64":  # pieces, a mask, words: all know 0 and 1
        return torch.randint(0, 2, shape, dtype=torch.int64, generator=generator)
    return 0.1 * torch.randn(shape, generator=generator)
