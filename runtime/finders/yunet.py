"""OpenCV's face detector YuNet: faces of one picture, each with its box and five points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from affectrt.bundle.errors import EngineError
from affectrt.bundle.plain_files import os_reason

from ..faces import Frame
from .geometry import Geometry

__all__ = ["Detection", "Detector", "YuNet"]

_FOUND_FROM = 0.45
_OVERLAP = 0.3
_MOST = 50


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face that was found in one picture; `score` in [0, 1]."""

    geometry: Geometry
    score: float


class Detector(Protocol):
    def detect(self, picture: Frame) -> list[Detection]: ...


class YuNet:
    """YuNet from its ONNX file; any edition that OpenCV loads. EngineError where it loads none."""

    def __init__(self, model: Path) -> None:
        fix = "affectrt assets pull yunet"
        try:
            content = np.frombuffer(model.read_bytes(), np.uint8)
        except OSError as error:
            raise EngineError(f"the face detector {model} {os_reason(error)}", fix=fix) from None
        logging = cv2.utils.logging
        level = logging.getLogLevel()
        # OpenCV 5 warns of a setting that its detector makes by itself.
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        try:
            self._net = cv2.FaceDetectorYN.create(
                "onnx", content, np.zeros(0, np.uint8), (320, 320), _FOUND_FROM, _OVERLAP, _MOST
            )
            self.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(
                f"OpenCV {cv2.__version__} cannot use the face detector {model}: {reason}", fix=fix
            ) from None
        finally:
            logging.setLogLevel(level)

    def detect(self, picture: Frame) -> list[Detection]:
        """Faces of an RGB picture, best first, in its pixels, as far as they are at least likely (score ≥ 0.45)."""
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        _, rows = self._net.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        found = [] if rows is None else np.asarray(rows, np.float64)
        return [Detection(Geometry.of(row[:4], row[4:14]), float(row[14])) for row in found if _sound(row)]


def _sound(row: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    return bool(np.isfinite(row).all() and row[2] >= 2 and row[3] >= 2)
