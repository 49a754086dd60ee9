"""Threads that play: one a core, each with boards of its own, in turn."""

from __future__ import annotations

import queue
from dataclasses import replace

from mltetris_server.game.display import ShownGame
from mltetris_server.learning.simulation.blocks import Block, block_rows
from mltetris_server.learning.simulation.plan import Plan
from mltetris_server.learning.simulation.player_thread import PlayerThread
from mltetris_server.learning.simulation.supply import Supply

_BLOCKS_A_THREAD = 2
_BLOCKS_MORE = 2


def load(plan: Plan) -> None:
    """Play a placement of `plan` that nobody sees, so that compiled code is loaded."""
    crew = Crew(replace(plan, threads=1, boards=1, games=None, placements=1), rows=8)
    crew.start()
    while not crew.done:
        crew.take(1.0)


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
            PlayerThread(plan, supply, number, self._free, self._full)
            for number in range(plan.threads)
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
