"""`mltetris suggest`: the board drawn, values listed, boards read, nonsense refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mltetris_client
import numpy as np
import pytest
from mltetris_client import Trainer, position
from support.cli import Cli

WELL = "XXX.XXXXXX\nXXX.XXXXXX\nXXX.XXXXXX\nXXX.XXXXXX\n"


def test_the_best_placement_is_drawn_and_its_value_listed(cli: Cli, trainer: Trainer) -> None:
    board = cli.folder / "board.txt"
    board.write_text(WELL)
    result = cli.good(
        "suggest", "--piece", "i", "--board", board, "--height", "20", "--slot", "bcts"
    )
    lines = result.out.splitlines()
    assert lines[0] == "╭" + "─" * 20 + "╮" and lines[21] == "╰" + "─" * 20 + "╯"
    assert lines[16] == "│" + " ." * 10 + "│"
    assert lines[20] == "│" + "II" * 3 + "ii" + "II" * 6 + "│"
    assert lines[22].startswith("bcts: column ") and "clears 4" in lines[22]
    assert lines[24].split() == ["VALUE", "COLUMN", "ROTATION", "LINES", "ACTION"]
    assert lines[25].endswith("best")
    assert "more: --all" in result.out
    everything = cli.good("suggest", "--piece", "T", "--slot", "bcts", "--all").out
    assert "more" not in everything and len(everything.splitlines()) == 24 + 1 + 34


def test_json_has_every_placement_and_who_says_so(cli: Cli, trainer: Trainer) -> None:
    said = cli.good("suggest", "--piece", "T", "--slot", "bcts", "-o", "json").json
    answer = trainer.suggest_placement(None, "T", slot="bcts")
    assert said["policy"]["slot"] == "bcts"
    assert said["policy"]["sha256"] == answer.policy.sha256
    assert said["suggestion"]["best"]["action"] == answer.suggestion.best.action
    assert len(said["suggestion"]["placements"]) == 34
    assert said["suggestion"]["game_over"] is False


def test_a_board_may_come_by_standard_input(cli: Cli) -> None:
    command = ["suggest", "--piece", "I", "--board", "-", "--height", "20", "--slot", "bcts"]
    ended = subprocess.run(
        [sys.executable, "-m", "mltetris_cli", *command, "-o", "json"],
        input=WELL,
        env=cli.environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert '"lines_cleared": 4' in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "board", "code", "words"),
    [
        (("--piece", "Q"), None, 2, "piece"),
        (("--piece", "T"), "....\n....", 2, "has 2 rows"),
        (("--piece", "T"), "....\n....\n....\n...", 2, "board[3]: has 3 cells"),
        (("--piece", "T"), "....\n....\n....\n..?.", 2, "board[3][2]: '?' is no cell"),
        (("--piece", "T"), "....\n....\n....\nXXXX", 2, "cells: row 3"),
        (("--piece", "T"), "", 2, "there is no board in"),
        (("--piece", "T", "--width", "5"), "....\n" * 4, 2, "width: is 5"),
        (("--piece", "T", "--width", "99"), None, 2, "width: must be 4..32"),
        (("--piece", "T", "--slot", "nobody"), None, 4, "there is no slot nobody"),
    ],
)
def test_nonsense_is_refused(
    cli: Cli, arguments: tuple[str, ...], board: str | None, code: int, words: str
) -> None:
    if board is not None:
        path = cli.folder / "board.txt"
        path.write_text(board)
        arguments = (*arguments, "--board", str(path))
    if "--slot" not in arguments:
        arguments = (*arguments, "--slot", "bcts")
    result = cli.inside("suggest", *arguments)
    assert result.code == code, result
    assert words in result.err
    assert result.out == ""
    missing = cli.inside("suggest", "--piece", "T", "--board", cli.folder / "none.txt")
    assert (missing.code, missing.out) == (2, "")


# -- The SDK's boards ----------------------------------------------------------------------------


def test_boards_are_taken_as_people_and_programs_write_them() -> None:
    rows = ["..........", "X#17.TtZ_0"]
    numbers = [[0] * 10, [1, 1, 1, 7, 0, 3, 3, 5, 0, 0]]
    cells = bytes(180) + bytes(np.array(numbers, np.uint8).tobytes())
    for board in (
        rows,
        "\n".join(rows),
        f"\n  {rows[0]}  \n\n  {rows[1]}\n",
        numbers,
        np.array(numbers),
        np.array(numbers, np.float64),
        tuple(map(tuple, numbers)),
    ):
        made = position(board, "T", height=20)
        assert (made.width, made.height, made.cells) == (10, 20, cells), board
    assert position(np.array(numbers) != 0, "T", height=20).cells == bytes(
        1 if cell else 0 for cell in cells
    )
    for board in (cells, bytearray(cells)):
        made = position(board, 3)
        assert (made.cells, made.HasField("width"), made.piece) == (cells, False, 3)
    assert position(None, "I") == position(None, 1)
    assert position(["...."] * 4, "I", rule="published").height == 4


@pytest.mark.parametrize(
    ("board", "options", "field"),
    [
        ([], {}, "board"),
        ("", {}, "board"),
        (["...."] * 3, {}, "board"),
        (["...."] * 4, {"height": 3}, "height"),
        (["...."] * 4, {"width": 10}, "width"),
        (["..."] * 4, {}, "width"),
        (["...."] * 41, {}, "height"),
        ([[0, 0, 0, 8]] * 4, {}, "board[0][3]"),
        ([[0, 0, 0, 0.5]] * 4, {}, "board[0][3]"),
        ([[0, 0, 0, None]] * 4, {}, "board[0][3]"),
        ([0, 0, 0, 0], {}, "board[0]"),
        (5, {}, "board"),
        (None, {"width": 3}, "width"),
        (None, {"rule": "mine"}, "rule"),
    ],
)
def test_what_is_no_board_is_refused_by_its_place(
    board: object, options: dict[str, object], field: str
) -> None:
    with pytest.raises(mltetris_client.InvalidArgument) as caught:
        position(board, "T", **options)  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.fields] == [field]
    for piece in ("", "TT", "8", 0, 8):
        with pytest.raises(mltetris_client.InvalidArgument, match="piece"):
            position(None, piece)  # type: ignore[arg-type]


def test_files_of_boards_are_texts(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "board.bin"
    path.write_bytes(b"\xff\xfe\x00")
    result = cli.inside("suggest", "--piece", "T", "--board", path)
    assert result.code == 2 and "not a text" in result.err
