"""Running games come back from arrays exactly, and nothing that cannot be gets in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mltetris_server.game.config import GameConfig, Randomizer, Rule
from mltetris_server.game.engine import Games, new_games, place, reset_game
from mltetris_server.game.snapshot import dump_games, load_games
from numpy.typing import NDArray

CONFIG = GameConfig(6, 10, Rule.PUBLISHED, Randomizer.BAG7)


def play(games: Games, placements: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(placements):
        for i in range(games.columns.shape[0]):
            if place(games, i, int(rng.integers(0, 24)))[1]:
                reset_game(games, i)


def test_games_go_on_exactly_where_they_were() -> None:
    games = new_games(CONFIG, 5, seed=2**64 - 1)
    play(games, 61, seed=1)
    stored = dump_games(games)
    back = load_games(CONFIG, {name: array.copy() for name, array in stored.items()})
    play(games, 200, seed=2)
    play(back, 200, seed=2)
    for name, array in dump_games(games).items():
        np.testing.assert_array_equal(array, getattr(back, name))
    assert games.episode.max() > 3


def test_what_was_dumped_is_a_copy() -> None:
    games = new_games(CONFIG, 2, seed=1)
    stored = dump_games(games)
    play(games, 20, seed=1)
    assert not stored["columns"].any()


def _with(name: str, index: Any, value: int) -> dict[str, NDArray[Any]]:
    games = new_games(CONFIG, 3, seed=1)
    play(games, 10, seed=1)
    arrays = dump_games(games)
    arrays[name][index] = value
    return arrays


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("columns", (1, 2), 1 << 10),
        ("columns", (0, 0), -1),
        ("pieces", (2, 0), 0),
        ("pieces", (0, 1), 8),
        ("bags", (1, 7), 8),
        ("bags", (1, 7), -1),
        ("bags", (0, 0), 99),
        ("episode", 0, 0),
        ("placements", 1, -1),
        ("lines", 1, -5),
        ("score", 1, -5),
        ("over", 2, 2),
    ],
)
def test_values_that_cannot_be_are_refused(name: str, index: Any, value: int) -> None:
    arrays = _with(name, index, value)
    if name == "bags" and value == 99:
        arrays["bags"][0, 7] = 3
    with pytest.raises(ValueError, match=name):
        load_games(CONFIG, arrays)


def test_arrays_that_do_not_fit_are_refused() -> None:
    arrays = dump_games(new_games(CONFIG, 3, seed=1))
    for name in arrays:
        without = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(ValueError, match=r"missing|must be"):
            load_games(CONFIG, without)
        with pytest.raises(ValueError, match="must be"):
            load_games(CONFIG, {**arrays, name: arrays[name].astype(np.float64)})
        with pytest.raises(ValueError, match="must be"):
            load_games(CONFIG, {**arrays, name: np.concatenate([arrays[name]] * 2)})
    with pytest.raises(ValueError, match="must be"):
        load_games(GameConfig(7, 10), arrays)
