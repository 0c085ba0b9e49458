"""The systems that a checkpoint may hold, by the name that it writes into its metadata."""

from __future__ import annotations

from .cav import Cav
from .cav_config import CavConfig
from .configuration import Config
from .network import Network
from .rcma import Rcma
from .rcma_config import RcmaConfig

__all__ = ["SYSTEMS"]

SYSTEMS: dict[str, tuple[type[Config], type[Network]]] = {
    Cav.system: (CavConfig, Cav),
    Rcma.system: (RcmaConfig, Rcma),
}
