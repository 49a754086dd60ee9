"""The link over a real wire: breaks, restarts, refusals, and a server that stays away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import CheckpointKind, Episode, MetricPoint, TrainingSpec
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    AttachResponse,
    Episodes,
    Finished,
    Frames,
    GetCheckpointRequest,
    Pause,
    Watch,
    WorkerState,
)
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.outbox import Outbox
from mltetris_server.worker.settings import (
    ADDRESS_VARIABLE,
    RUN_VARIABLE,
    SECRET_VARIABLE,
    SettingsError,
    WorkerSettings,
)
from mltetris_server.worker.transfer import (
    MOST_RETRIES,
    Checkpoint,
    TransferError,
    get_checkpoint,
    put_checkpoint,
)
from worker.fake_server import PATIENCE, RUN, SECRET, FakeServer, address, sequences


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    server = FakeServer(address(tmp_path), training=TrainingSpec(seed=7)).start()
    yield server
    server.stop()


class Party:
    """A link and what came through it."""

    def __init__(self, server: FakeServer) -> None:
        self.delivered: list[AttachResponse] = []
        self.changed = threading.Condition()
        self.left = threading.Event()
        settings = WorkerSettings(server.address, RUN, SECRET)
        self.link = Link(settings, self._deliver, self.left.set)

    def _deliver(self, message: AttachResponse) -> None:
        with self.changed:
            self.delivered.append(message)
            self.changed.notify_all()

    def await_delivered(self, kind: str) -> AttachResponse:
        def found() -> list[AttachResponse]:
            return [m for m in self.delivered if m.WhichOneof("message") == kind]

        with self.changed:
            assert self.changed.wait_for(lambda: bool(found()), PATIENCE), kind
        return found()[-1]

    def say(self, *numbers: int) -> None:
        for number in numbers:
            self.link.send(AttachRequest(metrics=MetricPoint(sequence=number)))


@pytest.fixture
def party(server: FakeServer) -> Iterator[Party]:
    party = Party(server)
    yield party
    party.link.close()


def points(server: FakeServer) -> list[int]:
    return [event.metrics.sequence for event in server.events("metrics")]


def test_it_attaches_and_learns_what_to_run(server: FakeServer, party: Party) -> None:
    party.link.start()
    assert party.link.welcome().training.seed == 7
    hello = server.await_events("hello")[0].hello
    assert hello.pid > 0
    assert hello.acknowledged == 0
    assert hello.state == WorkerState.WORKER_STATE_UNSPECIFIED


def test_it_waits_for_a_server_that_comes_later(tmp_path: Path) -> None:
    server = FakeServer(address(tmp_path), training=TrainingSpec(seed=7)).start()
    server.stop()
    party = Party(server)
    party.link.start()
    server.start()
    try:
        assert party.link.welcome().training.seed == 7
    finally:
        party.link.close()
        server.stop()


def test_commands_are_delivered_in_order(server: FakeServer, party: Party) -> None:
    party.link.start()
    party.link.welcome()
    server.await_events("hello")
    server.say(AttachResponse(watch=Watch(max_fps=5)))
    server.say(AttachResponse(pause=Pause()))
    party.await_delivered("pause")
    assert [m.WhichOneof("message") for m in party.delivered] == ["watch", "pause"]
    assert party.delivered[1].command == 1


def test_silence_is_filled_with_heartbeats(server: FakeServer, party: Party) -> None:
    party.link.start()
    server.await_events("heartbeat", 2)


def test_a_broken_line_is_taken_up_again_with_each_event_once(
    server: FakeServer, party: Party
) -> None:
    party.link.start()
    party.link.welcome()
    party.say(1, 2, 3)
    server.await_events("metrics", 3)
    party.link.state = WorkerState.WORKER_STATE_RUNNING
    server.break_line()
    server.wait_for(lambda: server.conversations == 2)
    party.say(4, 5)
    server.await_events("metrics", 5)
    assert points(server) == [1, 2, 3, 4, 5]
    assert sequences(server.received) == [1, 2, 3, 4, 5]
    assert server.events("hello")[1].hello.state == WorkerState.WORKER_STATE_RUNNING
    assert party.await_delivered("welcome").welcome.training.seed == 7


def test_what_was_not_stored_is_said_again(server: FakeServer, party: Party) -> None:
    server.acknowledging = False
    party.link.start()
    party.link.welcome()
    party.say(1, 2, 3)
    server.await_events("metrics", 3)
    server.acknowledging = True
    server.break_line()
    server.await_events("metrics", 6)
    assert points(server) == [1, 2, 3, 1, 2, 3]
    assert sequences(server.received) == [1, 2, 3, 1, 2, 3]


def test_a_restarted_server_gets_what_it_missed(server: FakeServer, party: Party) -> None:
    party.link.start()
    party.link.welcome()
    party.say(1, 2)
    server.await_events("metrics", 2)
    server.stop()
    party.say(3, 4)
    party.link.show(Frames(frames=[BoardFrame(sequence=1)]))
    server.start()
    server.await_events("metrics", 4)
    assert points(server) == [1, 2, 3, 4]
    assert server.events("frames") == []


def test_it_leaves_a_server_that_stays_away(server: FakeServer, party: Party) -> None:
    server.welcome.grace.CopyFrom(Duration(nanos=300_000_000))
    party.link.start()
    party.link.welcome()
    server.stop()
    assert party.left.wait(PATIENCE)
    with pytest.raises(ServerGone):
        party.link.send_and_wait(AttachRequest(finished=Finished()))
    with pytest.raises(ServerGone):
        put_checkpoint(party.link, CheckpointKind.CHECKPOINT_KIND_BEST, Checkpoint("{}", {}, 0))
    party.say(1)  # nobody listens, and nothing breaks


def test_it_leaves_at_once_when_it_is_refused(server: FakeServer, party: Party) -> None:
    server.refusal = grpc.StatusCode.PERMISSION_DENIED
    party.link.start()
    with pytest.raises(ServerGone, match="not you"):
        party.link.welcome()
    assert party.left.wait(PATIENCE)
    assert server.refused == 1  # trying again would not change the answer


def test_a_fault_of_the_line_ends_the_run(server: FakeServer) -> None:
    def deliver(message: AttachResponse) -> None:
        raise ZeroDivisionError("a fault")

    left = threading.Event()
    link = Link(WorkerSettings(server.address, RUN, SECRET), deliver, left.set)
    link.start()
    link.welcome()
    server.say(AttachResponse(pause=Pause()))
    assert left.wait(PATIENCE)
    link.close()


def test_a_last_word_is_waited_for_over_a_break(server: FakeServer, party: Party) -> None:
    server.acknowledging = False
    party.link.start()
    party.link.welcome()
    waiting = threading.Thread(
        target=party.link.send_and_wait, args=(AttachRequest(finished=Finished()),), daemon=True
    )
    waiting.start()
    server.await_events("finished")
    assert waiting.is_alive()
    server.acknowledging = True
    server.break_line()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_a_checkpoint_travels_whole(server: FakeServer, party: Party) -> None:
    party.link.start()
    files = {"policy.safetensors": b"p" * 10, "training.safetensors": bytes(range(256)) * 12_000}
    stored = put_checkpoint(
        party.link, CheckpointKind.CHECKPOINT_KIND_LATEST, Checkpoint('{"a": 1}', files, 42)
    )
    assert stored.placements == 42
    assert server.checkpoints[0].files == files
    assert server.checkpoints[0].header.model_json == '{"a": 1}'


def test_a_checkpoint_waits_for_the_line(server: FakeServer, party: Party) -> None:
    party.link.start()
    party.link.welcome()
    server.stop()
    saving = threading.Thread(
        target=put_checkpoint,
        args=(
            party.link,
            CheckpointKind.CHECKPOINT_KIND_LATEST,
            Checkpoint("{}", {"a": b"b"}, 1),
        ),
        daemon=True,
    )
    saving.start()
    server.start()
    saving.join(PATIENCE)
    assert [stored.files for stored in server.checkpoints] == [{"a": b"b"}]


def test_a_server_that_cannot_store_is_not_asked_for_ever(server: FakeServer, party: Party) -> None:
    server.put_refusal = grpc.StatusCode.UNAVAILABLE
    party.link.start()
    with pytest.raises(TransferError, match="the disk is full"):
        put_checkpoint(
            party.link, CheckpointKind.CHECKPOINT_KIND_BEST, Checkpoint("{}", {"a": b"b"}, 1)
        )
    assert server.puts == 1 + MOST_RETRIES


def test_a_model_is_read(server: FakeServer, party: Party) -> None:
    files = {"policy.safetensors": b"p" * 3_000_000, "empty": b""}
    server.keep_slot("good", '{"algorithm": "td"}', files)
    party.link.start()
    model = get_checkpoint(party.link, GetCheckpointRequest(slot="good"))
    assert model.model_json == '{"algorithm": "td"}'
    assert model.files == files


def test_an_unknown_model_is_an_error_with_its_code(server: FakeServer, party: Party) -> None:
    party.link.start()
    with pytest.raises(TransferError, match="no slot 'bad'") as raised:
        get_checkpoint(party.link, GetCheckpointRequest(slot="bad"))
    assert raised.value.code == grpc.StatusCode.NOT_FOUND


def test_a_model_that_is_not_what_its_header_says_is_refused(
    server: FakeServer, party: Party
) -> None:
    server.keep_slot("torn", "{}", {"policy.safetensors": b"right"})
    server.slots["torn"].files["policy.safetensors"] = b"wrong"
    party.link.start()
    with pytest.raises(TransferError, match="SHA-256") as raised:
        get_checkpoint(party.link, GetCheckpointRequest(slot="torn"))
    assert raised.value.code == grpc.StatusCode.DATA_LOSS


def test_settings_come_from_the_environment_and_hide_the_secret() -> None:
    environment = {ADDRESS_VARIABLE: "unix:/s", RUN_VARIABLE: "r", SECRET_VARIABLE: "hush"}
    settings = WorkerSettings.from_environment(environment)
    assert settings == WorkerSettings("unix:/s", "r", "hush")
    assert "hush" not in repr(settings)
    del environment[SECRET_VARIABLE]
    with pytest.raises(SettingsError, match=SECRET_VARIABLE):
        WorkerSettings.from_environment(environment)


def test_it_leaves_where_what_must_not_be_lost_does_not_fit_any_more(
    server: FakeServer, party: Party
) -> None:
    server.acknowledging = False
    party.link._outbox = Outbox(most_bytes=100)
    party.link.start()
    party.link.welcome()
    party.say(*range(1, 100))
    assert party.left.wait(PATIENCE)
    with pytest.raises(ServerGone, match="wait for an acknowledgement"):
        party.link.send_and_wait(AttachRequest(finished=Finished()))


def test_a_last_word_that_does_not_fit_ends_it_too(server: FakeServer, party: Party) -> None:
    party.link._outbox = Outbox(most_bytes=1)
    party.link.start()
    party.link.welcome()
    with pytest.raises(ServerGone, match="wait for an acknowledgement"):
        party.link.send_and_wait(AttachRequest(finished=Finished()))
    assert party.left.wait(PATIENCE)


def test_what_was_left_out_while_the_server_was_away_is_told_when_it_is_back(
    server: FakeServer, party: Party
) -> None:
    party.link._outbox = Outbox(capacity=10)
    party.link.start()
    party.link.welcome()
    server.stop()
    for number in range(1, 101):
        party.say(number)
        episode = Episode(number=number)
        party.link.send(AttachRequest(episodes=Episodes(episodes=[episode])))
    server.start()
    (told,) = server.await_events("notice")
    kept = [e.number for event in server.events("episodes") for e in event.episodes.episodes]
    assert kept == list(range(101 - len(kept), 101)), "the newest"
    assert f"{100 - len(kept)} episodes and 0 notices were left out" in told.notice.text
    assert points(server) == list(range(1, 101))
