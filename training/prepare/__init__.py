"""From raw recordings to a prepared corpus: one reader a layout, one way through the runtime for all of them.

`raw` says what a reader gives (`RawCorpus`); `affwild2`, `folder` and `recola` are readers; `recording` takes one video
through source, finder and session; `driver` does that for all of them, in processes of their own.
"""

from .driver import Options, Prepared, prepare
from .raw import GivenCrops, RawCorpus, RawVideo

__all__ = ["GivenCrops", "Options", "Prepared", "RawCorpus", "RawVideo", "prepare"]
