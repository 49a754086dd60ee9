"""A server to be attacked: what is on it, what it must not say, whether it still works."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
from mltetris_api.v1 import run_pb2, system_pb2, system_pb2_grpc, trainer_pb2, trainer_pb2_grpc
from mltetris_server.storage import bundle

from support.calls import PATIENCE_S, import_requests, simple_model
from support.checkpoints import a_checkpoint
from support.fuzzing.leaks import places
from support.fuzzing.messages import Words
from support.server import ServerProcess
from support.small import small_service

OPERATOR: Final = "operator-token-9f2c41d07be8"
VIEWER: Final = "viewer-token-51ab60e3cc72"
WRONG: Final = "wrong-token-77d0c1e2a9f4"
SECRET_VARIABLE: Final = "MLTETRIS_WORKER_SECRET"

MOST_GROWTH: Final = 192 << 20
"""Bytes by which the server's memory may grow, whatever it is sent."""
_KEEPER: Final = "keeper"
_BUNDLE: Final = bundle.pack(a_checkpoint(1000))
# Whole on its way, but no bundle: as long as the good one, so that one of two digests fits.
_BROKEN: Final = _BUNDLE[:40] + bytes(len(_BUNDLE) - 40)
_RUNNING = frozenset({run_pb2.RUN_STATE_RUNNING, run_pb2.RUN_STATE_PAUSED})
_FINAL = frozenset(
    {run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_STOPPED, run_pb2.RUN_STATE_FAILED}
)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata that carries `token`; of an empty one, none."""
    return (("authorization", f"Bearer {token}"),) if token else ()


class Served:
    """A server process with small workers, two tokens, slots, and runs; one of each is not to be
    touched. A context manager.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.server: ServerProcess = small_service(
            folder / "data", "--max-runs", "4", "--max-queued", "12", *arguments
        )
        self.server.environment["MLTETRIS_OPERATOR_TOKEN"] = OPERATOR
        self.server.environment["MLTETRIS_VIEWER_TOKEN"] = VIEWER
        self.secrets: set[str] = set()
        self._read = 0
        self._least = 0

    def __enter__(self) -> Served:
        try:
            self._begin()
        except BaseException:
            self.server.close()
            raise
        return self

    def _begin(self) -> None:
        self.server.start()
        self.channel = self.server.channel()
        self.trainer = trainer_pb2_grpc.TrainerServiceStub(self.channel)
        self.system = system_pb2_grpc.SystemServiceStub(self.channel)
        self.operator = {"metadata": bearer(OPERATOR), "timeout": PATIENCE_S}
        self.untouched = self._start(_KEEPER)
        self._save(_KEEPER)
        self.kept = self._slot(_KEEPER)
        self.restock()
        assert self.server.process is not None
        self.process = psutil.Process(self.server.process.pid)
        self._least = self.process.memory_info().rss

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.channel.close()
        if kind is not None:
            print(f"the end of the server's log:\n{self.server.log()[-6000:]}")
        left = self.server.close()
        if kind is None:
            assert not left, f"the server left processes behind: {left}"

    # --- what is on it

    def restock(self) -> None:
        """Makes the server as it was: two runs that go and one that is over, and two slots."""
        mine = [run for run in self._runs() if run.id != self.untouched]
        kept = [run.id for run in mine if run.state in _RUNNING][:2]
        for run in mine:
            if run.id not in kept:
                with contextlib.suppress(grpc.RpcError):
                    self.trainer.StopRun(trainer_pb2.StopRunRequest(run=run.id), **self.operator)
        mine = [run for run in self._runs() if run.id != self.untouched]
        over = [run.id for run in mine if run.state in _FINAL]
        for run_id in over[1:]:
            # A made-up run may have begun with its checkpoint, and needs it.
            with contextlib.suppress(grpc.RpcError):
                self.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run_id), **self.operator)
        going = [run for run in mine if run.state in _RUNNING]
        while len(going) < 2:
            going.append(self._run(self._start("touched")))
        if not over:
            run_id = self._start("over")
            self.trainer.StopRun(trainer_pb2.StopRunRequest(run=run_id), **self.operator)
        slots = {slot.name for slot in self._slots()}
        for name in ("good", "narrow"):
            if name not in slots:
                self._save(name)
        for name in sorted(slots - {"good", "narrow", _KEEPER})[:-20]:
            if not self._slot(name).reference:
                request = trainer_pb2.DeleteSlotRequest(name=name, force=True)
                with contextlib.suppress(grpc.RpcError):
                    self.trainer.DeleteSlot(request, **self.operator)
        for process in self.server.workers():
            with contextlib.suppress(psutil.Error):
                self.secrets.add(process.environ()[SECRET_VARIABLE])

    def words(self) -> Words:
        """What a made-up call names to be taken seriously; never what is not to be touched."""
        runs = [run.id for run in self._runs() if run.id != self.untouched]
        slots = [slot.name for slot in self._slots() if slot.name != _KEEPER]
        named = ("TrainerService", "PolicyService", "SystemService")
        services = ["", *(f"mltetris.v1.{service}" for service in named), "no.Such"]
        messages = ["mltetris.v1.Run", "google.protobuf.FieldOptions", "buf.validate.FieldRules"]
        half = len(_BUNDLE) // 2
        return Words(
            {
                "run": [*runs, *runs, "train-nosuch"],
                "name": [*slots, "made-up", "nosuch"],
                "slot": [*slots, "nosuch"],
                "dataset": ["", "made-up", "nosuch"],
                "suite": ["", "sprint-40-lines", "nosuch"],
                "slots": slots,
                "request_id": ["again", "and-again"],
                "page_token": self._tokens(),
                "size_bytes": [len(_BUNDLE), len(_BUNDLE), half],
                "sha256": [hashlib.sha256(data).hexdigest() for data in (_BUNDLE, _BROKEN)],
                "chunk": [_BUNDLE, _BROKEN, _BUNDLE[:half], _BUNDLE[half:], b""],
                "service": services,
                "file_by_filename": ["mltetris/v1/run.proto", "google/rpc/status.proto"],
                "file_containing_symbol": [*services, *messages, "mltetris.v1.Run.spec"],
                "containing_type": messages,
                "all_extension_numbers_of_type": messages,
                "extension_number": [1159, 1, 0, -1],
            }
        )

    def _tokens(self) -> list[str]:
        """Page tokens: real ones, and such as only look like it."""
        one = {"page_size": 1}
        real = [
            self.trainer.ListRuns(
                trainer_pb2.ListRunsRequest(**one), **self.operator
            ).next_page_token,
            self.system.ListActivity(
                system_pb2.ListActivityRequest(**one), **self.operator
            ).next_page_token,
            *(
                self.trainer.ListSlots(
                    trainer_pb2.ListSlotsRequest(order_by=order, **one), **self.operator
                ).next_page_token
                for order in ("score", "name", "create_time")
            ),
        ]
        return [*real, *(forged for token in real if token for forged in forge(token))]

    # --- whether it still does its work

    def check(self) -> None:
        """Whether the server goes on as if nothing had happened."""
        info = self.system.GetServerInfo(system_pb2.GetServerInfoRequest(), **self.operator)
        assert info.tokens_required
        run = self._run(self.untouched)
        assert run.state == run_pb2.RUN_STATE_RUNNING, run
        assert run.display_name == _KEEPER
        self._until(lambda: self._run(self.untouched).metrics.sequence > run.metrics.sequence)
        assert self._slot(_KEEPER) == self.kept
        self._until(lambda: self._info().watchers == 0)
        grown = self.process.memory_info().rss - self._least
        assert grown < MOST_GROWTH, f"the server's memory grew by {grown >> 20} MiB"
        self.check_log()

    def check_log(self) -> None:
        """Whether the server's log has anything that nobody expected, or that is secret."""
        text = self.server.log()
        fresh, self._read = text[self._read :], len(text)
        for secret in (*self.secrets, OPERATOR, VIEWER, WRONG):
            assert secret not in fresh, "there is a secret in the log"
        unexpected = [line for line in fresh.splitlines() if not is_expected(line)]
        assert not unexpected, "\n".join(unexpected[:5])

    @property
    def needles(self) -> set[str]:
        """What no answer may hold."""
        return places(self.server.data_dir) | {OPERATOR, VIEWER, WRONG} | self.secrets

    def _until(self, condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.02)

    def _info(self) -> system_pb2.GetServerInfoResponse:
        return self.system.GetServerInfo(system_pb2.GetServerInfoRequest(), **self.operator)

    def _runs(self) -> Sequence[run_pb2.Run]:
        request = trainer_pb2.ListRunsRequest(page_size=1000)
        runs: Sequence[run_pb2.Run] = self.trainer.ListRuns(request, **self.operator).runs
        return runs

    def _run(self, run_id: str) -> run_pb2.Run:
        request = trainer_pb2.GetRunRequest(run=run_id)
        run: run_pb2.Run = self.trainer.GetRun(request, **self.operator).run
        return run

    def _slots(self) -> Sequence[Any]:
        request = trainer_pb2.ListSlotsRequest(page_size=1000)
        slots: Sequence[Any] = self.trainer.ListSlots(request, **self.operator).slots
        return slots

    def _slot(self, name: str) -> Any:
        return self.trainer.GetSlot(trainer_pb2.GetSlotRequest(name=name), **self.operator).slot

    def _start(self, name: str) -> str:
        """Starts a training and waits until it runs."""
        request = trainer_pb2.StartRunRequest(training={}, display_name=name)
        run_id: str = self.trainer.StartRun(request, **self.operator).run.id
        self._until(lambda: self._run(run_id).state == run_pb2.RUN_STATE_RUNNING)
        return run_id

    def _save(self, name: str) -> None:
        model = {"model": simple_model(8)} if name == "narrow" else {}
        requests = import_requests(name, bundle.pack(a_checkpoint(1000, **model)), overwrite=True)
        self.trainer.ImportSlot(requests, **self.operator)


def forge(token: str) -> Iterator[str]:
    """Tokens like `token`, but with positions that no list has."""
    query, position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for value in (2**63 - 1, 2**63, -(2**70), 1e400, -0.5, float("nan"), "\ud800", "\0", [], None):
        for place in range(len(position)):
            forged = [*position[:place], value, *position[place + 1 :]]
            text = json.dumps([query, forged], separators=(",", ":")).encode()
            yield base64.urlsafe_b64encode(text).decode().rstrip("=")


_EXPECTED: Final = frozenset(
    {
        # The slots on this server hold no network that stable-baselines3 could load.
        "export failed",
    }
)


def is_expected(line: str) -> bool:
    """Whether a line of the log is one of those that a server under attack may write."""
    if not line.strip():
        return True
    try:
        entry = json.loads(line)
    except ValueError:
        # gRPC's own, of connections that are none.
        return re.match(r"[IWE]\d{4} ", line) is not None
    if entry.get("level") in ("debug", "info", "warning"):
        return "exception" not in entry
    return entry.get("event") in _EXPECTED
