"""Who may call what: a rule for every method, tokens for two roles, and the gate between.

    gate = Gate(Tokens(operator="…", viewer="…"))
    grpc.aio.server(interceptors=[gate])
    caller_role()          # in a handler: the role of who calls

A call carries its token as the metadata `authorization: Bearer TOKEN`. Without any token set,
whoever reaches the server is its operator.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
from mltetris_api.v1.system_pb2 import Role

RoleValue: TypeAlias = Role.ValueType
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

ANYBODY: Final = Role.ROLE_UNSPECIFIED
VIEWER: Final = Role.ROLE_VIEWER
OPERATOR: Final = Role.ROLE_OPERATOR

LEAST_TOKEN_LENGTH: Final = 16
"""Characters of a token at least: what is shorter can be guessed."""

_TRAINER: Final = "/mltetris.v1.TrainerService/"
_SYSTEM: Final = "/mltetris.v1.SystemService/"
_POLICY: Final = "/mltetris.v1.PolicyService/"
_HEALTH: Final = "/grpc.health.v1.Health/"

RULES: Final[Mapping[str, RoleValue]] = {
    **{
        _TRAINER + method: VIEWER
        for method in (
            "GetRun",
            "ListRuns",
            "WatchRuns",
            "StreamMetrics",
            "StreamBoard",
            "GetMetricHistory",
            "ListEpisodes",
            "GetLineage",
            "ListBenchmarkSuites",
            "ListBenchmarkScores",
            "ListDatasets",
            "GetDataset",
            "ListSlots",
            "GetSlot",
        )
    },
    **{
        _TRAINER + method: OPERATOR
        for method in (
            "StartRun",
            "PauseRun",
            "ResumeRun",
            "StopRun",
            "SetSpeed",
            "SetMode",
            "UpdateRun",
            "DeleteRun",
            "SaveSlot",
            "UpdateSlot",
            "DeleteSlot",
            "ActivateSlot",
            "ImportSlot",
            # It reads, but what it hands out is the work of others.
            "ExportSlot",
            "ExportDataset",
            "DeleteDataset",
        )
    },
    **{_POLICY + method: VIEWER for method in ("SuggestPlacement", "SuggestPlacements")},
    **{
        _SYSTEM + method: VIEWER
        for method in ("GetServerInfo", "GetStats", "GetSystemMetrics", "StreamSystemMetrics")
    },
    _SYSTEM + "ReloadPolicy": OPERATOR,
    # It names who did what from where.
    _SYSTEM + "ListActivity": OPERATOR,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": VIEWER,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": VIEWER,
    # Load balancers ask, which have no token.
    **{_HEALTH + method: ANYBODY for method in ("Check", "Watch")},
}
"""The least role that may call each method. What has no rule is for operators."""

_role: ContextVar[RoleValue] = ContextVar("role", default=OPERATOR)


def caller_role() -> RoleValue:
    """Returns the role of who makes the present call."""
    return _role.get()


def least_role(method: str) -> RoleValue:
    """Returns the least role that may call `method`, given as `/package.Service/Method`."""
    return RULES.get(method, OPERATOR)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The secrets by which callers are known; an empty one is none.

    Raises:
        ValueError: one is too short, holds what a header cannot, or both are the same.
    """

    operator: str = field(default="", repr=False)
    viewer: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for name, token in (("operator", self.operator), ("viewer", self.viewer)):
            if token and len(token) < LEAST_TOKEN_LENGTH:
                raise ValueError(
                    f"the {name} token has {len(token)} characters: it needs {LEAST_TOKEN_LENGTH} "
                    "at least"
                )
            if not all("!" <= character <= "~" for character in token):
                raise ValueError(
                    f"the {name} token may only have printable ASCII characters without spaces"
                )
        if self.operator and self.operator == self.viewer:
            raise ValueError("the operator's and the viewer's token must not be the same")
        if self.viewer and not self.operator:
            raise ValueError("there is a viewer token but no operator token: nobody could operate")

    @property
    def required(self) -> bool:
        """Whether callers need one."""
        return bool(self.operator)

    def role_of(self, authorization: str) -> RoleValue | None:
        """Returns the role that an `authorization` header gives, or None.

        Takes the same time for every wrong token.
        """
        if not self.required:
            return OPERATOR
        scheme, _, token = authorization.partition(" ")
        given = _digest(token.strip())
        roles = [
            role
            for role, known in ((OPERATOR, self.operator), (VIEWER, self.viewer))
            # An empty one has a digest too, which must not match.
            if hmac.compare_digest(given, _digest(known)) and known
        ]
        return roles[0] if roles and scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    """Of one length, so that comparing says nothing about the length either."""
    return hashlib.sha256(token.encode()).digest()


class Gate(grpc.aio.ServerInterceptor):
    """Lets through who may, before anything of a call is read."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Returns the call's handler, or one that refuses it."""
        least = least_role(handler_call_details.method)
        role = self._tokens.role_of(_authorization(handler_call_details))
        if least != ANYBODY:
            if role is None:
                return _refusal(
                    grpc.StatusCode.UNAUTHENTICATED,
                    "this server asks for a token, and there was none or a wrong one: send it as "
                    "the metadata authorization: Bearer TOKEN",
                )
            if role < least:
                name = handler_call_details.method.rpartition("/")[2]
                return _refusal(
                    grpc.StatusCode.PERMISSION_DENIED,
                    f"{name} needs the operator's token; yours is a viewer's, which may look only",
                )
        # The handler runs in this same task.
        _role.set(VIEWER if role is None else role)
        return await continuation(handler_call_details)


def _authorization(details: grpc.HandlerCallDetails) -> str:
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            return value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return ""


def _refusal(code: grpc.StatusCode, message: str) -> Handler:
    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(code, message)

    # Nothing of the request is read, so that this does for calls of every kind.
    return grpc.stream_stream_rpc_method_handler(refuse)
