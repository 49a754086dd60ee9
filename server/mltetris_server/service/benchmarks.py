"""TrainerService: suites and scores."""

from __future__ import annotations

from mltetris_api.v1 import trainer_pb2

from mltetris_server.errors import NotSupported
from mltetris_server.service.handlers import Context


class BenchmarkMethods:
    """The methods of TrainerService for what benchmarks are of and what came of them."""

    async def ListBenchmarkSuites(
        self, request: trainer_pb2.ListBenchmarkSuitesRequest, context: Context
    ) -> trainer_pb2.ListBenchmarkSuitesResponse:
        """Returns every suite."""
        raise NotSupported("not yet")

    async def ListBenchmarkScores(
        self, request: trainer_pb2.ListBenchmarkScoresRequest, context: Context
    ) -> trainer_pb2.ListBenchmarkScoresResponse:
        """Returns a page of scores, newest first."""
        raise NotSupported("not yet")
