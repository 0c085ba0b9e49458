"""Convolutions over clips of few channels, with their time unrolled into channels: exact, and fast on eight bits.

ONNX Runtime's integer convolutions compute on four input channels at a time, in 3-D as in 2-D. One with another number,
such as the first of a network for clips, falls back to copying every patch of the clip first: 480 of the 600 ms that
I3D took so. As a convolution of images whose channels are the frames under the kernel it took 44 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .graph import GraphEditor, attributes_of, body_node
from .scope import body_nodes

if TYPE_CHECKING:
    import onnx

__all__ = ["unroll_clips"]

CHANNEL_GROUP = 4


@dataclass(frozen=True)
class _Time:
    """Along time: places before and after, and the frames that each output frame takes, from `first` on."""

    frames: int
    outputs: int
    stride: int
    before: int
    taps: int

    @property
    def after(self) -> int:
        """Frames of zeros at the end, so that the last output has all its taps."""
        return max(0, self.stride * (self.outputs - 1) + self.taps - self.before - self.frames)

    @property
    def indices(self) -> list[int]:
        """Of the padded clip, output by output."""
        return [self.stride * output + tap for output in range(self.outputs) for tap in range(self.taps)]


def unroll_clips(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convolutions (B, C, T, H, W) whose C is no multiple of four become 2-D ones over (B·T, C·taps, H, W).

    What follows and leaves frames apart (ReLU, pools and convolutions that span one frame) stays on images; then a
    clip is made of them again. Values keep their names, though those on images have another shape.
    """
    graph = GraphEditor(model)
    for node in body_nodes(graph.nodes):
        if _is_shallow(graph, node):
            _unroll(graph, node)
    return graph.model()


def _is_shallow(graph: GraphEditor, node: onnx.NodeProto) -> bool:
    if node.op_type != "Conv" or not graph.is_constant(node.input[1]) or graph.constant(node.input[1]).ndim != 5:
        return False
    attributes, shape = attributes_of(node), graph.shape(node.input[0])
    _, channels, steps, *_ = graph.constant(node.input[1]).shape
    return (
        channels % CHANNEL_GROUP != 0
        and steps > 1
        and attributes.get("group", 1) == 1
        and all(step == 1 for step in attributes.get("dilations", ()))
        and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"")
        and node.output[0] not in graph.outputs
        and shape is not None
        and None not in shape[1:]
    )


def _unroll(graph: GraphEditor, conv: onnx.NodeProto) -> None:
    weights, attributes = graph.constant(conv.input[1]), attributes_of(conv)
    shape, made = graph.shape(conv.input[0]), graph.shape(conv.output[0])
    assert shape is not None and made is not None and made[2] is not None
    _, channels, frames, *size = shape
    assert channels is not None and frames is not None
    filters, _, steps, *kernel = weights.shape
    taps = next(n for n in range(steps, steps + CHANNEL_GROUP) if n * channels % CHANNEL_GROUP == 0)
    stride = attributes.get("strides", [1])[0]
    time = _Time(frames, made[2], stride, attributes.get("pads", [0])[0], taps)

    stem = f"{conv.output[0]}:unrolled"
    pads = np.array([0, time.before, 0, 0, 0, 0, time.after, 0, 0, 0], np.int64)
    indices = np.array(time.indices, np.int64)
    images = np.array([-1, taps * channels, *size], np.int64)
    into = [
        body_node("Transpose", [conv.input[0]], f"{stem}:frames", perm=[0, 2, 1, 3, 4]),
        body_node("Pad", [f"{stem}:frames", graph.set_constant(f"{stem}:pads", pads)], f"{stem}:padded"),
        body_node("Gather", [f"{stem}:padded", graph.set_constant(f"{stem}:taps", indices)], f"{stem}:taken", axis=1),
        body_node("Reshape", [f"{stem}:taken", graph.set_constant(f"{stem}:shape", images)], f"{stem}:images"),
    ]
    # The kernel of every tap stands before its channels; taps past the kernel's end, which fill the group, are zeros.
    unrolled = np.zeros((filters, taps, channels, *kernel), weights.dtype)
    unrolled[:, :steps] = np.moveaxis(weights, 2, 1)
    conv.input[1] = graph.set_constant(f"{stem}:weight", unrolled.reshape(filters, -1, *kernel))
    conv.input[0] = f"{stem}:images"
    at = graph.nodes.index(conv)
    graph.nodes[at:at] = into
    _leave_time(conv)
    _back_to_clips(graph, _last_on_images(graph, conv), time.outputs)


def _last_on_images(graph: GraphEditor, node: onnx.NodeProto) -> onnx.NodeProto:
    """Follow the chain from `node` while its users leave frames apart, and turn those to images as well."""
    while node.output[0] not in graph.outputs:
        users = graph.consumers()[node.output[0]]
        if len(users) != 1 or not _leaves_frames_apart(graph, users[0]):
            break
        node = users[0]
        _leave_time(node)
        if node.op_type == "Conv":
            weights = graph.constant(node.input[1])
            node.input[1] = graph.set_constant(f"{node.output[0]}:weight", weights[:, :, 0])
    return node


def _leaves_frames_apart(graph: GraphEditor, node: onnx.NodeProto) -> bool:
    if node.output[0] in graph.outputs or (node.op_type == "Conv" and not graph.is_constant(node.input[1])):
        return False
    attributes = attributes_of(node)
    return node.op_type == "Relu" or (
        node.op_type in ("Conv", "MaxPool")
        and len(node.output) == 1
        and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"")
        and len(attributes.get("kernel_shape", ())) == 3
        and attributes["kernel_shape"][0] == 1
        and attributes.get("strides", [1])[0] == 1
        and not any(attributes.get("pads", [0])[::3])
    )


def _leave_time(node: onnx.NodeProto) -> None:
    """Take the first of three axes out of a node's attributes."""
    for attribute in node.attribute:
        if attribute.name in ("kernel_shape", "strides", "dilations"):
            attribute.ints[:] = attribute.ints[1:]
        elif attribute.name == "pads":
            attribute.ints[:] = [*attribute.ints[1:3], *attribute.ints[4:]]


def _back_to_clips(graph: GraphEditor, last: onnx.NodeProto, frames: int) -> None:
    name = last.output[0]
    shape = graph.shape(name)
    assert shape is not None
    clips = np.array([-1, frames, shape[1], *shape[3:]], np.int64)
    users = graph.consumers()[name]
    out_of = [
        body_node("Reshape", [name, graph.set_constant(f"{name}:clips", clips)], f"{name}:frames"),
        body_node("Transpose", [f"{name}:frames"], f"{name}:clip", perm=[0, 2, 1, 3, 4]),
    ]
    at = graph.nodes.index(last) + 1
    graph.nodes[at:at] = out_of
    for user in users:
        user.input[:] = [f"{name}:clip" if value == name else value for value in user.input]
