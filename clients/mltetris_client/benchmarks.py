"""The part of `Trainer` for suites and scores."""

from __future__ import annotations

from mltetris_api.v1 import benchmark_pb2, trainer_pb2

from mltetris_client.link import Link

_PAGE = 500


class BenchmarkCalls:
    """What a `Trainer` can tell of benchmarks; `Trainer.start_benchmark` starts one."""

    _link: Link

    def list_benchmark_suites(self) -> list[trainer_pb2.BenchmarkSuite]:
        """The suites that benchmarks can be of, the standard one first."""
        request = trainer_pb2.ListBenchmarkSuitesRequest()
        return list(self._link.unary(self._link.trainer.ListBenchmarkSuites, request).suites)

    def list_benchmark_scores(
        self, *, suite: str = "", player: str = "", limit: int | None = None
    ) -> list[benchmark_pb2.BenchmarkScore]:
        """Scores of official benchmarks, newest first: all, or the first ``limit``.

        Args:
            suite: Only of this suite; empty: of all.
            player: Only of players that were called so; empty: of all.
            limit: Scores at most.

        Raises:
            InvalidArgument.
        """
        request = trainer_pb2.ListBenchmarkScoresRequest(suite=suite, player=player)
        scores: list[benchmark_pb2.BenchmarkScore] = []
        while limit is None or len(scores) < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(scores))
            response = self._link.unary(self._link.trainer.ListBenchmarkScores, request)
            scores.extend(response.scores)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return scores
