"""What a game is made of, and which features describe a placement: plain values, no numba.

Everything here is a runtime value for the compiled kernels (`Rule.code`,
`Randomizer.code`, `FeatureSet.code`): one set of kernels serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

MIN_WIDTH, MAX_WIDTH = 4, 32
MIN_HEIGHT, MAX_HEIGHT = 4, 40
ROTATIONS = 4
MAX_SEED = 2**64 - 1


class Rule(StrEnum):
    """When a game ends. Every claim about a result names the rule it was played under.

    `GYMNASIUM`: tetris-gymnasium's. A piece appears inside the board with the
    first row of its matrix in the top row, is turned and moved there, and drops.
    A placement that overlaps filled cells in that top position ends the game
    (nothing is placed, no lines), and so does a next piece whose spawn cells
    (rotation 0, column `width // 2`) are filled after lines were cleared. A piece
    may start under an overhang in the topmost rows, exactly as upstream.

    `PUBLISHED`: the literature's simplified Tetris (Thiery & Scherrer 2009,
    "Building Controllers for Tetris"; Gabillon et al. 2013, "Approximate Dynamic
    Programming Finally Performs Well in the Game of Tetris"), as their program
    MDPTetris plays it by default: a piece falls from above the board, and the game
    ends when it comes to rest with a cell above the top row. Such a placement
    clears no lines. The spawn cells need not be free.
    """

    GYMNASIUM = "gymnasium"
    PUBLISHED = "published"

    @property
    def code(self) -> int:
        """The rule as the kernels know it."""
        return 0 if self is Rule.GYMNASIUM else 1


class Randomizer(StrEnum):
    """Where pieces come from.

    `BAG7`: shuffled bags of all seven, as in guideline Tetris and tetris-gymnasium.
    `UNIFORM`: each piece independent and equally likely, as in the literature.
    """

    BAG7 = "bag7"
    UNIFORM = "uniform"

    @property
    def code(self) -> int:
        """The randomizer as the kernels know it."""
        return 0 if self is Randomizer.BAG7 else 1


@dataclass(frozen=True, slots=True)
class GameConfig:
    """The game to play.

    Attributes:
        width: Columns, 4..32.
        height: Rows, 4..40.
        rule: When the game ends.
        randomizer: Where pieces come from.

    Raises:
        ValueError: A size is out of range, or a name is unknown.
    """

    width: int = 10
    height: int = 20
    rule: Rule = Rule.GYMNASIUM
    randomizer: Randomizer = Randomizer.BAG7

    def __post_init__(self) -> None:
        if not MIN_WIDTH <= self.width <= MAX_WIDTH:
            raise ValueError(f"width must be {MIN_WIDTH}..{MAX_WIDTH}, not {self.width}")
        if not MIN_HEIGHT <= self.height <= MAX_HEIGHT:
            raise ValueError(f"height must be {MIN_HEIGHT}..{MAX_HEIGHT}, not {self.height}")
        # Plain strings are welcome; past this line they are the enums.
        object.__setattr__(self, "rule", Rule(self.rule))
        object.__setattr__(self, "randomizer", Randomizer(self.randomizer))

    @property
    def actions(self) -> int:
        """Number of actions, `4 * width`. An action is `column * 4 + rotation`."""
        return ROTATIONS * self.width


class FeatureSet(StrEnum):
    """What a placement's afterstate is described by; `afterstates` defines every feature.

    `SIMPLE`: tetris-gymnasium's FeatureVectorObservation (after Nguyen's
    Tetris-deep-Q-learning): the height of each column, the greatest height, holes,
    bumpiness. `width + 3` features.

    `BCTS`: the eight of Thiery & Scherrer (2009), "Improvements on Learning Tetris
    with Cross Entropy", their BCTS controller: Dellacherie's six (Fahey 2003), hole
    depth, and rows with holes.

    `DT`: the nine of Gabillon, Ghavamzadeh & Scherrer (2013), "Approximate Dynamic
    Programming Finally Performs Well in the Game of Tetris", and Scherrer et al.
    (2015), "Approximate Modified Policy Iteration and its Application to the Game of
    Tetris", JMLR 16 ("Dellacherie-Thiery features"): BCTS and the pattern diversity.

    `BOARD`: the cells themselves, nothing counted: what a network that is to find its
    own features sees. Kernels write `2 * width` numbers, the columns' bits packed;
    `packing.unpack_cells` makes cells of them.
    """

    SIMPLE = "simple"
    BCTS = "bcts"
    DT = "dt"
    BOARD = "board"

    @property
    def code(self) -> int:
        """The feature set as the kernels know it."""
        return _FEATURE_CODES[self]


_FEATURE_CODES = {
    FeatureSet.SIMPLE: 0,
    FeatureSet.BCTS: 1,
    FeatureSet.DT: 2,
    FeatureSet.BOARD: 3,
}


BCTS_FEATURES = (
    "landing_height",
    "eroded_cells",
    "row_transitions",
    "column_transitions",
    "holes",
    "cumulative_wells",
    "hole_depth",
    "rows_with_holes",
)
DT_FEATURES = (*BCTS_FEATURES, "pattern_diversity")

# Typical magnitudes in decent play, so that network inputs stay near 0..1. They depend
# on nothing, so a network trained on a short board reads a tall one the same way.
_BCTS_SCALES = (0.1, 0.25, 0.05, 0.05, 0.1, 0.05, 0.05, 0.1)
_DT_SCALES = (*_BCTS_SCALES, 0.2)
_HEIGHT_SCALE, _HOLES_SCALE, _BUMPINESS_SCALE = 0.1, 0.1, 0.05

# BOARD: cells of a column in one number. float32 holds whole numbers below 2**24 exactly.
PACKED_ROWS = 20  # compiled into kernels


def feature_names(feature_set: FeatureSet, width: int) -> tuple[str, ...]:
    """Names of the features, in the order of the columns of `afterstates`' output."""
    if feature_set is FeatureSet.BCTS:
        return BCTS_FEATURES
    if feature_set is FeatureSet.DT:
        return DT_FEATURES
    if feature_set is FeatureSet.BOARD:
        lower = (f"column_{column}_lower" for column in range(width))
        return (*lower, *(f"column_{column}_upper" for column in range(width)))
    heights = (f"height_{column}" for column in range(width))
    return (*heights, "max_height", "holes", "bumpiness")


