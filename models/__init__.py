"""The networks as plain PyTorch modules, with their front ends in the graph, and the file format of their weights.

Data order, RCMA: `frontends` → `ir50`, `vggish` → `tcn` → `attention` → `heads`, put together in `rcma`. CAV:
`frontends`, `spectrogram` → `i3d`, `spectrogram_cnn` → `cross_attention` → `cav_fusion`, put together in `cav`. `sizes`
names configurations, `checkpoint` keeps networks. Only training and export import this room: it needs torch.
"""

from .attention import RecursiveAttention
from .cav import Cav
from .cav_config import CavConfig
from .cav_fusion import CavFusion
from .checkpoint import LoadedCheckpoint, LoadedPart, load_checkpoint, load_part, save_checkpoint
from .cross_attention import CrossAttention
from .errors import CheckpointError, ConfigError, ModelError
from .frontends import ClipFrontEnd, ImageFrontEnd, LogMelFrontEnd
from .heads import LinearHead, MlpHead
from .i3d import I3d
from .ir50 import Ir50
from .network import Encoder, Network
from .rcma import Rcma, RcmaFusion
from .rcma_config import RcmaConfig
from .sizes import cav_demo_config, cav_paper_config, demo_config, paper_config
from .spectrogram import Log2MelFrontEnd
from .spectrogram_cnn import SpectrogramCnn
from .tcn import Tcn, receptive_field
from .vggish import Vggish

__all__ = [
    "Cav",
    "CavConfig",
    "CavFusion",
    "CheckpointError",
    "ClipFrontEnd",
    "ConfigError",
    "CrossAttention",
    "Encoder",
    "I3d",
    "ImageFrontEnd",
    "Ir50",
    "LinearHead",
    "LoadedCheckpoint",
    "LoadedPart",
    "Log2MelFrontEnd",
    "LogMelFrontEnd",
    "MlpHead",
    "ModelError",
    "Network",
    "Rcma",
    "RcmaConfig",
    "RcmaFusion",
    "RecursiveAttention",
    "SpectrogramCnn",
    "Tcn",
    "Vggish",
    "cav_demo_config",
    "cav_paper_config",
    "demo_config",
    "load_checkpoint",
    "load_part",
    "paper_config",
    "receptive_field",
    "save_checkpoint",
]
