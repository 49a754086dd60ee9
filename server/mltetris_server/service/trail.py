"""Writes down who did what: every call of a method that is for operators, before it is answered."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from mltetris_api.v1 import system_pb2

from mltetris_server.errors import DomainError
from mltetris_server.service.access import OPERATOR, caller_role, least_role
from mltetris_server.service.errors import code_of, message_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Keep: TypeAlias = Callable[[system_pb2.Activity], Awaitable[object]]
_Answer = TypeVar("_Answer")

_log = structlog.get_logger(__name__)

_UNCHANGING: Final = frozenset({"ListActivity"})
"""For operators only, but nothing comes of it."""

_OF_DATASETS: Final = frozenset({"ExportDataset", "DeleteDataset"})
"""What they name is a dataset."""

_SAID: Final = {
    "StartRun": "started {run}",
    "PauseRun": "paused {run}",
    "ResumeRun": "let {run} go on",
    "StopRun": "stopped {run}",
    "SetSpeed": "set the speed of {run}",
    "SetMode": "set the mode of {run}",
    "UpdateRun": "changed {paths} of {run}",
    "DeleteRun": "deleted {run}",
    "SaveSlot": "saved slot {slot}",
    "UpdateSlot": "changed {paths} of slot {slot}",
    "DeleteSlot": "deleted slot {slot}",
    "ActivateSlot": "activated slot {slot}",
    "ExportSlot": "exported slot {slot}",
    "ImportSlot": "imported slot {slot}",
    "ExportDataset": "exported dataset {dataset}",
    "DeleteDataset": "deleted dataset {dataset}",
    "ReloadPolicy": "had the active slot read anew",
}


class Trail:
    """Keeps one entry a call.

    Args:
        keep: stores an entry. What cannot be stored is logged: the call itself was done.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    async def record(
        self,
        method: MethodDescriptor,
        who: str,
        request: Callable[[], Message | None],
        work: Callable[[], Awaitable[_Answer]],
    ) -> _Answer:
        """Does `work` and writes down how it ended; returns or raises what it does.

        Args:
            who: the caller's `peer`, asked for while the call stood.
            request: returns the call's request, of a stream the first one, once it is there.
        """
        if not is_recorded(method):
            return await work()
        try:
            answer = await work()
        except DomainError as error:
            await self._write(
                method, who, request(), None, code_of(error).value[0], message_of(error)
            )
            raise
        except Exception:
            code: int = grpc.StatusCode.INTERNAL.value[0]
            await self._write(method, who, request(), None, code, "internal error")
            raise
        response = answer if isinstance(answer, Message) else None
        await self._write(method, who, request(), response, 0, "")
        return answer

    async def _write(
        self,
        method: MethodDescriptor,
        who: str,
        request: Message | None,
        response: Message | None,
        code: int,
        why: str,
    ) -> None:
        entry = system_pb2.Activity(
            method=method.name,
            role=caller_role(),
            peer=who,
            run=_subject("run", request, response),
            slot="" if method.name in _OF_DATASETS else _subject("slot", request, response),
            dataset=_subject("slot", request, response) if method.name in _OF_DATASETS else "",
            code=code,
        )
        entry.time.GetCurrentTime()
        entry.summary = why or _summary(entry, request)
        try:
            await self._keep(entry)
        except DomainError as error:
            _log.error("an activity could not be stored", error=str(error), method=entry.method)


def is_recorded(method: MethodDescriptor) -> bool:
    """Whether calls of `method` are written down."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    return least_role(path) == OPERATOR and method.name not in _UNCHANGING


def peer(context: Context) -> str:
    """Returns where a caller is: its address without the port, its certificate's name before it.

    To be called while the call stands: once gRPC has done with it, asking ends the process.
    """
    kind, _, address = urllib.parse.unquote(str(context.peer())).partition(":")
    address = address.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else kind
    names = dict(context.auth_context() or {}).get("x509_common_name", [])
    name = ", ".join(name.decode("utf-8", "replace") for name in names)
    return f"{name}@{address}" if name else address


def _subject(kind: str, request: Message | None, response: Message | None) -> str:
    """The run's id or the slot's name that a call is about, or an empty text."""
    made = getattr(response, kind, None)
    if made is not None:
        return str(made.id if kind == "run" else made.name)
    if request is None:
        return ""
    if kind == "run":
        return str(getattr(request, "run", ""))
    header = getattr(request, "header", request)
    return str(getattr(header, "name", ""))


def _summary(entry: system_pb2.Activity, request: Message | None) -> str:
    update_mask = getattr(request, "update_mask", None)
    paths = ", ".join(update_mask.paths) if update_mask is not None else ""
    said = _SAID.get(entry.method, entry.method)
    return said.format(run=entry.run, slot=entry.slot, dataset=entry.dataset, paths=paths)
