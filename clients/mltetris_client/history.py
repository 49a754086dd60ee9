"""The part of `Trainer` that looks back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp
from mltetris_api.v1 import run_pb2, system_pb2, trainer_pb2

from mltetris_client.errors import InvalidArgument
from mltetris_client.link import Link
from mltetris_client.names import (
    AlgorithmName,
    KindName,
    StateName,
    ViewName,
    value_of,
)

_PAGE = 500

RunOrder = Literal["create_time", "end_time", "best_lines", "placements", "display_name"]
EpisodeOrder = Literal["time", "lines"]
MetricHistory = trainer_pb2.GetMetricHistoryResponse
Lineage = trainer_pb2.GetLineageResponse
LineageNode = trainer_pb2.LineageNode
Stats = system_pb2.GetStatsResponse


class HistoryCalls:
    """What a `Trainer` can tell of what was."""

    _link: Link

    def list_runs(
        self,
        *,
        kinds: Iterable[KindName] = (),
        states: Iterable[StateName] = (),
        text: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        algorithms: Iterable[AlgorithmName] = (),
        slot: str = "",
        dataset: str = "",
        suite: str = "",
        order_by: RunOrder = "create_time",
        ascending: bool = False,
        limit: int | None = None,
    ) -> list[run_pb2.Run]:
        """Runs, newest first unless told otherwise: all, or the first ``limit``.

        Args:
            kinds: Only these.
            states: Only these.
            text: Only runs with this in their id or name, upper and lower case alike.
            created_after: Only runs created then or later; a time without a zone is local.
            created_before: Only runs created before.
            algorithms: Only trainings with these.
            slot: Only runs that go on from this slot, play it or compare it.
            dataset: Only runs that made this dataset or learn from it.
            suite: Only benchmarks of this suite.
            order_by: "end_time" (runs that go on come as if they ended now), "best_lines" (runs
                without come last), "placements" or "display_name".
            ascending: Whether the least comes first.
            limit: Runs at most.

        Raises:
            InvalidArgument.
        """
        request = trainer_pb2.ListRunsRequest(
            kinds=[value_of(run_pb2.RunKind, kind, field="kinds") for kind in kinds],
            states=[value_of(run_pb2.RunState, state, field="states") for state in states],
            text=text,
            created_after=_timestamp(created_after, "created_after"),
            created_before=_timestamp(created_before, "created_before"),
            algorithms=[
                value_of(run_pb2.Algorithm, name, field="algorithms") for name in algorithms
            ],
            slot=slot,
            dataset=dataset,
            suite=suite,
            order_by=order_by,
            ascending=ascending,
        )
        runs: list[run_pb2.Run] = []
        while limit is None or len(runs) < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(runs))
            response = self._link.unary(self._link.trainer.ListRuns, request)
            runs.extend(response.runs)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return runs

    def get_metric_history(
        self, run: str, *, max_points: int | None = None, after_sequence: int = 0
    ) -> MetricHistory:
        """A run's metrics, thinned so that every peak stays: ``points`` and ``total_points``.

        Args:
            run: The run's id.
            max_points: Points at most, 10..10,000; None: the server's default, 500.
            after_sequence: Only points with a greater sequence.

        Raises:
            InvalidArgument, NotFound.
        """
        request = trainer_pb2.GetMetricHistoryRequest(
            run=run, max_points=max_points, after_sequence=after_sequence
        )
        return self._link.unary(self._link.trainer.GetMetricHistory, request)

    def list_episodes(
        self,
        run: str,
        *,
        player: str = "",
        view: ViewName | None = None,
        order_by: EpisodeOrder = "time",
        ascending: bool = False,
        limit: int | None = 100,
    ) -> list[run_pb2.Episode]:
        """A run's games, newest first unless told otherwise: all (None), or the first ``limit``.

        Args:
            run: The run's id.
            player: Only those of this player, in a demo or a benchmark.
            view: Only those of this view.
            order_by: "time", or "lines": most first.
            ascending: Whether the oldest, or the one with the fewest lines, comes first.
            limit: Games at most.

        Raises:
            InvalidArgument, NotFound.
        """
        request = trainer_pb2.ListEpisodesRequest(
            run=run,
            player=player,
            view=value_of(run_pb2.RunView, view, field="view"),
            order_by=order_by,
            ascending=ascending,
        )
        episodes: list[run_pb2.Episode] = []
        while limit is None or len(episodes) < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(episodes))
            response = self._link.unary(self._link.trainer.ListEpisodes, request)
            episodes.extend(response.episodes)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return episodes

    def get_lineage(
        self, *, slot: str | None = None, run: str | None = None, dataset: str | None = None
    ) -> Lineage:
        """What a slot, a run or a dataset was made of, and of what that was made.

        ``nodes`` begins with what was asked for; each node's ``parents`` are places in ``nodes``.

        Raises:
            InvalidArgument: not exactly one of the three is given.
            NotFound.
        """
        asked = {"slot": slot, "run": run, "dataset": dataset}
        given = {kind: name for kind, name in asked.items() if name is not None}
        if len(given) != 1:
            raise InvalidArgument.field("subject", "give one of slot, run and dataset")
        request = trainer_pb2.GetLineageRequest(**given)
        return self._link.unary(self._link.trainer.GetLineage, request)

    def get_stats(self) -> Stats:
        """The dashboard's totals: runs, placements and games ever, the best slot, the disk."""
        return self._link.unary(self._link.system.GetStats, system_pb2.GetStatsRequest())


def _timestamp(moment: datetime | None, field: str) -> Timestamp | None:
    """The moment as the contract has it."""
    if moment is None:
        return None
    stamp = Timestamp()
    try:
        # astimezone() takes a time without a zone to be local.
        stamp.FromDatetime(moment.astimezone())
    except (OverflowError, ValueError, OSError):
        raise InvalidArgument.field(field, f"{moment} is no time that can be asked for") from None
    return stamp
