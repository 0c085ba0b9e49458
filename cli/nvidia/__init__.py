"""What `doctor` says of NVIDIA's devices and software: facts gathered once, findings and known traps made of them."""

from .facts import Facts, Loaded
from .findings import findings_from_facts
from .gathering import gather_facts
from .traps import TRAPS, traps_from_facts

__all__ = ["TRAPS", "Facts", "Loaded", "findings_from_facts", "gather_facts", "traps_from_facts"]
