"""Time unrolled into channels computes the same, whatever the clip's length, size, colours, kernel and stride."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.clip_encoder import clip_encoder

from affectrt.calibration.graph import GraphEditor, attributes_of
from affectrt.calibration.unroll import unroll_clips


def features(model: onnx.ModelProto, rows: int) -> np.ndarray:
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim][1:]
    frames = np.random.default_rng(7).integers(0, 256, (rows, *shape), dtype=np.uint8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": frames})[0]


def convolutions(model: onnx.ModelProto) -> Counter[tuple[int, ...]]:
    """Shapes of weights, how often each."""
    graph = GraphEditor(model)
    return Counter(graph.constant(node.input[1]).shape for node in graph.nodes if node.op_type == "Conv")


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("frames", "size", "colours", "kernel", "stride"),
    [(8, 16, 3, 7, 2), (7, 15, 3, 7, 2), (5, 12, 3, 3, 1), (6, 13, 1, 5, 2), (9, 14, 2, 3, 3), (4, 9, 6, 3, 2)],
)
def test_an_unrolled_stem_computes_the_same(
    frames: int, size: int, colours: int, kernel: int, stride: int, rows: int
) -> None:
    model = clip_encoder(frames=frames, size=size, colours=colours, kernel=kernel, stride=stride)
    changed = unroll_clips(model)
    wanted = features(model, rows)
    np.testing.assert_allclose(features(changed, rows), wanted, atol=1e-5 * np.abs(wanted).max())
    assert wanted.std(axis=1).min() > 0.1
    stems = [shape for shape in convolutions(changed) if len(shape) == 4 and shape[2] == kernel]
    assert len(stems) == 1 and stems[0][1] % 4 == 0 and stems[0][1] // colours >= kernel


def test_the_stem_and_what_leaves_frames_apart_after_it_work_on_images_and_the_rest_on_clips() -> None:
    model = clip_encoder()
    before, after = convolutions(model), convolutions(unroll_clips(model))
    assert before[(16, 3, 7, 7, 7)] == 1 and before[(16, 16, 1, 1, 1)] == 1
    assert after[(16, 24, 7, 7)] == 1 and after[(16, 16, 1, 1)] == 1
    assert {s: n for s, n in after.items() if len(s) == 5} == {
        s: n for s, n in before.items() if s not in ((16, 3, 7, 7, 7), (16, 16, 1, 1, 1))
    }
    pools = [len(attributes_of(n)["kernel_shape"]) for n in unroll_clips(model).graph.node if n.op_type == "MaxPool"]
    assert pools == [2, 3, 3, 3]


def test_a_pool_that_skips_frames_sees_clips_again() -> None:
    model = clip_encoder(frames=12, pool_stride=2)
    changed = unroll_clips(model)
    pool = next(node for node in changed.graph.node if node.op_type == "MaxPool")
    assert len(attributes_of(pool)["kernel_shape"]) == 3
    wanted = features(model, 2)
    np.testing.assert_allclose(features(changed, 2), wanted, atol=1e-5 * np.abs(wanted).max())


def test_convolutions_of_four_channels_at_a_time_stay_as_they_are() -> None:
    model = clip_encoder(colours=4)
    assert convolutions(unroll_clips(model)) == convolutions(model)


def test_the_batch_stays_dynamic_and_the_original_untouched() -> None:
    model = clip_encoder()
    before = model.SerializeToString(deterministic=True)
    changed = unroll_clips(model)
    assert model.SerializeToString(deterministic=True) == before
    for value in (*changed.graph.input, *changed.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
