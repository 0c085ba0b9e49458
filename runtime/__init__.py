"""The runtime: sources, faces, sessions, engines and sinks. It never imports torch."""

from .estimate import Estimate, Quality
from .faces import Face, FaceFinder, WholeFrame
from .scheduler import Scheduler
from .session import Request, Session

__all__ = ["Estimate", "Face", "FaceFinder", "Quality", "Request", "Scheduler", "Session", "WholeFrame"]
