"""The networks as plain PyTorch modules, with their front ends in the graph, and the file format of their weights.

Data order: `frontends` → `ir50`, `vggish` → `tcn` → `attention` → `heads`; `rcma` puts them together as `config` says,
`sizes` names configurations, `checkpoint` keeps them. Only training and export import this room: it needs torch.
"""

from .attention import RecursiveAttention
from .checkpoint import LoadedCheckpoint, load_checkpoint, save_checkpoint
from .errors import CheckpointError, ConfigError, ModelError
from .frontends import ImageFrontEnd, LogMelFrontEnd
from .heads import LinearHead, MlpHead
from .ir50 import Ir50
from .network import Encoder, Network
from .rcma import Rcma, RcmaFusion
from .rcma_config import RcmaConfig
from .sizes import demo_config, paper_config
from .tcn import Tcn, receptive_field
from .vggish import Vggish

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Encoder",
    "ImageFrontEnd",
    "Ir50",
    "LinearHead",
    "LoadedCheckpoint",
    "LogMelFrontEnd",
    "MlpHead",
    "ModelError",
    "Network",
    "Rcma",
    "RcmaConfig",
    "RcmaFusion",
    "RecursiveAttention",
    "Tcn",
    "Vggish",
    "demo_config",
    "load_checkpoint",
    "paper_config",
    "receptive_field",
    "save_checkpoint",
]
