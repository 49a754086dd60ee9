"""Races: the same pieces for all, at the same time; and what of them travels."""

from __future__ import annotations

import numpy as np
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import Episode, RunView
from mltetris_server.game.config import GameConfig
from mltetris_server.worker.race import Race
from worker.players import Linear

GOOD = ("good", Linear(well=True))
BAD = ("bad", Linear(well=False))


def playing(frames: list[BoardFrame]) -> list[BoardFrame]:
    return [frame for frame in frames if not frame.game_over]


def test_all_boards_get_the_same_piece_at_the_same_time() -> None:
    race = Race([GOOD, BAD, BAD], GameConfig(), seed=0)
    restarts = 0
    for _ in range(300):
        ended = race.step()
        restarts += len(ended)
        frames = playing(race.frames(include_values=False))
        assert len({(f.active.piece, tuple(f.next)) for f in frames}) == 1
    assert restarts > 4
    assert race.seats[0].finished == 0  # and the good one was never interrupted
    assert race.seats[0].game.placements == 300


def test_without_end_a_board_does_not_wait_for_a_better_one() -> None:
    race = Race([GOOD, BAD], GameConfig(), seed=1)
    while not race.step():
        pass
    assert race.seats[1].game.game_over  # its end can be seen
    race.step()
    assert not race.seats[1].game.game_over
    assert race.seats[1].game.episode == 2
    assert race.seats[1].game.placements == 1


def test_with_games_to_play_each_is_the_same_for_all() -> None:
    race = Race([("a", BAD[1]), ("b", BAD[1])], GameConfig(), seed=2, games=3)
    episodes: list[Episode] = []
    while not race.over:
        episodes += race.step()
    assert [(e.player, e.board, e.number) for e in episodes] == [
        ("a", 0, 1),
        ("b", 1, 1),
        ("a", 0, 2),
        ("b", 1, 2),
        ("a", 0, 3),
        ("b", 1, 3),
    ]
    for k in range(0, 6, 2):
        assert episodes[k].placements == episodes[k + 1].placements
    assert race.finished == 6
    assert race.progress == 1
    assert race.step() == []
    assert {e.view for e in episodes} == {RunView.RUN_VIEW_SHOWCASE}


def test_with_games_to_play_nobody_runs_ahead() -> None:
    race = Race([GOOD, BAD], GameConfig(height=8), seed=4, games=2)
    episodes: list[Episode] = []
    while not race.over:
        episodes += race.step()
        if race.seats[0].finished == 0:
            assert race.seats[1].finished <= 1
    assert [e.player for e in episodes] == ["bad", "good", "bad", "good"]


def test_the_same_seed_gives_the_same_race() -> None:
    def play() -> list[bytes]:
        race = Race([GOOD], GameConfig(), seed=7)
        for _ in range(50):
            race.step()
        return [frame.SerializeToString() for frame in race.frames(include_values=True)]

    assert play() == play()


def test_a_frame_shows_the_board() -> None:
    race = Race([GOOD], GameConfig(width=10, height=20), seed=3)
    (start,) = race.frames(include_values=False)
    assert not start.HasField("last_placement")
    assert set(start.cells) == {0}
    piece = start.active.piece
    following = list(start.next)
    race.step()
    (frame,) = race.frames(include_values=True)
    assert (frame.width, frame.height, len(frame.cells)) == (10, 20, 200)
    assert frame.placements == 1
    assert frame.episode == 1
    assert frame.player == "good"
    assert frame.score == 1
    assert frame.last_placement.piece == piece
    assert [i for i, cell in enumerate(frame.cells) if cell] == list(frame.last_placement.cells)
    assert {frame.cells[i] for i in frame.last_placement.cells} == {piece}
    assert frame.active.piece == following[0]
    assert list(frame.next)[:-1] == following[1:]
    assert len(frame.active.cells) == 4
    best = max(frame.values, key=lambda value: value.value)
    race.step()
    (after,) = race.frames(include_values=False)
    made = after.last_placement
    assert made.column * 4 + made.rotation == best.action
    assert list(made.cells) == list(best.cells)


def test_values_name_every_distinct_placement_once() -> None:
    race = Race([GOOD], GameConfig(), seed=3)
    (frame,) = race.frames(include_values=True)
    assert len({tuple(v.cells) for v in frame.values}) == len(frame.values)
    assert 9 <= len(frame.values) <= 34
    assert all(np.isfinite(v.value) for v in frame.values)
    (bare,) = race.frames(include_values=False)
    assert len(bare.values) == 0
