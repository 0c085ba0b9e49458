"""Files of arXiv 2111.05222: both backbones, attention and head, each in a file of its own; and I3D as first published.

Widths are read from the shapes. Several tensors tell each of them, and what most say counts: then the comparison can
name the one that is wrong. The documented widths are taken where nothing tells.
"""

from __future__ import annotations

from ..cav_config import CavConfig
from ..i3d import MIXED
from .forms import Dead, Form, Refused, Tensors, most_say, renamed, size

__all__ = ["CAV_FORMS", "CAV_REFUSED"]

PAPER = CavConfig()
NORM = ("weight", "bias", "running_mean", "running_var")

# Ours → theirs.
STEM = {"conv_1a": "Conv3d_1a_7x7", "conv_2b": "Conv3d_2b_1x1", "conv_2c": "Conv3d_2c_3x3"}
BRANCHES = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
UNITS = STEM | {rf"{name}\.(\w+)": rf"{name.capitalize()}.\1" for name in MIXED}
ENDS = {"conv": "conv3d", "norm": "bn"}
I3D = {
    rf"trunk\.{unit}\.{end}\.": f"{their_unit}.{their_end}."
    for unit, their_unit in UNITS.items()
    for end, their_end in ENDS.items()
}
AUDIO = {r"norm1\.": "bn49.", r"norm2_2\.": "bn50."}
# Layer of theirs → the norm of its width, if any, and the layer that takes it in.
AUDIO_LAYERS = {
    "conv1": ("bn49", "conv2"),
    "conv2": (None, "conv2_2"),
    "conv2_2": ("bn50", "conv3_1"),
    "conv3_1": (None, "conv3_2"),
    "conv3_2": ("bn52", None),
}
HEAD_UNUSED = r"(gru|rnn|rnn_av|fc6|bn54|fc7|predictions)\."
HEAD_LAYERS = ("modal_predictions.1", "modal_predictions.3", "modal_predictions.5")


def i3d_fields(tensors: Tensors, prefix: str = "") -> dict[str, object]:
    def width(unit: str, documented: int) -> int:
        names = (f"{unit}.conv3d.weight", *(f"{unit}.bn.{entry}" for entry in NORM))
        return most_say(tensors, ((prefix + name, 0) for name in names), documented)

    stem = zip(STEM.values(), PAPER.i3d_stem, strict=True)
    mixed = zip((name.capitalize() for name in MIXED), PAPER.i3d_mixed, strict=True)
    return {
        "i3d_stem": tuple(width(unit, documented) for unit, documented in stem),
        "i3d_mixed": tuple(
            tuple(width(f"{unit}.{branch}", side) for branch, side in zip(BRANCHES, documented, strict=True))
            for unit, documented in mixed
        ),
    }


def visual_fields(tensors: Tensors) -> dict[str, object]:
    return i3d_fields(tensors, "i3d_WSDDA.")


def audio_fields(tensors: Tensors) -> dict[str, object]:
    channels = []
    for (layer, (norm, after)), documented in zip(AUDIO_LAYERS.items(), PAPER.audio_channels, strict=True):
        axes = [(f"{layer}.weight", 0), (f"{layer}.bias", 0)]
        axes += [(f"{norm}.{entry}", 0) for entry in NORM] if norm else []
        axes += [(f"{after}.weight", 1)] if after else []
        channels.append(most_say(tensors, axes, documented))
    return {"audio_channels": tuple(channels)}


def head_fields(tensors: Tensors) -> dict[str, object]:
    hidden = []
    for layer, after, documented in zip(HEAD_LAYERS, HEAD_LAYERS[1:], PAPER.head_hidden, strict=False):
        axes = ((f"{layer}.weight", 0), (f"{layer}.bias", 0), (f"{after}.weight", 1))
        hidden.append(most_say(tensors, axes, documented))
    # Of the attention beside the head no number is used, but its sides are the widths of both features.
    features = [size(tensors, "cam.corr_weights", axis, PAPER.audio_channels[-1]) for axis in (0, 1)]
    side_by_side = size(tensors, f"{HEAD_LAYERS[0]}.weight", 1, 0) == sum(features)
    return {"head_hidden": tuple(hidden), "combine": "concatenation" if side_by_side else "sum"}


def attention_fields(_: Tensors) -> dict[str, object]:
    """Its sides are the widths of the features, which the backbones decide."""
    return {}


