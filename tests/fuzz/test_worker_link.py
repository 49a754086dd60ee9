"""The workers' listener: who is no worker gets nowhere, and a broken one harms its own run only."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_api.worker.v1 import worker_pb2
from support.checkpoints import a_checkpoint
from support.fuzzing.leaks import leaks, said
from support.fuzzing.messages import Words, encoded, requests
from support.fuzzing.methods import Answer, Method, ask, public_methods
from support.fuzzing.served import OPERATOR, SECRET_VARIABLE, Served, bearer
from support.server import CHANNEL_OPTIONS

SERVICE = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
METHODS = [Method(f"/{SERVICE.full_name}/{method.name}", method) for method in SERVICE.methods]
NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
LET_IN = {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
SECONDS = float(os.environ.get("MLTETRIS_FUZZ_WORKER_SECONDS", "60"))
PATIENCE_S = 20.0

FUZZING = settings(
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


class Victim:
    """A run whose worker was stopped, so that somebody else can speak for it."""

    def __init__(self, served: Served, **fields: Any) -> None:
        self.served = served
        request = trainer_pb2.StartRunRequest(training={}, display_name="victim", **fields)
        self.id: str = served.trainer.StartRun(request, **served.operator).run.id
        self.until(lambda run: run.state == run_pb2.RUN_STATE_RUNNING)
        self.process = self.worker()
        environment = self.process.environ()
        self.secret = environment[SECRET_VARIABLE]
        self.address = environment["MLTETRIS_WORKER_ADDRESS"]
        served.secrets.add(self.secret)

    def worker(self) -> psutil.Process:
        """Its worker's process."""
        (found,) = [
            process
            for process in self.served.server.workers()
            if process.environ()["MLTETRIS_WORKER_RUN"] == self.id
        ]
        return found

    def run(self) -> run_pb2.Run:
        request = trainer_pb2.GetRunRequest(run=self.id)
        run: run_pb2.Run = self.served.trainer.GetRun(request, **self.served.operator).run
        return run

    def until(self, condition: Callable[[run_pb2.Run], bool]) -> run_pb2.Run:
        deadline = time.monotonic() + PATIENCE_S
        while not condition(run := self.run()):
            assert time.monotonic() < deadline, run
            time.sleep(0.02)
        return run

    def is_over(self) -> bool:
        return self.run().HasField("end_time")

    def end(self) -> None:
        """Stops the run, as anybody would; its worker does not answer."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()
        self.until(lambda run: run.HasField("end_time"))
        request = trainer_pb2.DeleteRunRequest(run=self.id)
        self.served.trainer.DeleteRun(request, **self.served.operator)


def credentials(run: str, secret: str) -> tuple[tuple[str, str], ...]:
    return (("mltetris-run", run), ("mltetris-secret", secret))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("linked"), "--log-level", "debug") as made:
        yield made


@pytest.fixture
def victim(served: Served) -> Iterator[Victim]:
    made = Victim(served)
    yield made
    made.end()


@pytest.fixture
def link(victim: Victim) -> Iterator[grpc.Channel]:
    """A channel to where workers dial."""
    with grpc.insecure_channel(victim.address, options=CHANNEL_OPTIONS) as channel:
        yield channel


def first_requests(method: Method) -> list[bytes]:
    """What a good worker would begin with."""
    match method.contract.name:
        case "Attach":
            return [worker_pb2.AttachRequest(hello=worker_pb2.Hello(pid=1)).SerializeToString()]
        case "PutCheckpoint":
            return put_requests()
    return [worker_pb2.GetCheckpointRequest(slot="good").SerializeToString()]


def put_requests(**changes: Any) -> list[bytes]:
    """A whole checkpoint on its way."""
    made = a_checkpoint(5000)
    header = worker_pb2.CheckpointHeader(
        kind=run_pb2.CHECKPOINT_KIND_LATEST,
        model_json=made.manifest.model_json,
        placements=5000,
        files=[
            worker_pb2.CheckpointFile(name=name, size_bytes=entry.size, sha256=entry.sha256)
            for name, entry in made.manifest.files.items()
        ],
    )
    header.MergeFrom(worker_pb2.CheckpointHeader(**changes))
    messages = [worker_pb2.PutCheckpointRequest(header=header)]
    messages += [
        worker_pb2.PutCheckpointRequest(chunk=made.files[name]) for name in made.manifest.files
    ]
    return [message.SerializeToString() for message in messages]


def test_who_is_no_worker_is_not_let_in(served: Served, victim: Victim, link: grpc.Channel) -> None:
    others = sorted(served.secrets - {victim.secret})
    before = victim.run().checkpoints
    wrong = [
        (),
        (("mltetris-run", victim.id),),
        (("mltetris-secret", victim.secret),),
        bearer(OPERATOR),
        *(
            credentials(victim.id, secret)
            for secret in ("", "0" * 64, victim.secret[:-1], victim.secret.upper(), *others)
        ),
        credentials(served.untouched, victim.secret),
        credentials("train-nosuch", victim.secret),
        credentials("../../etc", victim.secret),
        credentials("x" * 5000, victim.secret),
        (*credentials(victim.id, victim.secret), ("mltetris-secret", "0" * 64)),
    ]
    refusals = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND)
    for method in METHODS:
        for metadata in wrong:
            answer = ask(link, method, first_requests(method), metadata, watched_s=PATIENCE_S)
            assert answer.code in refusals, (method, metadata)
            assert not said(answer.text, served.needles - {"/etc"})
    assert victim.run().checkpoints == before
    served.check()


def test_a_secret_is_good_for_as_long_as_its_worker(served: Served) -> None:
    victim = Victim(served, restart_policy={"max_restarts": 3, "backoff": {"nanos": 10_000_000}})
    with grpc.insecure_channel(victim.address, options=CHANNEL_OPTIONS) as link:
        victim.process.kill()
        victim.until(lambda run: run.restarts == 1 and run.state == run_pb2.RUN_STATE_RUNNING)
        new = victim.worker().environ()[SECRET_VARIABLE]
        assert new != victim.secret
        for method in METHODS:
            old = credentials(victim.id, victim.secret)
            answer = ask(link, method, first_requests(method), old, watched_s=PATIENCE_S)
            assert answer.code == grpc.StatusCode.UNAUTHENTICATED, method
        stop = trainer_pb2.StopRunRequest(run=victim.id)
        served.trainer.StopRun(stop, **served.operator)
        for method in METHODS:
            for secret in (victim.secret, new):
                given = credentials(victim.id, secret)
                answer = ask(link, method, first_requests(method), given, watched_s=PATIENCE_S)
                assert answer.code in (
                    grpc.StatusCode.UNAUTHENTICATED,
                    grpc.StatusCode.FAILED_PRECONDITION,
                ), method
    victim.end()
    served.check()


def test_each_listener_serves_its_own_and_nothing_else(
    served: Served, victim: Victim, link: grpc.Channel
) -> None:
    given = (*bearer(OPERATOR), *credentials(victim.id, victim.secret))
    for method in METHODS:
        answer = ask(served.channel, method, first_requests(method), given, watched_s=PATIENCE_S)
        assert answer.code == grpc.StatusCode.UNIMPLEMENTED
    for method in public_methods():
        answer = ask(link, method, [b""], given, watched_s=PATIENCE_S)
        assert answer.code == grpc.StatusCode.UNIMPLEMENTED, method


@pytest.mark.skipif(os.name != "posix", reason="there are no Unix sockets here")
def test_other_users_do_not_reach_the_workers_listener(victim: Victim) -> None:
    socket = Path(victim.address.removeprefix("unix:"))
    status = socket.parent.stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.getuid()
    if os.getuid() != 0:
        return
    code = (
        "import os, socket; os.setgid(65534); os.setuid(65534); "
        f"socket.socket(socket.AF_UNIX).connect({str(socket)!r})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in ended.stderr


def test_secrets_are_in_no_command_line(served: Served) -> None:
    """Nor are tokens: every user of a machine can list the processes with their arguments."""
    hidden = {*served.secrets, OPERATOR}
    assert len(hidden) > 2
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert not said(" ".join(process.cmdline()), hidden)
    for process in served.server.workers():
        assert OPERATOR not in process.environ().values()


UNSPEAKABLE: Sequence[tuple[dict[str, Any], str]] = (
    ({"sequence": 2**64 - 1, "notice": {}}, "sequence"),
    ({"metrics": {"sequence": 2**64 - 1}}, "metrics.sequence"),
    ({"metrics": {"sequence": 10**9}}, "metrics.sequence"),
    ({"metrics": {"placements": 2**63}}, "metrics.placements"),
    ({"metrics": {"time": {"seconds": 10**15}}}, "metrics.time"),
    ({"metrics": {"elapsed": {"seconds": 1, "nanos": -1}}}, "metrics.elapsed"),
    ({"metrics": {"changes": ["x" * 100_000]}}, "metrics"),
    ({"episodes": {"episodes": [{"lines": 2**63}]}}, "episodes.episodes[0].lines"),
    ({"episodes": {"episodes": [{"end_time": {"nanos": -1}}]}}, "episodes.episodes[0].end_time"),
    ({"finished": {"error": {"message": "x" * 100_000}}}, "finished"),
    ({"notice": {"text": "x" * 100_000}}, "notice"),
    ({"state": {"training": {"features": 99}}}, "state.training.features"),
)


def test_what_no_worker_says_ends_its_conversation(
    served: Served, victim: Victim, link: grpc.Channel
) -> None:
    victim.process.suspend()
    attach = next(method for method in METHODS if method.contract.name == "Attach")
    for event, field in UNSPEAKABLE:
        said_ = worker_pb2.AttachRequest(**({"sequence": victim_number(victim)} | event))
        raws = [*first_requests(attach), said_.SerializeToString()]
        given = credentials(victim.id, victim.secret)
        answer = ask(link, attach, raws, given, watched_s=PATIENCE_S)
        assert answer.code == grpc.StatusCode.INVALID_ARGUMENT, field
        assert answer.fields == [field]
    served.check()


def victim_number(victim: Victim) -> int:
    """A number beyond those of all events that the victim's worker has sent."""
    return victim.run().metrics.sequence * 2 + 1000


