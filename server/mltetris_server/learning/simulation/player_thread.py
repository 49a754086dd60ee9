"""One thread that plays boards of its own, in turn, and fills blocks with what happens."""

from __future__ import annotations

import queue
import threading
import time

import numpy as np

from mltetris_server.game.engine import new_games
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.simulation.blocks import Block, Part, columns, new_view
from mltetris_server.learning.simulation.columns import columns_of, pack_parts
from mltetris_server.learning.simulation.kernels import record, start_game, write_state
from mltetris_server.learning.simulation.plan import Plan
from mltetris_server.learning.simulation.supply import Supply

_SLICE_SECONDS = 0.01
"""A thread looks up this often: whoever holds the games waits no longer."""
_FIRST_SLICE = 256


class PlayerThread:
    """One thread and its boards.

    Args:
        plan: What to play.
        supply: Says which games, and how many placements.
        number: Which of the plan's threads it is, from 0.
        free: Where empty blocks are.
        full: Where full ones go; an error in the place of one; and None at the end.
    """

    def __init__(
        self,
        plan: Plan,
        supply: Supply,
        number: int,
        free: queue.SimpleQueue[Block],
        full: queue.SimpleQueue[Block | BaseException | None],
    ) -> None:
        self._plan = plan
        self._supply = supply
        self._first = number * plan.boards
        self._free, self._full = free, full
        self._columns = columns_of(plan.observed, plan.game)
        player = plan.player
        self._eye = make_eye(player.features, plan.game.width, player.fatal_value)
        self._view = new_view(plan.observed, player.features, plan.game, plan.boards)
        self.games = new_games(plan.game, plan.boards, plan.seed)
        self._numbers: list[int | None] = [None] * plan.boards
        self._slice = _FIRST_SLICE
        self._going = threading.Event()
        self._going.set()
        self._playing = threading.Lock()
        self._stopping = False
        self.current = (0, self._first)
        """The board being played, and its game's number."""
        # A daemon: an error elsewhere must not leave a process that plays on.
        self.thread = threading.Thread(target=self._work, name=f"player-{number}", daemon=True)

    def hold(self) -> None:
        """Let it stand still, soon."""
        self._going.clear()

    def await_standing(self) -> None:
        """Wait until it does."""
        with self._playing:
            pass

    def go_on(self) -> None:
        """Let it play on."""
        self._going.set()

    def stop(self) -> None:
        """Have its running games cut off."""
        self._stopping = True
        self._going.set()

    def _work(self) -> None:
        try:
            boards = list(range(self._plan.boards))
            while boards:
                boards = [board for board in boards if self._turn(board)]
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the blocks
            self._full.put(error)
        finally:
            self._full.put(None)

    def _turn(self, board: int) -> bool:
        """Let a board play until a block is full; returns whether it has more to play."""
        block, at, more = self._free.get(), 0, True
        while more and at < block.rows:
            if self._numbers[board] is None and not self._begin(board):
                more = False
                break
            start = at
            at, more = self._advance(board, block, at)
            if more and start and not self.games.over[board]:
                # A game that goes on begins its block: so its chunks in the file are whole.
                block, at = self._carry(block, start, at)
                start = 0
                at, more = self._advance(board, block, at)
            at += self._note(board, block, start, at, cut_off=not more)
        self._pass_on(block)
        return more

    def _begin(self, board: int) -> bool:
        """Start the board's next game, if there is one."""
        number = None if self._stopping else self._supply.next_game(self._first + board)
        self._numbers[board] = number
        if number is None:
            return False
        start_game(self.games, board, np.uint64(self._plan.seed), number, self._view)
        return True

    def _advance(self, board: int, block: Block, at: int) -> tuple[int, bool]:
        """Play on until the game is over or the block is full; returns the next row, and False
        where the game was cut off before."""
        while at < block.rows and not self.games.over[board]:
            granted = self._supply.grant(self._first + board, min(self._slice, block.rows - at))
            played = self._play(board, block, at, granted) if granted else 0
            self._supply.give_back(self._first + board, granted - played)
            if not played:
                write_state(self.games, board, self._view, block.log, at)
                return at, False
            at += played
        return at, True

    def _play(self, board: int, block: Block, at: int, room: int) -> int:
        """One slice; returns the placements made, 0 where the players are to stop."""
        number = self._numbers[board]
        assert number is not None
        while True:
            self._going.wait()
            with self._playing:
                if self._stopping:
                    return 0
                if not self._going.is_set():
                    continue
                self.current = board, number
                begin = time.perf_counter()
                plan = self._plan
                played = record(
                    self.games,
                    board,
                    plan.player.network,
                    self._eye,
                    plan.player.exploration,
                    self._view,
                    block.log,
                    at,
                    room,
                )
                passed = time.perf_counter() - begin
            if passed > _SLICE_SECONDS:
                self._slice = max(1, self._slice // 2)
            elif 2 * passed < _SLICE_SECONDS:
                self._slice = min(block.rows, self._slice * 2)
            return played

    def _carry(self, block: Block, start: int, at: int) -> tuple[Block, int]:
        """Take the rows from `start` on into another block; returns it, and its next row."""
        fresh = self._free.get()
        for there, here in zip(columns(fresh.log), columns(block.log), strict=True):
            there[: at - start] = here[start:at]
        self._pass_on(block)
        return fresh, at - start

    def _note(self, board: int, block: Block, start: int, at: int, *, cut_off: bool) -> int:
        """Say what of the board's game the rows from `start` on are; returns the rows they have
        more than placements."""
        number = self._numbers[board]
        assert number is not None
        over = bool(self.games.over[board])
        if over or cut_off:
            self._numbers[board] = None
        placements = int(self.games.placements[board])
        if not placements:
            return 0
        part = Part(
            game=number,
            start=start,
            placements=at - start,
            before=placements - (at - start),
            over=over,
            cut_off=cut_off,
            lines=int(self.games.lines[board]),
            score=int(self.games.score[board]),
        )
        block.parts.append(part)
        return int(part.last)

    def _pass_on(self, block: Block) -> None:
        if block.parts:
            pack_parts(block, self._columns)
            self._full.put(block)
        else:
            self._free.put(block)
