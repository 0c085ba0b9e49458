"""`protocol`: what "published" computes as the authors' code does, and what "repaired" does instead.

| #  | system | published (papers.md)                                  | repaired (default)                           |
|----|--------|--------------------------------------------------------|----------------------------------------------|
| 1  | rcma   | covariance ÷ 300, variances ÷ 299 (§3.7 #9)            | Lin's CCC, every moment biased               |
| 2  | rcma   | padded zeros count as annotated (§3.7 #10)             | masked                                       |
| 3  | rcma   | windows over the annotated rows put side by side (§3.1)| over time; others are masked                  |
| 4  | rcma   | windows shuffled once, with the seed (§3.4)            | every epoch, by seed and epoch               |
| 5  | rcma   | a missing face is a black frame (§3.1); padding is 0   | its feature is zeros, as in a run; encoders  |
|    |        | before the encoders, whose answer to it counts         | see what is there alone                      |
| 6  | rcma   | frozen parts in train mode: batch norms drift, dropout | evaluation mode                              |
|    |        | is on (§3.7 #8)                                        |                                              |
| 7  | rcma   | best weights back after every epoch (§3.4)             | at a lower rate and at a release             |
| 8  | rcma   | warm-up restarts every epoch, ends at 20 % (§3.7 #13)  | one line from 0 to the rate over 5 epochs    |
| 9  | rcma   | reported CCC mixes the moments (§3.7 #9)               | Lin's                                        |
| 10 | cav    | CCC from ρ and unbiased deviations, + 1e-8 (§1.4)      | Lin's                                        |
| 11 | cav    | picture one frame behind; 7 315 windows (§1.7 #8, #9)  | aligned; every window                        |
| 12 | cav    | windows with a missing face are dropped (§1.7 #11)     | kept; its feature is zeros, or the held frame|
| 13 | cav    | every 16-frame clip mirrored by itself (§1.7 #12)      | the window as a whole                        |
| 14 | cav    | a last batch of one ends the program (§1.7 #14)        | a last batch that is not full is left out    |
| 15 | cav    | "accuracy": both stretched to [0, 1], the mean matched | Lin's CCC                                    |
|    |        | with the annotation (§1.5)                             |                                              |

Warm-up (8) is a field of the configuration, with these defaults. The same in both: CAV's encoders take no part in
training, its windows are shuffled every epoch (§1.4; the authors set no seed), its rate falls in steps from epoch 15.
Not reproduced, because `prepare` aligns: faces that drift from their annotation (§3.7 #17), rows with one −5 (#18).
In CAV's published rule a last batch of exactly one window is left out too, since what the authors' does is to exit.
Statistics of words (§3.7 #15, #16) are those of the network's configuration, from the training split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Protocol", "Rules", "System"]

System = Literal["rcma", "cav"]
Protocol = Literal["published", "repaired"]


@dataclass(frozen=True)
class Rules:
    """One column of the table above for one system."""

    ccc: Literal["lin", "author_rcma", "author_cav"]
    rows: Literal["time", "annotated"]
    shuffled: Literal["once", "every_epoch"]
    missing: Literal["zero_features", "black"]
    frozen: Literal["evaluation", "training"]
    reload_best: Literal["when_it_slows", "every_epoch"]
    clips: Literal["aligned", "author"] = "aligned"
    mirror: Literal["window", "clip"] = "window"
    last_batch: Literal["kept", "full"] = "kept"


RULES: dict[tuple[System, Protocol], Rules] = {
    ("rcma", "published"): Rules("author_rcma", "annotated", "once", "black", "training", "every_epoch"),
    ("rcma", "repaired"): Rules("lin", "time", "every_epoch", "zero_features", "evaluation", "when_it_slows"),
    ("cav", "published"): Rules(
        "author_cav", "time", "every_epoch", "black", "evaluation", "when_it_slows", clips="author", mirror="clip"
    ),
    ("cav", "repaired"): Rules(
        "lin", "time", "every_epoch", "zero_features", "evaluation", "when_it_slows", last_batch="full"
    ),
}
