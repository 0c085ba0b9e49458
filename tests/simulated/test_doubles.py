"""The simulated TensorRT is as strict as the real one, so that what passes on it means something."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import tensorrt as trt
from doubles.nvidia import faults
from doubles.nvidia.primary import primary_context
from doubles.nvidia.small_graph import small_graph
from doubles.nvidia.small_plan import STRONG, Listener, build

ELEVEN = trt.__version__.startswith("11.")


# --- the surface ------------------------------------------------------------------------------------------------------


def test_what_eleven_removed_is_gone_there_and_nowhere_else():
    for owner, name in (
        (trt.BuilderFlag, "FP16"),
        (trt.BuilderFlag, "INT8"),
        (trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"),
        (trt.ICudaEngine, "device_memory_size"),
        (trt, "IInt8EntropyCalibrator2"),
    ):
        assert hasattr(owner, name) is not ELEVEN


@pytest.mark.parametrize("owner, name", [("IExecutionContext", "execute_async_v2"), ("ICudaEngine", "num_bindings")])
def test_what_ten_removed_is_gone_everywhere(owner, name):
    assert not hasattr(getattr(trt, owner), name)


def test_unknown_attributes_cannot_be_set():
    builder = trt.Builder(trt.Logger())
    with pytest.raises(AttributeError):
        builder.create_builder_config().no_such_option = 1
    with pytest.raises(AttributeError):
        builder.create_builder_config().num_optimization_profiles = 1


def test_wrong_arity_keywords_and_types_are_refused():
    builder = trt.Builder(trt.Logger())
    config = builder.create_builder_config()
    for wrong in (
        trt.Builder,
        lambda: trt.Builder("no logger"),
        lambda: builder.create_network(1.0),
        lambda: builder.create_network(0, 0),
        lambda: builder.create_network(mask=0),
        lambda: config.set_flag(1),
        lambda: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, "1 GiB"),
        lambda: config.add_optimization_profile(None),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError):
        config.builder_optimization_level = "5"


def test_an_enumeration_is_no_integer_though_it_turns_into_one():
    flag = trt.BuilderFlag.TF32
    assert int(flag) == trt.BuilderFlag.__members__["TF32"].value
    assert flag != int(flag)
    with pytest.raises(TypeError):
        _ = 1 << flag


def test_a_class_without_constructor_cannot_be_made():
    with pytest.raises(TypeError, match="No constructor defined"):
        trt.ICudaEngine()


def test_a_logger_that_forgets_the_base_class_is_refused():
    class Forgetful(trt.ILogger):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="must be called"):
        Forgetful()


def test_host_memory_lends_its_bytes_and_does_nothing_else():
    plan, _ = build()
    cache = trt.Builder(trt.Logger()).create_builder_config().create_timing_cache(b"")
    memory = cache.serialize()
    assert len(bytes(memory)) == memory.nbytes
    assert bytes(memoryview(memory)) == bytes(memory)
    with pytest.raises(TypeError):
        len(memory)
    assert plan


# --- the parser -------------------------------------------------------------------------------------------------------


def parse(graph: bytes):
    logger = Listener()
    network = trt.Builder(logger).create_network(STRONG)
    parser = trt.OnnxParser(network, logger)
    return parser.parse(graph), parser, network, logger


def test_the_parser_reads_inputs_outputs_and_layers():
    fine, parser, network, _ = parse(small_graph("int8"))
    assert fine and parser.num_errors == 0
    assert (network.get_input(0).name, tuple(network.get_input(0).shape)) == ("frames", (-1, 8, 8, 3))
    assert network.get_input(0).dtype == trt.DataType.UINT8
    assert network.get_output(0).name == "scores"
    assert "conv" in {network.get_layer(at).name for at in range(network.num_layers)}


def test_the_parser_says_what_it_cannot_read():
    for graph in (b"no model", small_graph(opset=25)):
        fine, parser, _, logger = parse(graph)
        assert not fine and parser.num_errors == 1 and logger.errors
        assert parser.get_error(0).desc()
        parser.clear_errors()
        assert parser.num_errors == 0


def test_bytes_may_only_be_cast():
    import onnx

    model = onnx.load_model_from_string(small_graph())
    model.graph.node[0].op_type = "Identity"
    del model.graph.node[0].attribute[:]
    model.graph.node[2].input[0] = "nothing"
    assert not parse(model.SerializeToString())[0]


# --- the inspector ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cuda():
    with primary_context():
        yield


def inspect(plan: bytes) -> dict:
    engine = trt.Runtime(Listener()).deserialize_cuda_engine(plan)
    return json.loads(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def types_by_name(plan: bytes) -> dict[str, str]:
    return {layer["Name"]: layer["Inputs"][0]["Format/Datatype"] for layer in inspect(plan)["Layers"]}


@pytest.mark.parametrize("precision, word", [("fp32", "F(?:loat|P32)"), ("fp16", "Half|FP16"), ("int8", "Int8")])
def test_the_inspector_tells_the_type_a_layer_came_out_in(cuda, precision, word):
    types = types_by_name(build(small_graph(precision), batches=(1,))[0])
    (found,) = (kind for name, kind in types.items() if "conv +" in name)
    assert re.search(word, found)


def test_each_profile_has_its_layers(cuda):
    names = [layer["Name"] for layer in inspect(build(batches=(1, 4))[0])["Layers"]]
    assert "conv + relu" in names and "conv + relu [profile 1]" in names


def test_without_detail_the_inspector_names_layers_only(cuda):
    assert all(isinstance(layer, str) for layer in inspect(build(verbosity="LAYER_NAMES_ONLY")[0])["Layers"])
    assert inspect(build(verbosity="NONE")[0])["Layers"] == []


def test_a_layer_can_be_made_to_come_out_otherwise(cuda):
    faults.tensorrt.build_as({"conv": "Float"})
    found = types_by_name(build(small_graph("int8"), batches=(1,))[0])
    (kind,) = (kind for name, kind in found.items() if "conv +" in name)
    assert "Int8" not in kind


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_corrupt_plan_or_one_of_another_version_is_refused(cuda):
    plan, _ = build()
    other = plan.replace(trt.__version__.encode(), b"9" * len(trt.__version__))
    resealed = other[:-32] + hashlib.sha256(other[:-32]).digest()
    for bad, why in ((b"rubbish", "magic"), (plan[:-40] + bytes(40), "corrupt"), (resealed, "version")):
        logger = Listener()
        assert trt.Runtime(logger).deserialize_cuda_engine(bad) is None
        assert why in logger.errors[-1]


def test_an_engine_tells_its_tensors_and_profiles(cuda):
    engine = trt.Runtime(Listener()).deserialize_cuda_engine(build()[0])
    assert [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)] == ["frames", "scores"]
    assert engine.get_tensor_mode("scores") == trt.TensorIOMode.OUTPUT
    assert engine.num_optimization_profiles == 2
    assert [tuple(sizes) for sizes in engine.get_tensor_profile_shape("frames", 1)] == [(4, 8, 8, 3)] * 3
    assert engine.device_memory_size_v2 > 0


def test_without_a_cuda_context_nothing_is_deserialised():
    logger = Listener()
    assert trt.Runtime(logger).deserialize_cuda_engine(build()[0]) is None
    assert "201" in logger.errors[-1] or "CUDA error 3" in logger.errors[-1]