def test_a_worker_cannot_ask_for_other_models(
    served: Served, victim: Victim, link: grpc.Channel
) -> None:
    """Not even by saying that it was told to."""
    victim.process.suspend()
    given = credentials(victim.id, victim.secret)
    attach, get = (
        method
        for name in ("Attach", "GetCheckpoint")
        for method in METHODS
        if method.contract.name == name
    )
    training = run_pb2.TrainingSpec(slot="good", seed=1)
    report = worker_pb2.StateReport(state=worker_pb2.WORKER_STATE_RUNNING, training=training)
    event = worker_pb2.AttachRequest(sequence=victim_number(victim), state=report)
    ask(link, attach, [*first_requests(attach), event.SerializeToString()], given, watched_s=1)
    run = victim.until(lambda run: run.training.seed == 1)
    assert not run.training.HasField("slot")
    answer = ask(link, get, first_requests(get), given, watched_s=PATIENCE_S)
    assert answer.code == grpc.StatusCode.PERMISSION_DENIED


def test_a_checkpoint_of_no_kind(victim: Victim, link: grpc.Channel) -> None:
    put = next(method for method in METHODS if method.contract.name == "PutCheckpoint")
    header, *chunks = (worker_pb2.PutCheckpointRequest.FromString(raw) for raw in put_requests())
    for kind in (0, 77):
        header.header.kind = kind
        raws = [message.SerializeToString() for message in (header, *chunks)]
        answer = ask(link, put, raws, credentials(victim.id, victim.secret))
        refused = (grpc.StatusCode.INVALID_ARGUMENT, ["header.kind"])
        assert (answer.code, answer.fields) == refused


