"""PolicyService: what to do on a board."""

from __future__ import annotations

from mltetris_api.v1 import policy_pb2

from mltetris_server.errors import NotSupported
from mltetris_server.service.handlers import Context


class PolicyServicer:
    """Answers `mltetris.v1.PolicyService`."""

    async def SuggestPlacement(
        self, request: policy_pb2.SuggestPlacementRequest, context: Context
    ) -> policy_pb2.SuggestPlacementResponse:
        """Returns the best placement on a board, and every other's value."""
        raise NotSupported("not yet")

    async def SuggestPlacements(
        self, request: policy_pb2.SuggestPlacementsRequest, context: Context
    ) -> policy_pb2.SuggestPlacementsResponse:
        """Returns those of many boards, by one model."""
        raise NotSupported("not yet")
