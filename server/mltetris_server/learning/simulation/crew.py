"""Threads that play: one a core, each with boards of its own, in turn."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

import numpy as np

from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import new_games
from mltetris_server.learning.player import Player, make_eye
from mltetris_server.learning.simulation.blocks import Block, Part, block_rows, columns, new_view
from mltetris_server.learning.simulation.columns import columns_of, pack_parts
from mltetris_server.learning.simulation.kernels import record, start_game, write_state
from mltetris_server.learning.simulation.supply import Supply

_SLICE_SECONDS = 0.01
"""A thread looks up this often: whoever holds the games waits no longer."""
_FIRST_SLICE = 256
_BLOCKS_A_THREAD = 2
_BLOCKS_MORE = 2


@dataclass(frozen=True)
class Plan:
    """What is to be played.

    Attributes:
        player: Who plays; its exploration is that of the games.
        game: The game.
        observed: What is kept of each state.
        seed: Of pieces and exploration; game g is that of board g of `new_games` with it.
        threads: Threads to play with.
        boards: Boards of each.
        games: Games to play at most; None: no limit.
        placements: Placements to make at most; None: no limit.
    """

    player: Player
    game: GameConfig
    observed: FeatureSet
    seed: int
    threads: int = 1
    boards: int = 8
    games: int | None = None
    placements: int | None = None


class Crew:
    """Plays what a plan says; whoever made it takes the blocks that are full, and clears them.

    No more memory is used than that of the blocks, however long it goes on: players wait for the
    writer.

    Args:
        plan: What to play.
        rows: Placements of a block; None: `block_rows`.
    """

    def __init__(self, plan: Plan, *, rows: int | None = None) -> None:
        self.plan = plan
        self._full: queue.SimpleQueue[Block | BaseException | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[Block] = queue.SimpleQueue()
        rows = rows or block_rows(plan.observed, plan.game)
        for _ in range(_BLOCKS_A_THREAD * plan.threads + _BLOCKS_MORE):
            self._free.put(Block.new(plan.observed, plan.game, rows))
        supply = Supply(plan.threads * plan.boards, plan.games, plan.placements)
        self._players = [
            _Thread(plan, supply, number, self._free, self._full) for number in range(plan.threads)
        ]
        self._working = plan.threads

    def start(self) -> None:
        """Begin to play."""
        for player in self._players:
            player.thread.start()

    def take(self, timeout: float) -> Block | None:
        """The next full block, waited for so many seconds at most. Give it back with `put_back`.

        Raises:
            BaseException: a player failed; whatever it raised.
        """
        try:
            full = self._full.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(full, BaseException):
            raise full
        if full is None:
            self._working -= 1
        return full

    @property
    def done(self) -> bool:
        """Whether everything is played and taken."""
        return not self._working

    def put_back(self, block: Block) -> None:
        """Give a block back that has been written."""
        block.clear()
        self._free.put(block)

    def hold(self) -> None:
        """Let all players stand still; when this returns, they do."""
        for player in self._players:
            player.hold()
        for player in self._players:
            player.await_standing()

    def go_on(self) -> None:
        """Let them play on."""
        for player in self._players:
            player.go_on()

    def stop(self) -> None:
        """Have the running games cut off, also where the players are held. Their blocks are still
        to be taken."""
        for player in self._players:
            player.stop()

    def abandon(self) -> None:
        """Stop, and wait until nobody plays any more; what was played is lost."""
        self.stop()
        while not self.done:
            try:
                block = self.take(1.0)
            except Exception:  # noqa: BLE001 - only the end of the players matters here
                continue
            if block is not None:
                self.put_back(block)

    @property
    def current_game(self) -> int:
        """Number of the game that the first thread is playing, or played last."""
        return self._players[0].current[1]

    def snapshot(self) -> tuple[ShownGame, int]:
        """The board that the first thread is playing, as it is now, and its game's number.

        Not while the players are held: it lets the first one go on.
        """
        first = self._players[0]
        first.hold()
        first.await_standing()
        try:
            return self.standing()
        finally:
            first.go_on()

    def standing(self) -> tuple[ShownGame, int]:
        """The same, while the players are held."""
        first = self._players[0]
        board, game = first.current
        return ShownGame.of_board(self.plan.game, first.games, board), game


class _Thread:
    """One thread and its boards."""

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
        self._going.clear()

    def await_standing(self) -> None:
        with self._playing:
            pass

    def go_on(self) -> None:
        self._going.set()

    def stop(self) -> None:
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
