"""The part of `Trainer` that asks models what to do."""

from __future__ import annotations

from collections.abc import Iterable

from mltetris_api.v1 import policy_pb2, system_pb2

from mltetris_client.link import Link
from mltetris_client.names import RuleName
from mltetris_client.positions import Board, PieceName, position


class PolicyCalls:
    """What a `Trainer` can ask models."""

    _link: Link

    def suggest_placement(
        self,
        board: Board,
        piece: PieceName | int,
        *,
        width: int | None = None,
        height: int | None = None,
        rule: RuleName | None = None,
        slot: str = "",
    ) -> policy_pb2.SuggestPlacementResponse:
        """Asks a model where to put ``piece``.

            answer = trainer.suggest_placement(["..........", "X.XXXXXXXX"], "I")
            best = answer.suggestion.best         # .column, .rotation, .cells, .value

        Args:
            board: What `positions.position` takes: texts, rows of numbers, bytes; None: empty.
            piece: Its letter, one of IOTSZJL, or 1..7.
            width: Columns; None: the board's, of an empty one 10.
            height: Rows; None: the board's where it is in rows, else 20; lower boards in rows
                stand at the bottom of this many.
            rule: When a game is over; None: gymnasium.
            slot: Who is asked, a slot or a reference player; empty: the active slot.

        Raises:
            InvalidArgument: there is no such board, or the model cannot play on one so wide.
            NotFound: there is no such slot.
            WrongState: none is named and none is active.
            DataLoss: the slot is damaged.
        """
        request = policy_pb2.SuggestPlacementRequest(
            slot=slot,
            position=position(board, piece, width=width, height=height, rule=rule),
        )
        return self._link.unary(self._link.policy.SuggestPlacement, request)

    def suggest_placements(
        self, positions: Iterable[policy_pb2.Position], *, slot: str = ""
    ) -> policy_pb2.SuggestPlacementsResponse:
        """Asks one model about up to 1024 boards, of any sizes.

        Args:
            positions: Made by `positions.position`.
            slot: As in `suggest_placement`.

        Raises:
            As `suggest_placement`.
        """
        request = policy_pb2.SuggestPlacementsRequest(slot=slot, positions=positions)
        return self._link.unary(self._link.policy.SuggestPlacements, request)

    def reload_policy(self) -> policy_pb2.PolicyInfo:
        """Has the server read the active slot anew; returns which model answers from now on.

        Also warms it up: the first suggestion takes a second, later ones far less.

        Raises:
            WrongState: none is active.
            DataLoss: it is damaged.
        """
        request = system_pb2.ReloadPolicyRequest()
        return self._link.unary(self._link.system.ReloadPolicy, request).policy
