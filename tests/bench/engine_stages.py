"""Where the engine's time goes: nanoseconds of CPU time per placement, stage by stage.

    python -m bench.engine_stages          (in tests/)

On the boards and pieces that the player BCTS meets on 10x20. The first table adds one stage after
the other to a loop over these boards; the second has whole calls. A stage is also faster or
slower for what stands before it, so parts and wholes agree only roughly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mltetris_server.game.compiling import kernel, peek
from mltetris_server.game.config import FeatureSet, GameConfig, n_features, raw_scales
from mltetris_server.game.drops import count_bcts, drop
from mltetris_server.game.engine import Games, afterstates, new_games, place
from mltetris_server.game.pieces import HEIGHT, LEFT, TWIN, WIDTH
from mltetris_server.game.players import PLAYERS, choose_linear
from mltetris_server.game.rows import write_lanes
from mltetris_server.game.scratch import LANDINGS, STRIDE, new_numbers, new_scratch
from mltetris_server.game.standing import count_board, read_board
from numpy.typing import NDArray

BOARDS = 4_000
ATTEMPTS = 25
STAGES = (
    "reading the board",
    "counting it",
    "dropping the piece in every lane",
    "counting what it changes",
    "writing the rows",
)


@kernel
def _first_stages(games: Games, stages: int, scales: Any, features: Any) -> int:
    """The first so many of STAGES on all boards; twins share what their source has found."""
    seen = 0
    width, height = games.settings[0], games.settings[1]
    work = new_scratch()
    numbers = new_numbers()
    for i in range(games.columns.shape[0]):
        seen += read_board(work, games.columns, i, width, (1 << height) - 1)
        if stages < 2:
            continue
        total, hole_rows = count_board(work, width)
        if stages < 3:
            seen += total
            continue
        for rotation in (0, 2, 3, 1):
            shape = 4 * games.pieces[i, 0] + rotation
            span, left = peek(WIDTH, shape), peek(LEFT, shape)
            placements = min(width, width - span - left + 1) + left
            landings = LANDINGS + rotation * STRIDE
            if peek(TWIN, shape) < 0:
                reach, completes = drop(work, shape, span, placements, landings)
                seen += reach + completes
                if stages >= 4:
                    tall = peek(HEIGHT, shape)
                    count_bcts(
                        *(work, shape, span, placements, landings),
                        *(total, hole_rows, tall, scales, numbers),
                    )
            if stages >= 5:
                out = 8 * (rotation - 4 * left)
                write_lanes(numbers, features, out, 32, placements, width, span, 1, False)
    return seen


@kernel
def _look(games: Games, code: int, scales: Any, features: Any, flags: Any) -> int:
    candidates = 0
    for i in range(games.columns.shape[0]):
        candidates += afterstates(games, i, code, scales, features, flags)
    return candidates


@kernel
def _choose(times: int, features: Any, flags: Any, weights: Any) -> int:
    total = 0
    for _ in range(times):
        total += choose_linear(features, flags, weights)
    return total


@kernel
def _replay(games: Games, actions: Any) -> None:
    for t in range(actions.shape[0]):
        place(games, 0, actions[t])


def nanoseconds(work: Callable[[], Any]) -> float:
    """CPU time of `work` for each of BOARDS placements, best of many."""
    work()
    best = float("inf")
    for _ in range(ATTEMPTS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / BOARDS * 1e9


def recorded() -> tuple[Games, NDArray[np.int64], Any, Any]:
    """BOARDS boards as BCTS meets them, what it does there, and the last one's afterstates."""
    config = GameConfig()
    boards, game = new_games(config, BOARDS, 1), new_games(config, 1, 1)
    weights = np.array(PLAYERS["bcts"].weights, np.float32)
    scales, features = raw_scales(FeatureSet.BCTS, 10), np.empty((40, 8), np.float32)
    flags, actions = np.empty(40, np.uint8), np.empty(BOARDS, np.int64)
    for t in range(BOARDS):
        boards.columns[t], boards.pieces[t] = game.columns[0], game.pieces[0]
        afterstates(game, 0, FeatureSet.BCTS.code, scales, features, flags)
        actions[t] = choose_linear(features, flags, weights)
        place(game, 0, actions[t])
    return boards, actions, features, flags


def main() -> None:
    """Print both tables."""
    boards, actions, features, flags = recorded()
    scales = raw_scales(FeatureSet.BCTS, 10)
    before = 0.0
    print("the BCTS set, stage by stage")
    for k, name in enumerate(STAGES, start=1):
        after = nanoseconds(lambda k=k: _first_stages(boards, k, scales, features))  # type: ignore[misc]
        print(f"  {name:36}{after - before:6.0f} ns")
        before = after
    print("whole calls")
    for feature_set in FeatureSet:
        room = np.empty((40, n_features(feature_set, 10)), np.float32)
        scales, code = raw_scales(feature_set, 10), feature_set.code
        spent = nanoseconds(lambda c=code, s=scales, r=room: _look(boards, c, s, r, flags))  # type: ignore[misc]
        print(f"  {'afterstates, ' + feature_set:36}{spent:6.0f} ns")
    _, _, features, flags = recorded()
    weights = np.array(PLAYERS["bcts"].weights, np.float32)
    spent = nanoseconds(lambda: _choose(BOARDS, features, flags, weights))
    print(f"  {'choosing by weighted sums':36}{spent:6.0f} ns")
    fresh = nanoseconds(lambda: new_games(GameConfig(), 1, 1))
    spent = nanoseconds(lambda: _replay(new_games(GameConfig(), 1, 1), actions)) - fresh
    print(f"  {'making the placement':36}{spent:6.0f} ns")


if __name__ == "__main__":
    main()
