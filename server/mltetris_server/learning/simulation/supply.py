"""Which games are played on which board, and how many placements of them."""

from __future__ import annotations

import threading


class Supply:
    """Hands out games and placements to boards. Any thread.

    With a number of games, 0..N-1 go to whichever board is free: all of them are played, so it
    does not matter where. With placements alone, each board has an equal share of them and plays
    games b, b + B, b + 2 B and so on: what is played does not depend on who is faster.

    Args:
        boards: How many there are, B.
        games: Games to play at most, None: no limit.
        placements: Placements to make at most, None: no limit.

    Raises:
        ValueError: there is no limit at all, or one is below 1.
    """

    def __init__(self, boards: int, games: int | None, placements: int | None) -> None:
        if games is None and placements is None:
            raise ValueError("a simulation needs a number of games or of placements")
        if boards < 1 or games == 0 or placements == 0:
            raise ValueError("boards, games and placements must be at least 1")
        self._lock = threading.Lock()
        self._boards = boards
        self._games = games
        self._next = 0
        self._turns = [0] * boards
        self._shares: list[int] | None = None
        self._left = placements
        if placements is not None and games is None:
            share, rest = divmod(placements, boards)
            self._shares = [share + (board < rest) for board in range(boards)]

    def next_game(self, board: int) -> int | None:
        """The number of the next game for a board; None: there is none."""
        with self._lock:
            if self._games is None:
                self._turns[board] += 1
                return board + (self._turns[board] - 1) * self._boards
            if self._next == self._games or self._left == 0:
                return None
            self._next += 1
            return self._next - 1

    def grant(self, board: int, wanted: int) -> int:
        """How many of the placements wanted the board may make; 0: none any more."""
        with self._lock:
            if self._shares is not None:
                granted = min(wanted, self._shares[board])
                self._shares[board] -= granted
            elif self._left is not None:
                granted = min(wanted, self._left)
                self._left -= granted
            else:
                granted = wanted
            return granted

    def give_back(self, board: int, unused: int) -> None:
        """Takes back placements that were granted and not made."""
        with self._lock:
            if self._shares is not None:
                self._shares[board] += unused
            elif self._left is not None:
                self._left += unused
