"""`protocol`: what "published" computes as the authors' code does, and what "repaired" does instead.

| #  | system | published                                                     | repaired (default)                 |
|----|--------|---------------------------------------------------------------|------------------------------------|
| 1  | rcma   | covariance ÷ 300, variances ÷ 299 (C2 base/loss_function.py)  | Lin's CCC, every moment biased     |
| 2  | rcma   | padded zeros count as annotated (C2 base/dataset.py:225)      | masked                             |
| 3  | rcma   | windows over annotated rows side by side (C2)                 | over time; other rows are masked   |
| 4  | rcma   | windows shuffled once, with the seed (C2 base/experiment.py)  | every epoch, by seed and epoch     |
| 5  | rcma   | a missing face is a black frame, padding is 0, both before    | features of zeros, as in a run;    |
|    |        | the encoders, whose answer to them counts (C2)                | encoders see what is there alone   |
| 6  | rcma   | frozen parts in train mode: batch norms drift, dropout is on  | evaluation mode                    |
|    |        | (C2 base/trainer.py:45)                                       |                                    |
| 7  | rcma   | best weights back after every epoch (C2 base/trainer.py:151)  | when the rate falls, at a release  |
| 8  | rcma   | warm-up restarts every epoch, ends at 20 % (C2 scheduler.py)  | one line from 0 to the full rate   |
| 9  | rcma   | reported CCC mixes the moments (C2 logger.py:232)             | Lin's                              |
| 10 | cav    | CCC from ρ, unbiased deviations, + 1e-8 (C1 CCC_loss.py:13)   | Lin's                              |
| 11 | cav    | picture one frame behind; 7 315 windows of 7 316 (C1          | aligned; every window              |
|    |        | audiovisualdataset_new.py:109-137)                            |                                    |
| 12 | cav    | windows with a missing face are dropped (C1, same:124)        | kept, its feature is zeros         |
| 13 | cav    | every 16-frame clip mirrored by itself (C1, same:217)         | the window as a whole              |
| 14 | cav    | a last batch of one ends the program (C1 train.py:163)        | batches that are not full left out |
| 15 | cav    | "accuracy": both stretched to [0, 1], means matched with the  | Lin's CCC                          |
|    |        | annotation's help (C1 utils/utils.py:165)                     |                                    |
| 16 | rcma   | mean and deviation of words' vectors over all annotated rows, | over the steps with a word, once a |
|    |        | zeros where no word is, a video once for each of its windows  | video                              |
|    |        | (C2 base/experiment.py:136)                                   |                                    |
| 17 | rcma   | validation is scaled with its own (C2 base/experiment.py:103) | with those of training, as a run   |
| 18 | rcma   | steps without a word and padding are zeros that are scaled    | zeros, as in a run                 |

Warm-up (8) is a field of the configuration, with these defaults. The same in both: CAV's encoders take no part in
training, its windows are shuffled every epoch (the authors set no seed), its rate falls in steps from epoch 15.
Not reproduced, because `prepare` aligns: faces that drift from their annotation, rows with one −5.
In CAV's published rule a last batch of exactly one window is left out too, since what the authors' does is to exit.
The deviation of words' vectors (16) is the population's, of all numbers as one; a checkpoint keeps mean and deviation
of the training windows, with which a run of a published network too scales the words, and gives zeros elsewhere: 17 and
18 are of its training alone. A network with a text encoder of its own has the statistics of its configuration. That
padding is scaled is inferred: the authors pad what they load (quirk 11 of their int8 arrays) before they scale it.
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
    words: Literal["said", "every_row"] = "said"


RULES: dict[tuple[System, Protocol], Rules] = {
    ("rcma", "published"): Rules(
        "author_rcma", "annotated", "once", "black", "training", "every_epoch", words="every_row"
    ),
    ("rcma", "repaired"): Rules("lin", "time", "every_epoch", "zero_features", "evaluation", "when_it_slows"),
    ("cav", "published"): Rules(
        "author_cav", "time", "every_epoch", "black", "evaluation", "when_it_slows", clips="author", mirror="clip"
    ),
    ("cav", "repaired"): Rules(
        "lin", "time", "every_epoch", "zero_features", "evaluation", "when_it_slows", last_batch="full"
    ),
}
