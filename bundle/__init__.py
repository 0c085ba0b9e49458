"""The deployable artefact: contract, manifest, integrity, fingerprints, errors. `SPEC.md` specifies it."""

from .contract import (
    AudioModality,
    Contract,
    DType,
    Fusion,
    FusionStage,
    Modality,
    ModalityName,
    Output,
    TensorInfo,
    TextModality,
    VideoModality,
)
from .errors import (
    AffectError,
    BundleError,
    EngineError,
    MediaError,
    MissingDependency,
    ParityError,
    UsageError,
)
from .manifest import FORMAT, FORMAT_VERSION, Accuracy, Graph, Interval, Manifest, Precision, Provenance
from .store import Bundle, open_bundle
from .writer import BundleDraft, FileDraft, GraphDraft, update_bundle, write_bundle

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Accuracy",
    "AffectError",
    "AudioModality",
    "Bundle",
    "BundleDraft",
    "BundleError",
    "Contract",
    "DType",
    "EngineError",
    "FileDraft",
    "Fusion",
    "FusionStage",
    "Graph",
    "GraphDraft",
    "Interval",
    "Manifest",
    "MediaError",
    "MissingDependency",
    "Modality",
    "ModalityName",
    "Output",
    "ParityError",
    "Precision",
    "Provenance",
    "TensorInfo",
    "TextModality",
    "UsageError",
    "VideoModality",
    "open_bundle",
    "update_bundle",
    "write_bundle",
]
