"""One watched board: its newest frame, the piece's ghost, and the last placement in motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mltetris_api.v1 import board_pb2

from mltetris_viewer.model.curves import Series

#: Longest drop and flash of a placement, in seconds.
MAX_DROP_SECONDS = 0.14
MAX_FLASH_SECONDS = 0.24
#: Share of the time between two placements that drop and flash may take.
DROP_SHARE = 0.35
FLASH_SHARE = 0.40
#: Placements closer together than this, in seconds, are shown without motion: the eye sees a blur.
SHORTEST_INTERVAL = 0.045
#: Rows that a piece is seen falling through.
DROP_ROWS = 6


def fits(frame: board_pb2.BoardFrame) -> bool:
    """Whether a frame has as many cells as its size says, at least one."""
    return 0 < frame.width * frame.height == len(frame.cells)


def ghost_cells(frame: board_pb2.BoardFrame) -> tuple[int, ...]:
    """Where the active piece is going, as row * width + column.

    With the values of the placements in the frame it is the placement that the
    agent likes best (the first of equals, as the agent itself chooses); without
    them it is where the piece would land if it fell straight down from where it is.
    Empty when there is no active piece.
    """
    if frame.values:
        best = max(frame.values, key=lambda value: (value.value, -value.action))
        return tuple(best.cells)
    return landing_cells(frame.cells, frame.width, frame.height, tuple(frame.active.cells))


def landing_cells(cells: bytes, width: int, height: int, piece: Sequence[int]) -> tuple[int, ...]:
    """Where `piece` comes to rest when it falls straight down.

    Args:
        cells: `height * width` bytes, row by row from the top, 0 empty.
        width: columns.
        height: rows.
        piece: the cells it covers now, as row * width + column.

    Returns:
        The cells it lands on; `piece` itself where it collides already; empty for no piece.
    """
    resting = tuple(piece)
    falling = resting
    while falling and all(0 <= c < width * height and not cells[c] for c in falling):
        resting = falling
        falling = tuple(c + width for c in falling)
    return resting


@dataclass(frozen=True)
class Motion:
    """A placement on its way from `start` on, in seconds of the caller's clock.

    Attributes:
        before: the board's cells before the placement.
        piece: the piece, 1..7.
        cells: where it lands, as row * width + column.
        cleared_rows: the rows it clears.
        drop_rows: rows it is seen falling through.
        start: when it began.
        drop_seconds: how long it falls.
        flash_seconds: how long the cleared rows flash after that; 0 when none are.
    """

    before: bytes
    piece: int
    cells: tuple[int, ...]
    cleared_rows: tuple[int, ...]
    drop_rows: int
    start: float
    drop_seconds: float
    flash_seconds: float

    def ends_at(self) -> float:
        """When nothing moves any more."""
        return self.start + self.drop_seconds + self.flash_seconds

    def drop(self, now: float) -> float:
        """How far it has fallen, 0..1; gathers speed like a falling thing."""
        if self.drop_seconds <= 0:
            return 1.0
        share = min(1.0, max(0.0, (now - self.start) / self.drop_seconds))
        return share * share

    def flash(self, now: float) -> float:
        """How far the flash is, 0..1; 0 while the piece still falls."""
        if self.flash_seconds <= 0:
            return 0.0
        return min(1.0, max(0.0, (now - self.start - self.drop_seconds) / self.flash_seconds))

    def landed(self) -> bytes:
        """The board's cells with the piece in place and no row cleared yet."""
        cells = bytearray(self.before)
        for cell in self.cells:
            cells[cell] = self.piece
        return bytes(cells)


class Board:
    """One board of the watched run.

    Attributes:
        frame: the newest frame.
        motion: the last placement, when it is worth showing in motion.
        ghost: where the active piece is going.
        trace: lines over placements of the game that is going, from when it was first seen.
    """

    def __init__(self, frame: board_pb2.BoardFrame) -> None:
        self.frame = frame
        self.trace = Series()
        self.trace.append(float(frame.placements), float(frame.lines))
        self.motion: Motion | None = None
        self.ghost = ghost_cells(frame)

    def update(self, frame: board_pb2.BoardFrame, now: float) -> bool:
        """Takes a newer frame; says whether it was one (a frame seen before changes nothing)."""
        old = self.frame
        if frame.sequence == old.sequence:
            return False
        self.motion = _motion(old, frame, now)
        self.frame = frame
        self.ghost = ghost_cells(frame)
        if frame.episode != old.episode:
            self.trace = Series()
        self.trace.append(float(frame.placements), float(frame.lines))
        return True

    def moving(self, now: float) -> bool:
        """Whether the last placement is still on its way."""
        return self.motion is not None and now < self.motion.ends_at()


def _motion(old: board_pb2.BoardFrame, new: board_pb2.BoardFrame, now: float) -> Motion | None:
    """The motion from one frame to the next, None where a frame between them is missing."""
    placement = new.last_placement
    follows = (
        new.episode == old.episode
        and new.placements == old.placements + 1
        and (new.width, new.height) == (old.width, old.height)
        and bool(placement.cells)
    )
    if not follows:
        return None
    interval = _seconds(new) - _seconds(old)
    if interval < SHORTEST_INTERVAL:
        return None
    if any(cell >= len(old.cells) or old.cells[cell] for cell in placement.cells):
        return None
    return Motion(
        before=old.cells,
        piece=placement.piece,
        cells=tuple(placement.cells),
        cleared_rows=tuple(placement.cleared_rows),
        drop_rows=min(DROP_ROWS, min(placement.cells) // new.width),
        start=now,
        drop_seconds=min(MAX_DROP_SECONDS, DROP_SHARE * interval),
        flash_seconds=(
            min(MAX_FLASH_SECONDS, FLASH_SHARE * interval) if placement.cleared_rows else 0.0
        ),
    )


def _seconds(frame: board_pb2.BoardFrame) -> float:
    return frame.sample_time.seconds + frame.sample_time.nanos * 1e-9
