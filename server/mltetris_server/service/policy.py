"""PolicyService: what to do on a board."""

from __future__ import annotations

from mltetris_api.v1 import policy_pb2

from mltetris_server.runs.policy.keeper import PolicyKeeper
from mltetris_server.service.handlers import Context


class PolicyServicer:
    """Answers `mltetris.v1.PolicyService`; the keeper's answers are passed on encoded."""

    def __init__(self, keeper: PolicyKeeper) -> None:
        self._keeper = keeper

    async def SuggestPlacement(
        self, request: policy_pb2.SuggestPlacementRequest, context: Context
    ) -> bytes:
        """Returns the best placement on a board, and every other's value."""
        # One suggestion of many is encoded like the only one.
        return await self._keeper.suggest(request.slot, [request.position], ["position"])

    async def SuggestPlacements(
        self, request: policy_pb2.SuggestPlacementsRequest, context: Context
    ) -> bytes:
        """Returns those of many boards, by one model."""
        paths = [f"positions[{i}]" for i in range(len(request.positions))]
        return await self._keeper.suggest(request.slot, request.positions, paths)
