"""One graph made into one TensorRT engine, on the machine that will run it.

The network is strongly typed: the graph alone says what is computed in which precision, and the configuration names
none. Each batch size, of each length where there are several, is an optimisation profile of its own with
min = opt = max, so that every shape is static.

The engine that ships tells the names of its layers alone, because an engine that tells more is slower to enqueue. So
for a graph of low precision a twin that tells everything is built first and looked into; the engine that ships then
takes the twin's measurements and comes out in seconds, with the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from affectrt.bundle.errors import EngineError, UsageError, listed
from affectrt.bundle.manifest import Precision
from affectrt.export.operator_lint import check_operators
from affectrt.runtime.engines.engine_record import BuildOptions
from affectrt.runtime.engines.nvidia import import_polygraphy, import_tensorrt
from affectrt.runtime.engines.tensorrt_log import tensorrt_log

from .device import primary_context
from .inspector import EngineLayer, count_layers, layers_from_json
from .onnx_graph import graph_from_bytes, input_shapes
from .precision import asked_layers, prove_precision
from .progress import BuildProgress, Pulse, monitor_for, watched
from .timing_cache import attach_timings, read_timings, timings_of, write_timings

if TYPE_CHECKING:
    import tensorrt

    from affectrt.runtime.engines.gpu import Gpu

__all__ = ["Built", "build_engine"]


@dataclass(frozen=True)
class Built:
    """An engine, its layers by precision (empty where they were not looked at), and how long all of it took."""

    plan: bytes
    layers: dict[str, int]
    build_s: float
    notes: tuple[str, ...] = ()


def build_engine(
    graph: bytes,
    *,
    name: str,
    batches: Sequence[int],
    lengths: Sequence[int] = (),
    options: BuildOptions,
    expected: Precision,
    timing_cache: Path | None,
    progress: BuildProgress,
    gpu: Gpu,
) -> Built:
    """Build an engine of an ONNX graph for `gpu`; `name` stands for the graph in messages.

    `lengths`: those that its second axis takes, one profile a batch and length; () where all of its axes but the batch
    have one size.

    Raises EngineError, with TensorRT's own words, for a graph that cannot be read, parsed or built, and for one whose
    layers came out in another precision than `expected`; ParityError for operators that TensorRT does not take;
    UsageError for a DLA core that is not there; KeyboardInterrupt after Ctrl-C, when TensorRT has stopped.
    """
    begun = perf_counter()
    trt = import_tensorrt()
    model = graph_from_bytes(name, graph)
    check_operators(name, model, tensorrt=str(trt.__version__))
    sizes = product(sorted(set(batches)), sorted(set(lengths)) or (None,))
    shapes = [input_shapes(name, model, batch, length) for batch, length in sizes]
    measured, unused = read_timings(timing_cache)
    notes = [unused] if unused else []
    work = _Build(trt, name, graph, shapes, options, progress, gpu, measured)
    layers: list[EngineLayer] = []
    if expected != "fp32":
        asked = asked_layers(model, expected)
        layers = work.layers_of(work.build(trt.ProfilingVerbosity.DETAILED, "to look into"))
        notes += prove_precision(name, layers, asked, expected).notes()
    plan = work.build(trt.ProfilingVerbosity.LAYER_NAMES_ONLY, "to run")
    if layers and (difference := _difference(layers, work.layers_of(plan))):
        notes.append(difference)
    if unwritten := write_timings(timing_cache, work.measured):
        notes.append(unwritten)
    return Built(plan, count_layers(layers), perf_counter() - begun, (*notes, *work.notes))


class _Build:
    """A parsed graph, and what is measured while it is built."""

    def __init__(
        self,
        trt: Any,
        name: str,
        graph: bytes,
        shapes: list[dict[str, tuple[int, ...]]],
        options: BuildOptions,
        progress: BuildProgress,
        gpu: Gpu,
        measured: bytes,
    ) -> None:
        self._trt, self._name, self._shapes, self._options = trt, name, shapes, options
        self._progress, self._gpu = progress, gpu
        self._polygraphy = import_polygraphy()
        self._log = tensorrt_log()
        self.measured = measured
        self.notes: list[str] = []
        self._builder: tensorrt.Builder = trt.Builder(self._log.logger)
        self._check_dla()
        # The parser owns the weights that the network refers to.
        self._network, self._parser = self._parsed(graph)

    def build(self, verbosity: Any, purpose: str) -> bytes:
        """The serialised engine; KeyboardInterrupt after Ctrl-C."""
        mark = self._log.mark()
        pulse = Pulse(f"{self._network.num_layers} layers")
        monitor = monitor_for(self._trt, pulse)
        configs: list[tensorrt.IBuilderConfig] = []

        def configure(builder: tensorrt.Builder, network: tensorrt.INetworkDefinition) -> tensorrt.IBuilderConfig:
            config = self._config(builder, network, verbosity, monitor)
            configs.append(config)
            return config

        def work() -> bytes:
            with _quiet_polygraphy():
                build = self._polygraphy.EngineBytesFromNetwork((self._builder, self._network), config=configure)
                return memoryview(build()).tobytes()

        self._progress.begin(f"{self._name} {purpose}")
        try:
            plan = watched(work, pulse, self._progress)
        except EngineError:
            raise
        except Exception as error:  # Polygraphy's own family, and whatever TensorRT's bindings raise
            raise self._failed("could not build", mark, error) from error
        finally:
            self._progress.end()
        self.measured = timings_of(configs[-1])
        return plan

    def layers_of(self, plan: bytes) -> list[EngineLayer]:
        """What the inspector tells of an engine that was built just now."""
        mark = self._log.mark()
        runtime: tensorrt.Runtime | None = None
        engine: tensorrt.ICudaEngine | None = None
        inspector: tensorrt.EngineInspector | None = None
        with primary_context(self._gpu):
            try:
                runtime = self._trt.Runtime(self._log.logger)
                if self._options.dla_core is not None:
                    runtime.DLA_core = self._options.dla_core
                engine = runtime.deserialize_cuda_engine(plan)
                if engine is None:
                    raise self._failed("cannot load what it built of", mark)
                inspector = engine.create_engine_inspector()
                text = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
            finally:
                del inspector, engine, runtime  # before their context goes, even where an error keeps this frame
        return layers_from_json(str(text))

    def _config(
        self, builder: tensorrt.Builder, network: tensorrt.INetworkDefinition, verbosity: Any, monitor: Any
    ) -> tensorrt.IBuilderConfig:
        trt, options, polygraphy = self._trt, self._options, self._polygraphy
        profiles = []
        for shapes in self._shapes:
            profile = polygraphy.Profile()
            for tensor, shape in shapes.items():
                profile.add(tensor, min=shape, opt=shape, max=shape)
            profiles.append(profile)
        config: tensorrt.IBuilderConfig = polygraphy.CreateConfig(
            profiles=profiles,
            tf32=options.tf32,
            profiling_verbosity=verbosity,
            memory_pool_limits={trt.MemoryPoolType.WORKSPACE: options.workspace_bytes},
            builder_optimization_level=options.optimization_level,
            max_aux_streams=options.max_aux_streams,
        )(builder, network)
        if monitor is not None and hasattr(config, "progress_monitor"):
            config.progress_monitor = monitor
        if options.dla_core is not None:
            # Not Polygraphy's use_dla: it asks for precisions, which a strongly typed network forbids, and for core 0.
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = options.dla_core
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        if not attach_timings(config, self.measured):
            self.notes.append(
                "the timing cache was measured by another TensorRT or on another device, or is damaged; it began anew"
            )
        return config

    def _parsed(self, graph: bytes) -> tuple[tensorrt.INetworkDefinition, tensorrt.OnnxParser]:
        trt = self._trt
        flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        if flag is None and hasattr(trt.BuilderFlag, "FP16"):
            raise EngineError(
                f"TensorRT {trt.__version__} has no strongly typed networks",
                expected="TensorRT 10.3 or newer, as JetPack 6.1 and newer bring it",
                fix="affectrt build BUNDLE --backend onnxruntime, or a newer JetPack",
            )
        mark = self._log.mark()
        # Not Polygraphy's loader: it prints what the parser found, and forgets it.
        network = self._builder.create_network(0 if flag is None else 1 << int(flag))
        if network is None:
            raise self._failed("cannot begin a network for", mark)
        trt.init_libnvinfer_plugins(self._log.logger, "")
        parser: tensorrt.OnnxParser = trt.OnnxParser(network, self._log.logger)
        if not parser.parse(graph) or parser.num_errors:
            problems = [_told(parser.get_error(index)) for index in range(parser.num_errors)]
            raise EngineError(
                listed(
                    f"TensorRT {trt.__version__} cannot read the graph of {self._name}",
                    problems or self._log.errors_since(mark) or ["it does not say why"],
                ),
                expected="operators that this version of TensorRT takes",
                fix="another --precision, or affectrt build BUNDLE --backend onnxruntime",
            )
        return network, parser

    def _check_dla(self) -> None:
        core = self._options.dla_core
        if core is None:
            return
        cores = int(self._builder.num_DLA_cores)
        if core >= cores:
            there = f"{cores} cores, numbered from 0" if cores else "none that this TensorRT can use"
            raise UsageError(
                f"there is no DLA core {core}: this machine ({self._gpu.name}) has {there}",
                expected="AGX Orin or Orin NX, with JetPack 6, or JetPack 7.2.2 and TensorRT 11.4.1 or newer",
                fix="leave --dla out",
            )

    def _failed(self, what: str, mark: int, error: Exception | None = None) -> EngineError:
        lines = self._log.errors_since(mark) or ([str(error).strip() or type(error).__name__] if error else [])
        title = f"TensorRT {self._trt.__version__} {what} {self._name}"
        return EngineError(
            listed(title, lines) if lines else f"{title} and does not say why",
            expected=f"a graph that this version builds, and memory for it ({self._options.in_words()})",
            fix="another --precision, more --workspace-mib, or affectrt build BUNDLE --backend onnxruntime",
        )


def _difference(twin: list[EngineLayer], shipped: list[EngineLayer]) -> str | None:
    """How the layers of the engine that ships differ from those that were looked into; None if they do not."""
    inside = {(layer.profile, layer.name) for layer in twin}
    outside = {(layer.profile, layer.name) for layer in shipped}
    if inside == outside:
        return None
    return (
        f"{len(inside ^ outside)} of {len(inside | outside)} layer names differ between the engine that was looked "
        "into and the one that runs; the precisions are those of the former"
    )


def _told(error: Any) -> str:
    """A parser's error with its node and operator, as far as this version tells them."""

    def ask(name: str) -> str:
        method: Callable[[], object] | None = getattr(error, name, None)
        return str(method() or "").strip() if method is not None else ""

    where, operator = ask("node_name"), ask("node_operator")
    text = ask("desc") or str(error)
    if not where:
        where = f"node {ask('node')}" if ask("node") else "the graph"
    return f"{where}{f' ({operator})' if operator else ''}: {text}"


@contextmanager
def _quiet_polygraphy() -> Iterator[None]:
    """Polygraphy writes to standard output, which is not its own here; what fails is raised all the same."""
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
        yield
