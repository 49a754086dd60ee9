"""Trajectories: what is written is read again, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mltetris_server.game.config import GameConfig, Randomizer, Rule
from mltetris_server.learning.trajectories import (
    FILE,
    Trajectories,
    TrajectoriesError,
    TrajectoriesWriter,
    load,
)
from safetensors.numpy import load as parse_safetensors

GAME = GameConfig(10, 18, Rule.PUBLISHED, Randomizer.UNIFORM)


def made(game: GameConfig = GAME) -> Trajectories:
    """Three games of 2, 1 and 3 placements."""
    return Trajectories(
        game,
        pieces=np.array([1, 2, 7, 3, 4, 5], np.uint8),
        next_pieces=np.array([2, 6, 1, 4, 5, 6], np.uint8),
        actions=np.array([0, 39, 4, 8, 12, 16], np.uint8),
        starts=np.array([0, 2, 3], np.int64),
        ended=np.array([1, 1, 0], np.uint8),
        lines=np.array([0, 0, 1], np.int64),
    )


def assert_same(a: Trajectories, b: Trajectories) -> None:
    assert a.game == b.game
    for name in ("pieces", "next_pieces", "actions", "starts", "ended", "lines"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    data = made().dump()
    (tmp_path / FILE).write_bytes(data)
    for source in (data, tmp_path / FILE):
        again = load(source)
        assert_same(again, made())
        assert (again.games, again.placements) == (3, 6)
        assert again.lengths.tolist() == [2, 1, 3]


def test_the_library_reads_it_too() -> None:
    tensors = parse_safetensors(made().dump())
    assert {name: (str(t.dtype), t.size) for name, t in tensors.items()} == {
        "pieces": ("uint8", 6),
        "next_pieces": ("uint8", 6),
        "actions": ("uint8", 6),
        "starts": ("int64", 3),
        "ended": ("uint8", 3),
        "lines": ("int64", 3),
    }
    np.testing.assert_array_equal(tensors["actions"], made().actions)


def test_a_writer_makes_the_same_file(tmp_path: Path) -> None:
    source = made()
    with TrajectoriesWriter(tmp_path, GAME) as writer:
        writer.end_game(ended=True, lines=9)  # of nothing
        for k, start in enumerate(source.starts):
            stop = start + source.lengths[k]
            for part in range(start, stop):  # in pieces, and some of them empty
                here = slice(part, part + 1)
                writer.add(source.pieces[here], source.next_pieces[here], source.actions[here])
                writer.add([], [], [])
            writer.end_game(ended=bool(source.ended[k]), lines=int(source.lines[k]))
        size = writer.finish(tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == source.dump()
    assert size == len(source.dump())
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_writer_finishes_whole_games_only(tmp_path: Path) -> None:
    with TrajectoriesWriter(tmp_path, GAME) as writer:
        with pytest.raises(TrajectoriesError, match="starts"):
            writer.finish(tmp_path / FILE)
        with pytest.raises(ValueError, match="equally many"):
            writer.add([1, 2], [2], [0])
        writer.add([1], [2], [0])
        with pytest.raises(TrajectoriesError, match="ended"):
            writer.finish(tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pieces", [0, 2, 7, 3, 4, 5]),
        ("pieces", [1, 2, 7, 3, 4, 8]),
        ("next_pieces", [2, 6, 0, 4, 5, 6]),
        ("next_pieces", [2, 6, 1, 4, 5, 9]),
        ("next_pieces", [3, 6, 1, 4, 5, 6]),  # another piece came
        ("next_pieces", [2, 6, 1, 4, 6, 6]),
        ("actions", [0, 40, 4, 8, 12, 16]),
        ("actions", [0, 39, 4]),
        ("starts", [1, 2, 3]),
        ("starts", [0, 2, 2]),
        ("starts", [0, 2, 6]),
        ("ended", [1, 2, 0]),
        ("ended", [1, 1]),
        ("lines", [0, -1, 1]),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: list[int]) -> None:
    wrong: dict[str, Any] = {name: np.array(value, getattr(made(), name).dtype)}
    with pytest.raises(TrajectoriesError) as refused:
        replace(made(), **wrong)
    assert refused.value.field == name


def test_other_types_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(TrajectoriesError, match="actions"):
        replace(made(), actions=made().actions.astype(np.int64))
    with pytest.raises(TrajectoriesError, match="lines"):
        replace(made(), lines=made().lines.reshape(3, 1))
    none, no_game = np.zeros(0, np.uint8), np.zeros(0, np.int64)
    with pytest.raises(TrajectoriesError, match="starts: is empty"):
        Trajectories(GAME, none, none, none, no_game, none, no_game)


def _edited(change: Any) -> bytes:
    """The file with a changed header."""
    data = made().dump()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda h: h["__metadata__"].update(version="2"), "version"),
        (lambda h: h.pop("__metadata__"), "version"),
        (lambda h: h["__metadata__"].pop("rule"), "rule"),
        (lambda h: h["__metadata__"].update(width="x"), "__metadata__"),
        (lambda h: h["__metadata__"].update(height="99"), "__metadata__"),
        (lambda h: h["__metadata__"].update(randomizer="dice"), "__metadata__"),
        (lambda h: h["__metadata__"].update(width="8"), "actions"),
        (lambda h: h.pop("lines"), FILE),
        (lambda h: h.update(more=h["lines"]), FILE),
        (lambda h: h["pieces"].update(dtype="I8"), "pieces"),
        (lambda h: h["pieces"].update(shape=[6, 1]), "pieces"),
        (lambda h: h["pieces"].update(shape=[True]), "pieces"),
        (lambda h: h["pieces"].update(data_offsets=[48, 10**9]), "pieces"),
        (lambda h: h["starts"].update(data_offsets=[0, 23]), "starts"),
        (lambda h: h["starts"].update(data_offsets=None), "starts"),
        (lambda h: h["starts"].update(shape=[10**30]), "starts"),
        (lambda h: h.update(starts=[1]), "starts"),
    ],
)
def test_a_header_that_lies_is_refused(change: Any, field: str) -> None:
    with pytest.raises(TrajectoriesError) as refused:
        load(_edited(change))
    assert refused.value.field == field


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = made().dump()
    for length in range(len(data)):
        with pytest.raises(TrajectoriesError):
            load(data[:length])
    with pytest.raises(TrajectoriesError):
        load(data + b"\0")
    (tmp_path / FILE).touch()
    with pytest.raises(TrajectoriesError):
        load(tmp_path / FILE)
