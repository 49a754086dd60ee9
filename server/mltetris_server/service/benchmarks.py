"""TrainerService: suites and scores."""

from __future__ import annotations

from mltetris_api.v1 import trainer_pb2

from mltetris_server.runs.benchmark_specs import suite_message
from mltetris_server.runs.scores import Scores
from mltetris_server.service.handlers import Context
from mltetris_server.suites import SUITES


class BenchmarkMethods:
    """The methods of TrainerService for what benchmarks are of and what came of them."""

    _scores: Scores

    async def ListBenchmarkSuites(
        self, request: trainer_pb2.ListBenchmarkSuitesRequest, context: Context
    ) -> trainer_pb2.ListBenchmarkSuitesResponse:
        """Returns every suite."""
        return trainer_pb2.ListBenchmarkSuitesResponse(
            suites=[suite_message(suite) for suite in SUITES.values()]
        )

    async def ListBenchmarkScores(
        self, request: trainer_pb2.ListBenchmarkScoresRequest, context: Context
    ) -> trainer_pb2.ListBenchmarkScoresResponse:
        """Returns a page of scores, newest first."""
        scores, token = await self._scores.page(request)
        return trainer_pb2.ListBenchmarkScoresResponse(scores=scores, next_page_token=token)