def n_features(feature_set: FeatureSet, width: int) -> int:
    """Number of features F: 8 for BCTS, 9 for DT, `width + 3` for SIMPLE, `2 * width` for BOARD."""
    return len(feature_names(feature_set, width))


def observation_features(feature_set: FeatureSet, config: GameConfig) -> int:
    """Numbers that an environment shows of each placement, without its flags.

    `width * height` for BOARD, which is shown cell by cell (`packing.unpack_cells`);
    `n_features` for the others.
    """
    if feature_set is FeatureSet.BOARD:
        return config.width * config.height
    return n_features(feature_set, config.width)


def feature_scales(feature_set: FeatureSet, width: int) -> NDArray[np.float32]:
    """Fixed factors float32[F] that bring the features near 0..1, for networks.

    Ones for BOARD, whose numbers are bits and have to stay exact.
    """
    if feature_set is FeatureSet.BCTS:
        return np.array(_BCTS_SCALES, np.float32)
    if feature_set is FeatureSet.DT:
        return np.array(_DT_SCALES, np.float32)
    if feature_set is FeatureSet.BOARD:
        return raw_scales(feature_set, width)
    scales = [_HEIGHT_SCALE] * (width + 1) + [_HOLES_SCALE, _BUMPINESS_SCALE]
    return np.array(scales, np.float32)


def raw_scales(feature_set: FeatureSet, width: int) -> NDArray[np.float32]:
    """Ones, float32[F]: `afterstates` then writes the features as they are defined."""
    return np.ones(n_features(feature_set, width), np.float32)


def feature_limits(feature_set: FeatureSet, config: GameConfig) -> NDArray[np.float32]:
    """The greatest value each feature could have on this board, unscaled: float32[F].

    Every feature is at least 0. The limits are generous: not every one can be reached.
    """
    width, height = config.width, config.height
    cells = width * height
    wells = cells * (height + 1) // 2
    bcts = [height, 16, cells + height, cells + width, cells, wells, cells, height]
    limits: list[int]
    match feature_set:
        case FeatureSet.BCTS:
            limits = bcts
        case FeatureSet.DT:
            limits = [*bcts, 5]
        case FeatureSet.BOARD:
            lower = min(height, PACKED_ROWS)
            limits = [2**lower - 1] * width + [2 ** (height - lower) - 1] * width
        case FeatureSet.SIMPLE:
            limits = [height] * (width + 1) + [cells, cells]
    return np.array(limits, np.float32)
