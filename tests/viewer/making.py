"""Runs, frames and metric points made by hand, for tests of the viewer's model and drawing."""

from __future__ import annotations

from collections.abc import Sequence

from mltetris_api.v1 import board_pb2, run_pb2
from mltetris_viewer.model import events
from mltetris_viewer.model.viewer import ViewerModel

WIDTH, HEIGHT = 10, 20


def cells(*rows: str, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A board from its lowest rows, top first: digits are pieces, anything else is empty."""
    board = bytearray(width * height)
    for number, row in enumerate(rows, start=height - len(rows)):
        for column, letter in enumerate(row):
            board[number * width + column] = int(letter) if letter.isdigit() else 0
    return bytes(board)


def frame(
    sequence: int = 1,
    board_cells: bytes | None = None,
    *,
    board: int = 0,
    placements: int = 0,
    episode: int = 1,
    seconds: float = 0.0,
    active: Sequence[int] = (4, 5, 14, 15),
    piece: int = 2,
    lines: int = 0,
    player: str = "",
    width: int = WIDTH,
    height: int = HEIGHT,
    game_over: bool = False,
) -> board_pb2.BoardFrame:
    """A frame; by default an empty board with an O piece at its top."""
    made = board_pb2.BoardFrame(
        board=board,
        sequence=sequence,
        placements=placements,
        episode=episode,
        width=width,
        height=height,
        cells=board_cells if board_cells is not None else bytes(width * height),
        lines=lines,
        player=player,
        game_over=game_over,
        next=[1],
    )
    made.sample_time.FromNanoseconds(round(seconds * 1e9))
    made.active.piece = run_piece(piece)
    made.active.cells.extend(active)
    return made


def run_piece(number: int) -> board_pb2.Piece.ValueType:
    """A piece by its number."""
    return board_pb2.Piece.Value(board_pb2.Piece.Name(number))  # type: ignore[arg-type]


def placed(
    before: board_pb2.BoardFrame,
    where: Sequence[int],
    after: bytes,
    *,
    piece: int = 2,
    cleared_rows: Sequence[int] = (),
    seconds: float = 1.0,
) -> board_pb2.BoardFrame:
    """The frame that follows `before` by one placement, `seconds` later."""
    made = frame(
        before.sequence + 1,
        after,
        board=before.board,
        placements=before.placements + 1,
        episode=before.episode,
        seconds=before.sample_time.ToNanoseconds() * 1e-9 + seconds,
        lines=before.lines + len(cleared_rows),
    )
    made.last_placement.piece = run_piece(piece)
    made.last_placement.cells.extend(where)
    made.last_placement.cleared_rows.extend(cleared_rows)
    return made


def run(
    run_id: str = "train-aaaaaa",
    state: run_pb2.RunState.ValueType = run_pb2.RUN_STATE_RUNNING,
    *,
    revision: int = 1,
    created: int = 0,
    demo: bool = False,
    kind: run_pb2.RunKind.ValueType = run_pb2.RUN_KIND_TRAINING,
    mode: run_pb2.RunMode.ValueType = run_pb2.RUN_MODE_VISUAL,
    pace: float = 8.0,
) -> run_pb2.Run:
    """A run, by default a training that is running."""
    made = run_pb2.Run(
        id=run_id,
        kind=run_pb2.RUN_KIND_DEMO if demo else kind,
        state=state,
        revision=revision,
    )
    made.create_time.seconds = created
    made.control.mode = mode
    made.control.view = run_pb2.RUN_VIEW_SHOWCASE
    made.control.placements_per_second = pace
    return made


def connected(*runs: run_pb2.Run, requested: str | None = None) -> ViewerModel:
    """A model that the server has told of `runs`, at time 0."""
    model = ViewerModel("localhost:50051", requested, 0.0)
    model.apply(events.LinkUp(), 0.0)
    for each in runs:
        model.apply(events.RunSeen(each), 0.0)
    model.apply(events.RunsCaughtUp(), 0.0)
    return model


def point(sequence: int, placements: int, **values: float) -> run_pb2.MetricPoint:
    """A metric point."""
    made = run_pb2.MetricPoint(sequence=sequence, placements=placements)
    for name, value in values.items():
        setattr(made, name, value)
    return made
