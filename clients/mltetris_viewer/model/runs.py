"""The runs of the server, and which of them stands where."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2
from mltetris_client.names import is_final, is_live


class Runs:
    """Every run known, newest first."""

    def __init__(self) -> None:
        self._runs: dict[str, run_pb2.Run] = {}
        self._unconfirmed: set[str] = set()
        self._ordered: list[run_pb2.Run] | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    def get(self, run_id: str | None) -> run_pb2.Run | None:
        """The run of that id, if it is known."""
        return self._runs.get(run_id) if run_id is not None else None

    def put(self, run: run_pb2.Run) -> bool:
        """Takes a run as it is now; says whether anything is new.

        An older revision than the known one is left out: answers to commands and
        the stream of changes overtake each other.
        """
        known = self._runs.get(run.id)
        doubtful = run.id in self._unconfirmed
        self._unconfirmed.discard(run.id)
        if known is not None and not doubtful and run.revision < known.revision:
            return False
        self._runs[run.id] = run
        self._ordered = None
        return known != run

    def remove(self, run_id: str) -> bool:
        """Forgets a run; says whether it was known."""
        self._ordered = None
        return self._runs.pop(run_id, None) is not None

    def connection_lost(self) -> None:
        """From now on the first word on each run is taken whatever its revision.

        A server that was killed may have lost the last revisions that it told of.
        """
        self._unconfirmed = set(self._runs)

    def ordered(self) -> list[run_pb2.Run]:
        """Newest first."""
        if self._ordered is None:
            self._ordered = sorted(
                self._runs.values(),
                key=lambda run: (run.create_time.seconds, run.create_time.nanos, run.id),
                reverse=True,
            )
        return self._ordered

    def newest(self) -> str | None:
        """The newest run with a worker, else the newest that is queued, else the newest."""
        ordered = self.ordered()
        live = [run for run in ordered if is_live(run)]
        waiting = [run for run in ordered if not is_final(run)]
        candidates = live or waiting or ordered
        return candidates[0].id if candidates else None

    def neighbour(self, run_id: str | None, step: int) -> str | None:
        """The run `step` places from `run_id`, positive towards older ones, around the end."""
        ids = [run.id for run in self.ordered()]
        if not ids:
            return None
        if run_id not in ids:
            return ids[0]
        return ids[(ids.index(run_id) + step) % len(ids)]

    def place(self, run_id: str | None) -> tuple[int, int]:
        """The run's place from 1, newest first, and how many there are; place 0: not known."""
        ids = [run.id for run in self.ordered()]
        return (ids.index(run_id) + 1 if run_id in ids else 0), len(ids)
