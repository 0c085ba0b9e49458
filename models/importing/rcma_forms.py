"""Files of arXiv 2403.13659: the whole network in both forms of its code, and the backbones that it starts from.

The names come from the authors' modules, the widths from the shapes. Several tensors tell most of these, and what most
say counts; documented widths are taken where nothing tells. The comparison afterwards can then blame the right tensor.
"""

from __future__ import annotations

import math

from ..rcma_config import RcmaConfig
from ..sizes import paper_config
from .forms import Dead, Form, Tensors, count, most_say, renamed, size

__all__ = ["RCMA_FORMS"]

PAPER, PAPER_HEAD = paper_config("rcma-v1"), paper_config("rjcma-head")

# Ours → theirs, relative to the backbone.
IR50 = {
    r"stem\.": "backbone.input_layer.",
    r"body\.(\d+)\.residual\.": r"backbone.body.\1.res_layer.",
    r"body\.(\d+)\.shortcut\.": r"backbone.body.\1.shortcut_layer.",
    r"output\.": "backbone.output_layer.",
}
VGGISH = {r"convolutions\.": "features."}
MODALITIES = {"video": "video", "audio": "logmel", "text": "bert"}
NUMBERS = {"video": 1, "audio": 2, "text": 3}
# Named by the modalities that they join (v)ideo, (a)udio, (t)ext; each serves the one that is left.
JOINTS = {"video": "at", "audio": "tv", "text": "va"}

CONVOLUTIONS = (0, 3, 6, 8, 11, 13)
ENTRIES = ("weight", "bias")