def words_for(victim: Victim) -> Words:
    """What a made-up conversation of the victim's worker is made of."""
    put = [worker_pb2.PutCheckpointRequest.FromString(raw) for raw in put_requests()]
    files = put[0].header.files
    number = victim_number(victim)
    return Words(
        {
            "sequence": [0, number, number + 1, number + 50, victim.run().metrics.sequence + 1],
            "run": [victim.id, victim.served.untouched],
            "slot": ["good", "nosuch", ""],
            "name": [file.name for file in files],
            "sha256": [file.sha256 for file in files],
            "size_bytes": [file.size_bytes for file in files],
            "model_json": [put[0].header.model_json, "{}", "[]", '{"a": 1e999}', '{"\\ud800": 1}'],
            "chunk": [message.chunk for message in put[1:]],
            "command": [0, 1, 2],
        }
    )


@st.composite
def conversations(draw: st.DrawFn, method: Method, words: Words) -> list[bytes]:
    """What a broken worker sends: often with a proper beginning."""
    kind = method.contract.input_type
    if method.contract.name == "Attach" and draw(st.integers(0, 3)):
        more = [draw(encoded(kind, words)) for _ in range(draw(st.integers(0, 5)))]
        return [*first_requests(method), *more]
    if method.contract.name == "PutCheckpoint" and draw(st.integers(0, 1)):
        # Whole, but for one thing.
        raws = put_requests()
        place = draw(st.integers(0, len(raws) - 1))
        raws[place] = draw(encoded(kind, words, only="header" if place == 0 else "chunk"))
        return raws
    return draw(requests(kind, words, stream=method.contract.client_streaming))