KINETICS = "ImageNet, then Kinetics-400"

ACTIONS = "classifier of Kinetics' 400 actions, behind the features"
UNIMODAL = "regression from this modality alone, which trained the backbone; the fusion does not use it"
UNUSED = "built by the authors' class, but no output depends on it"
UNTRAINED = "the untrained copy: the authors train another object and save this one with the head, as it was at first"

GPL = "not stated in the files; the code that links them is under GPL-3.0, and of the weights nothing is documented"
APACHE = (
    "not stated in the file; the code that it belongs to is under Apache-2.0, and of the weights nothing is documented"
)

NOT_TOLD = (
    "taken as in the authors' code, because no tensor tells: softmax over columns, temperature 1, no residual; that "
    "code raises an error at the attention, and this is the one reading in which its shapes agree"
)
SIDE_BY_SIDE = "if it takes both features side by side, video is taken to come first: their order is not documented"
LOOKALIKE = (
    "the authors' folder holds compiled code of another audio network, with other pools and no padding; files of it "
    "may have these names too, and would give features that mean nothing"
)
NOT_AFFECT = "not fine-tuned on affect: a fusion that was trained on other features cannot use these"

CAV_FORMS = (
    Form(
        "cav-visual",
        "cav",
        "i3d",
        "I3D, the encoder of clips, fine-tuned on affect",
        (r"i3d_WSDDA\.",),
        visual_fields,
        renamed({ours: f"i3d_WSDDA.{theirs}" for ours, theirs in I3D.items()}),
        f"video: {KINETICS}, then RECOLA",
        dead=(
            Dead("i3d_WSDDA.logits", r"i3d_WSDDA\.logits\.", ACTIONS),
            Dead("predictions", r"predictions\.", UNIMODAL),
        ),
        licence=GPL,
    ),
    Form(
        "cav-audio",
        "cav",
        "spectrogram-cnn",
        "the encoder of log-mel spectrograms",
        (r"conv2_2\.",),
        audio_fields,
        renamed(AUDIO),
        "audio: RECOLA",
        dead=(
            Dead("bn52", r"bn52\.", "a norm that the authors' class defines and never applies"),
            Dead("gru, rnn, fc6, bn54", r"(gru|rnn|fc6|bn54)\.", UNUSED),
            Dead("fc7, bn55, fc8", r"(fc7|bn55|fc8)\.", UNIMODAL),
        ),
        notes=(LOOKALIKE,),
        licence=GPL,
    ),
    Form(
        "cav-cam",
        "cav",
        "cross-attention",
        "the matrix of the cross-correlation attention",
        (r"corr_weights$",),
        attention_fields,
        renamed({"correlation": "corr_weights"}),
        "fusion: RECOLA",
        notes=(NOT_TOLD,),
        licence=GPL,
    ),
    Form(
        "cav-head",
        "cav",
        "tanh-head",
        "the fusion's head, from attended features to an estimate",
        (r"modal_predictions\.",),
        head_fields,
        lambda name: f"modal_predictions.{name}",
        "fusion: RECOLA",
        dead=(
            Dead("cam.corr_weights", r"cam\.corr_weights$", UNTRAINED),
            Dead("gru, rnn, rnn_av, fc6, bn54, fc7, predictions", HEAD_UNUSED, UNUSED),
        ),
        notes=(SIDE_BY_SIDE,),
        licence=GPL,
    ),
    Form(
        "i3d",
        "cav",
        "i3d",
        "I3D as trained on actions, without affect",
        (r"Conv3d_1a_7x7\.",),
        i3d_fields,
        renamed(I3D),
        KINETICS,
        dead=(Dead("logits", r"logits\.", ACTIONS),),
        notes=(NOT_AFFECT,),
        licence=APACHE,
    ),
)

CAV_REFUSED = (
    Refused(
        "the authors' other audio network of the same class name: two convolutions and an LSTM",
        (r"conv1\.", r"conv2\.", r"(.+\.)?weight_ih_l0$"),
        "its layers are not documented, and the published fusion never used it",
        "the file whose audio network has a layer conv2_2; the authors call it audiomodel.t7 or, their captions being "
        "swapped, a visual model",
        unless=(r"conv2_2\.", r"modal_predictions\."),
    ),
)
