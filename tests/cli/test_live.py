"""What the live view draws, without a terminal."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
from mltetris_api.v1 import board_pb2, run_pb2, trainer_pb2
from mltetris_cli.live import figures
from mltetris_cli.live import words as phrases
from mltetris_cli.live.board import compact, framed, large, piece_preview
from mltetris_cli.live.lines import progress_json, progress_text, summary_json
from mltetris_cli.live.series import Series, bars
from mltetris_cli.live.steering import SPEEDS, TRAINING_RATES, next_rate, next_speed
from mltetris_cli.live.view import LiveView
from mltetris_cli.runs_view import details, evaluation_words, table
from mltetris_client import BoardFrame
from rich.console import Console


def frame(width: int = 10, height: int = 20, **fields: Any) -> BoardFrame:
    cells = bytearray(width * height)
    cells[-width:] = bytes(1 + column % 7 for column in range(width))
    made = BoardFrame(width=width, height=height, cells=bytes(cells), **fields)
    made.active.piece = board_pb2.PIECE_T
    made.active.cells.extend([1, width, width + 1, width + 2])
    return made


def follower(boards: int = 1, *, demo: bool = False, **changes: Any) -> Any:
    """Stands in for a Follower: what it knows, without a server."""
    run = run_pb2.Run(
        id="train-abc123", kind=run_pb2.RUN_KIND_TRAINING, state=run_pb2.RUN_STATE_RUNNING
    )
    run.control.placements_per_second = 8
    if demo:
        run.demo.slots.extend("ab")
    else:
        run.training.budget.target_mean_lines = 1000
        run.best_evaluation.games = 20
        run.best_evaluation.mean_lines = 612.4
    point = run_pb2.MetricPoint(
        placements=10**13,
        episodes=45210,
        best_lines=10**7,
        mean_lines=5.3,
        mean_reward=-9.1,
        loss=1e-7,
        exploration=0.03,
        learning_rate=0.002,
        placements_per_second=138_212,
        progress=0.61,
    )
    point.eta.seconds = 123_456
    curve = Series()
    for x in range(30):
        curve.add(x, x * x)
    frames = [
        frame(player="a-slot-with-a-very-long-name" if demo else "", board=b, next=[3])
        for b in range(boards)
    ]
    known = {
        "run": run,
        "point": point,
        "boards": trainer_pb2.StreamBoardResponse(frames=frames) if boards else None,
        "evaluations": curve,
        "rewards": curve,
        "training_lines": curve,
        "watched_lines": curve,
        "game_lines": curve,
        "episodes": [],
        "connected": True,
        "finished": False,
    }
    return SimpleNamespace(**(known | changes))


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("boards", [0, 1, 2, 4])
def test_the_view_fits_every_terminal(boards: int, color: bool) -> None:
    view = LiveView(follower(boards, demo=boards > 1), "space pause · q leave", place="host:1")
    for width in (1, 10, 23, 40, 60, 79, 80, 81, 120, 200):
        for height in (1, 3, 10, 23, 24, 25, 50):
            lines = view.lines(width, height, color=color)
            assert len(lines) <= height
            assert max(line.cell_len for line in lines) <= width


def test_80x24_shows_everything_that_matters() -> None:
    lines = [
        line.plain for line in LiveView(follower(), "space pause", place="host:1").lines(80, 24)
    ]
    text = "\n".join(lines)
    assert len(lines) == 24
    for words in (
        *("mlTetris", "train-abc123", "● running", "goal: 1,000 lines", "NEXT", "SCORE"),
        *("LINES A GAME", "REWARD", "best 612", "placements/s", "138k", "exploration", "0.03"),
        *("learning rate", "0.002", "loss", "61%", "left", "space pause", "host:1"),
    ):
        assert words in text, words
    assert sum("│" in line for line in lines) == 20  # every row of the board


def test_a_new_run_has_nothing_to_show_yet() -> None:
    waiting = follower(0, point=None, evaluations=Series(), rewards=Series())
    waiting.run.state = run_pb2.RUN_STATE_STARTING
    text = "\n".join(line.plain for line in LiveView(waiting, "", place="").lines(80, 24))
    assert "the worker starts" in text and "● starting" in text


def test_the_curves_of_what_was_learnt_stand_beside_the_game() -> None:
    view = LiveView(follower(demo=True), "", place="", learnt=follower())
    text = "\n".join(line.plain for line in view.lines(80, 24))
    assert "played by" in text and "REWARD" in text and "best 612" in text


def test_a_lost_connection_is_told() -> None:
    view = LiveView(follower(connected=False), "", place="")
    assert "no connection" in view.lines(80, 24)[0].plain


def test_boards_are_drawn_cell_by_cell() -> None:
    board = frame()
    lines = large(board)
    assert [line.cell_len for line in lines] == [20] * 20
    assert [line.cell_len for line in compact(board)] == [10] * 10
    assert len(compact(frame(height=7))) == 4  # an odd number of rows
    assert large(board, color=False)[19].plain == "IIOOTTSSZZJJLLIIOOTT"
    assert large(board, color=False)[1].plain == "tttttt" + " ." * 7
    colors = {str(span.style.bgcolor) for span in lines[19].spans if hasattr(span.style, "bgcolor")}
    assert len(colors) == 7  # each piece has its own
    assert framed(lines, border="red", title="a title")[0].cell_len == 22
    # A board that says less than its size, or a piece of a later version, is drawn all the same.
    short = BoardFrame(width=10, height=20, cells=b"\x09\x01")
    assert len(large(short)) == 20 and len(large(short, color=False)) == 20
    assert piece_preview(99)[0].plain.strip() == ""


@pytest.mark.parametrize("piece", range(1, 8))
def test_previews_have_four_cells(piece: int) -> None:
    text = "".join(line.plain for line in piece_preview(piece, color=False))
    assert len(text.replace(" ", "")) == 8
    assert all(len(line.plain) == 8 for line in piece_preview(piece))


def test_a_curve_never_grows_and_keeps_its_ends() -> None:
    curve = Series(capacity=16)
    generator = random.Random(1)
    for x in range(1000):
        curve.add(x, generator.random())
    assert len(curve) <= 16
    columns = curve.columns(40)
    assert len(columns) == 40
    assert columns[-1] == curve.last
    assert all(value is not None and 0 <= value <= 1 for value in columns)
    straight = Series()
    straight.add(0, 0)
    straight.add(10, 10)
    drawn = [value for value in straight.columns(10) if value is not None]
    assert drawn == sorted(drawn) and len(set(drawn)) == 10
    assert Series().columns(5) == [None] * 5
    one = Series()
    one.add(3, 7)
    assert one.columns(3) == [None, None, 7]
    one.add(2, 8)  # time does not run backwards
    assert len(one) == 1


def test_bars() -> None:
    assert bars([None, 0, 1, 2], 1, top=2, bottom=0) == [" ▁▄█"]
    assert bars([0, 1, 2], 2, top=2, bottom=0) == ["  █", "▁██"]
    assert bars([5, 5], 1, top=5, bottom=5) == ["▁▁"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.5, "3.5"), (950, "950"), (1500, "1.5k"), (138_212, "138k"), (1.234e6, "1.23M")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert figures.short(value) == text


def test_figures_of_odd_values() -> None:
    assert figures.short(math.nan) == "-"
    assert figures.span(math.inf) == "-"
    assert figures.span(8.04) == "8.0 s"
    assert figures.span(185) == "3 min 05 s"
    assert figures.span(7_800) == "2 h 10 min"
    assert figures.span(90_000) == "1 d 1 h"
    assert figures.size(999) == "999 B" and figures.size(3_400_000) == "3.4 MB"


def test_rates_of_training_step_up_to_full_speed() -> None:
    assert next_rate(0, faster=True) == 0
    assert next_rate(0, faster=False) == TRAINING_RATES[-2]
    assert next_rate(TRAINING_RATES[-2], faster=True) == 0
    assert next_rate(1000, faster=False) == 500
    assert next_rate(600, faster=True) == 1000
    assert next_rate(1, faster=False) == TRAINING_RATES[0]


def test_speeds_step_up_and_down() -> None:
    assert next_speed(8, faster=True) == 15
    assert next_speed(8, faster=False) == 4
    assert next_speed(9, faster=False) == 8
    assert next_speed(1000, faster=True) == SPEEDS[-1]
    assert next_speed(0.1, faster=False) == SPEEDS[0]


def test_a_mean_of_games_that_were_cut_off_is_told_as_a_lower_bound() -> None:
    whole = run_pb2.Evaluation(games=20, mean_lines=612.4)
    cut = run_pb2.Evaluation(games=20, mean_lines=2500, cut_off_games=1, max_lines=2500)
    assert phrases.mean_word(whole) == "612"
    assert phrases.mean_word(cut) == "≥2,500"
    shown = follower()
    shown.run.best_evaluation.CopyFrom(cut)
    shown.run.last_evaluation.CopyFrom(cut)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table([shown.run]))
        console.print(details(shown.run))
    view = "\n".join(line.plain for line in LiveView(shown, "", place="host:1").lines(100, 30))
    listed, _, detailed = capture.get().partition("\nrun ")
    for text in (listed, detailed, view, progress_text(shown), evaluation_words(cut)):
        assert "≥2,500" in text
    assert progress_json(shown)["cut_off_games"] == 1
    assert summary_json(shown, slot=None)["cut_off_games"] == 1