def attack(victim: Victim, link: grpc.Channel, words: Words, data: st.DataObject) -> Answer:
    """One call with the right secret and the wrong content."""
    method = data.draw(st.sampled_from(METHODS))
    raws = data.draw(conversations(method, words))
    answer = ask(link, method, raws, credentials(victim.id, victim.secret))
    try:
        assert answer.code not in NEVER
        assert not said(answer.text, victim.served.needles)
        for response in answer.responses:
            assert not leaks(response, victim.served.needles)
        if answer.code == grpc.StatusCode.INVALID_ARGUMENT:
            assert answer.text.startswith("the request is not a ") or answer.fields
    except AssertionError:
        print(f"{method}:\n{shown(GetMessageClass(method.contract.input_type), raws)}\n{answer}")
        raise
    return answer


def shown(kind: type[Message], raws: Sequence[bytes]) -> str:
    lines = []
    for raw in raws:
        try:
            lines.append(f"{kind.FromString(raw)}"[:2000])
        except ValueError:
            lines.append(repr(raw[:500]))
    return "\n--\n".join(lines)


def assail(served: Served, number: int, calls: int) -> None:
    """Speaks nonsense for one run after the other; each ends, and no other is harmed."""
    victim = Victim(served)
    victim.process.suspend()
    words = words_for(victim)
    with grpc.insecure_channel(victim.address, options=CHANNEL_OPTIONS) as link:

        @settings(FUZZING, max_examples=calls)
        @seed(number)
        @given(st.data())
        def some(data: st.DataObject) -> None:
            attack(victim, link, words, data)

        some()
    victim.end()
    served.check()


def test_a_broken_worker_harms_its_own_run_only(served: Served) -> None:
    for number in range(2):
        assail(served, number, 40)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_many_broken_workers(served: Served) -> None:
    number = int(os.environ.get("MLTETRIS_FUZZ_SEED", str(random.SystemRandom().getrandbits(32))))
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        print(f"MLTETRIS_FUZZ_SEED={number}")
        assail(served, number, 60)
        number += 1