def ir50_fields(tensors: Tensors, prefix: str = "") -> dict[str, object]:
    stem, body, output = (f"{prefix}backbone.{name}" for name in ("input_layer", "body", "output_layer"))
    axes = [(f"{stem}.0.weight", 0), *_norm(f"{stem}.1"), (f"{stem}.2.weight", 0)]
    width = most_say(tensors, axes, PAPER.ir_widths[0])
    # A stage is a run of units of one width; the first of each but the first halves the picture.
    units: list[int] = []
    widths: list[int] = []
    for index in range(count(tensors, body)):
        layers = [(f"{body}.{index}.res_layer.{layer}.weight", 0) for layer in (1, 2, 3)]
        width = most_say(tensors, [*layers, *_norm(f"{body}.{index}.res_layer.4")], width)
        if not widths or width != widths[-1]:
            widths.append(width)
            units.append(0)
        units[-1] += 1
    units, widths = units or list(PAPER.ir_units), widths or list(PAPER.ir_widths)
    halved = 2 ** (len(units) - 1)
    side = math.isqrt(size(tensors, f"{output}.3.weight", 1, 0) // widths[-1])
    crop_px = side * halved or PAPER.crop_px
    features = [(f"{output}.3.weight", 0), (f"{output}.3.bias", 0), *_norm(f"{output}.4")]
    return {
        "crop_px": crop_px,
        "resize_px": round(crop_px * PAPER.resize_px / PAPER.crop_px),
        "ir_units": tuple(units),
        "ir_widths": tuple(widths),
        "video_dim": most_say(tensors, features, PAPER.video_dim),
    }


def vggish_fields(tensors: Tensors, prefix: str = "") -> dict[str, object]:
    channels = []
    for index, after, documented in zip(CONVOLUTIONS, (*CONVOLUTIONS[1:], None), PAPER.vggish_channels, strict=True):
        layer = f"{prefix}features.{index}"
        axes = [(f"{layer}.weight", 0), (f"{layer}.bias", 0), (f"{prefix}features.{after}.weight", 1)]
        channels.append(most_say(tensors, axes, documented))
    first, second, third = (f"{prefix}embeddings.{index}" for index in (0, 2, 4))
    hidden = [(f"{first}.weight", 0), (f"{first}.bias", 0), (f"{second}.weight", 0), (f"{second}.weight", 1)]
    hidden += [(f"{second}.bias", 0), (f"{third}.weight", 1)]
    return {
        "vggish_channels": tuple(channels),
        "vggish_hidden": most_say(tensors, hidden, PAPER.vggish_hidden),
        "audio_dim": most_say(tensors, [(f"{third}.weight", 0), (f"{third}.bias", 0)], PAPER.audio_dim),
    }


def fusion_fields(tensors: Tensors, documented: RcmaConfig) -> dict[str, object]:
    fields: dict[str, object] = {}
    for ours, theirs in MODALITIES.items():
        widths: list[int] = []
        for index in range(count(tensors, f"temporal.{theirs}.network")):
            block = f"temporal.{theirs}.network.{index}"
            axes = [(f"{block}.conv{n}.{entry}", 0) for n in (1, 2) for entry in ("bias", "weight_g", "weight_v")]
            widths.append(most_say(tensors, axes, widths[-1] if widths else documented.tcn_widths[ours][0]))
        fields[f"{ours}_tcn"] = tuple(widths) or documented.tcn_widths[ours]
    layers = count(tensors, "coattn.dcn_layers")
    dense = [f"coattn.dcn_layers.{layer}.dense_coattn" for layer in range(layers)]
    keys = [(f"{name}.key{number}_linear.{entry}", 0) for name in dense for number in (1, 2, 3) for entry in ENTRIES]
    first = [
        f"temporal.{theirs}.network.0.conv{number}.weight_v" for theirs in MODALITIES.values() for number in (1, 2)
    ]
    words = [("temporal.bert.network.0.conv1.weight_v", 1), ("temporal.bert.network.0.downsample.weight", 1)]
    return fields | {
        "text_dim": most_say(tensors, words, documented.text_dim),
        "tcn_kernel": most_say(tensors, [(name, 2) for name in first], documented.tcn_kernel),
        "window_steps": most_say(tensors, keys, documented.window_steps),
        "attention_layers": layers or documented.layers,
        "attention": documented.attention,
        "head": documented.head,
    }


def _norm(name: str) -> list[tuple[str, int]]:
    return [(f"{name}.{entry}", 0) for entry in (*ENTRIES, "running_mean", "running_var")]


def whole_fields(tensors: Tensors, documented: RcmaConfig) -> dict[str, object]:
    fusion = fusion_fields(tensors, documented)
    hop = min(documented.default_hop_steps, int(str(fusion["window_steps"])))
    return (
        ir50_fields(tensors, "spatial.visual.")
        | vggish_fields(tensors, "spatial.audio.backbone.")
        | fusion
        | {"default_hop_steps": hop}
    )


def v1_fields(tensors: Tensors) -> dict[str, object]:
    return whole_fields(tensors, PAPER)


def head_fields(tensors: Tensors) -> dict[str, object]:
    axes = [("regressor1.weight", 0), ("regressor1.bias", 0), *_norm("bn1"), ("regressor2.weight", 1)]
    hidden = most_say(tensors, axes, PAPER_HEAD.head_hidden)
    return whole_fields(tensors, PAPER_HEAD) | {"head_hidden": hidden}


def _whole_names(head: dict[str, str]) -> dict[str, str]:
    """Ours → theirs for everything but the weights of a weight-normalised convolution, whose ends differ too."""
    layer = r"fusion\.attention\.layers\.(\d+)\."
    attention = r"coattn.dcn_layers.\1."
    names = {rf"encoders\.video\.backbone\.{ours}": f"spatial.visual.{theirs}" for ours, theirs in IR50.items()}
    names |= {
        rf"encoders\.audio\.backbone\.{ours}": f"spatial.audio.backbone.{theirs}" for ours, theirs in VGGISH.items()
    }
    names[r"encoders\.audio\.backbone\."] = "spatial.audio.backbone."
    for ours, theirs in MODALITIES.items():
        block = rf"fusion\.temporal\.{ours}\.blocks\.(\d+)\."
        names[block + r"(conv\d)\.parametrizations\.weight\.original0"] = rf"temporal.{theirs}.network.\1.\2.weight_g"
        names[block + r"(conv\d)\.parametrizations\.weight\.original1"] = rf"temporal.{theirs}.network.\1.\2.weight_v"
        names[block + r"shortcut\."] = rf"temporal.{theirs}.network.\1.downsample."
        names[block] = rf"temporal.{theirs}.network.\1."
        names[rf"fusion\.temporal\.{ours}\.norm\."] = f"bn.{theirs}."
        number = NUMBERS[ours]
        names[rf"{layer}joint\.{ours}\."] = rf"{attention}dense_coattn.query_linear_{JOINTS[ours]}."
        names[rf"{layer}key\.{ours}\."] = rf"{attention}dense_coattn.key{number}_linear."
        names[rf"{layer}value\.{ours}\."] = rf"{attention}dense_coattn.value{number}_linear."
        names[rf"{layer}output\.{ours}\."] = rf"{attention}linears.{number - 1}.0."
    return names | {rf"fusion\.head\.{ours}\.": f"{theirs}." for ours, theirs in head.items()}


COPY = "the same convolution under a second name, as the authors' module registers it twice"
DEAD_IN_BOTH = (
    Dead("spatial.visual.logits", r"spatial\.visual\.logits\.", "classifier of expressions that the fusion never uses"),
    Dead("temporal.*.net.0", r"(temporal\.\w+\.network\.\d+)\.net\.0\.", COPY, r"\1.conv1."),
    Dead("temporal.*.net.4", r"(temporal\.\w+\.network\.\d+)\.net\.4\.", COPY, r"\1.conv2."),
)
QUERY = Dead(
    "dense_coattn.query_linear",
    r"coattn\.dcn_layers\.\d+\.dense_coattn\.query_linear\.",
    "computed and thrown away by the authors' code, never trained",
)
RELU = "the ReLU in which torchvggish's code ends is not in the file and not in RCMA: its features may be negative"
POSTPROCESSING = Dead("pproc", r"pproc\.", "PCA and quantisation for AudioSet's published features; RCMA uses neither")
AUDIOSET = "AudioSet"
FACES = "MS-Celeb-1M, then FER+"
AFF_WILD2 = f"Aff-Wild2, valence-arousal track of ABAW6 (the fold is not in the file); backbones: {FACES}; {AUDIOSET}"
UNLICENSED = "not stated in the files; the repositories that they belong to carry no licence"

RCMA_FORMS = (
    Form(
        "rcma-v1",
        "rcma",
        None,
        "the whole network, first version's code",
        (r"coattn\.", r"regressor\."),
        v1_fields,
        renamed(_whole_names({"linear": "regressor"})),
        AFF_WILD2,
        dead=DEAD_IN_BOTH,
        licence=UNLICENSED,
    ),
    Form(
        "rjcma-head",
        "rcma",
        None,
        "the whole network, later code",
        (r"coattn\.", r"(regressor[12]|bn1)\."),
        head_fields,
        renamed(_whole_names({"hidden": "regressor1", "norm": "bn1", "linear": "regressor2"})),
        AFF_WILD2,
        unless=(r"regressor\.",),
        dead=(*DEAD_IN_BOTH, QUERY),
        licence=UNLICENSED,
    ),
    Form(
        "res50",
        "rcma",
        "ir50",
        "IR-50, the encoder of faces, as trained on expressions",
        (r"backbone\.(body|input_layer|output_layer)\.",),
        ir50_fields,
        renamed(IR50),
        FACES,
        dead=(Dead("logits", r"logits\.", "classifier of expressions that the fusion never uses"),),
        licence=UNLICENSED,
    ),
    Form(
        "vggish",
        "rcma",
        "vggish",
        "VGGish, the encoder of audio",
        (r"features\.\d+\.", r"embeddings\.\d+\."),
        vggish_fields,
        renamed(VGGISH),
        AUDIOSET,
        unless=(r"pproc\.",),
        notes=(RELU,),
    ),
    Form(
        "torchvggish",
        "rcma",
        "vggish",
        "VGGish as torchvggish publishes it",
        (r"features\.\d+\.", r"embeddings\.\d+\.", r"pproc\."),
        vggish_fields,
        renamed(VGGISH),
        AUDIOSET,
        dead=(POSTPROCESSING,),
        notes=(RELU,),
    ),
)
