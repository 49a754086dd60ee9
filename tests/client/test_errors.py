"""Every failure is a typed exception that says what to do."""

from __future__ import annotations

import math
import socket
import threading

import grpc
import mltetris_client
import pytest
from mltetris_client import (
    Closed,
    InvalidArgument,
    NotFound,
    NotSupported,
    Trainer,
    Unreachable,
    WrongState,
    specs,
)
from support.small import in_state


def test_no_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        mltetris_client.connect(f"127.0.0.1:{port}") as trainer,
        pytest.raises(Unreachable) as caught,
    ):
        trainer.list_runs()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert str(port) in caught.value.message
    assert "mltetris serve" in caught.value.hint


def test_streams_without_a_server_raise_at_once() -> None:
    with mltetris_client.connect("127.0.0.1:1") as trainer:
        with pytest.raises(Unreachable):
            next(iter(trainer.watch_runs()))
        with pytest.raises(Unreachable):
            next(iter(trainer.stream_metrics("train-000000")))
        with trainer.stream_board("train-000000") as boards, pytest.raises(Unreachable):
            next(iter(boards))
        with pytest.raises(Unreachable):
            trainer.wait_ready(timeout=0.3)


def test_unknown_run_and_slot(trainer: Trainer) -> None:
    with pytest.raises(NotFound) as caught:
        trainer.get_run("train-000000")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert "train-000000" in caught.value.message
    assert caught.value.hint
    for call in (
        lambda: trainer.get_slot("nothing"),
        lambda: trainer.activate_slot("nothing"),
        lambda: trainer.delete_slot("nothing"),
        lambda: trainer.update_slot("nothing", notes="x"),
        lambda: trainer.export_slot("nothing"),
        lambda: trainer.save_slot("new", run="train-000000"),
        lambda: trainer.save_slot("new", slot="nothing"),
        lambda: trainer.start_demo(["nothing"]),
        lambda: trainer.start_training(from_slot="nothing"),
        lambda: next(iter(trainer.stream_metrics("train-000000"))),
        lambda: next(iter(trainer.stream_board("train-000000"))),
    ):
        with pytest.raises(NotFound):
            call()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 65, "ü", "a b", "a\0b"])
def test_illegal_names(trainer: Trainer, name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        trainer.get_slot(name)
    assert [violation.field for violation in caught.value.fields] == ["name"]
    assert caught.value.fields[0].description


def test_numbers_out_of_range_name_their_field(trainer: Trainer) -> None:
    for value in (math.nan, math.inf, 0.0, -1.0, 2.0):
        with pytest.raises(InvalidArgument) as caught:
            trainer.start_training(learning_rate=value)
        assert [v.field for v in caught.value.fields] == ["training.td.learning_rate"]
    run = trainer.start_training()
    for speed in (math.nan, 0.0, 1001.0):
        with pytest.raises(InvalidArgument) as caught:
            trainer.set_speed(run.id, speed)
        assert [v.field for v in caught.value.fields] == ["placements_per_second"]
    trainer.stop_run(run.id)


def test_what_does_not_fit_a_field_never_leaves() -> None:
    with pytest.raises(InvalidArgument, match="seed"):
        specs.training(seed=-1)
    with pytest.raises(InvalidArgument, match="seed"):
        specs.training(seed=2**64)
    with pytest.raises(InvalidArgument, match="max_duration"):
        specs.training(max_seconds=math.nan)
    with pytest.raises(InvalidArgument, match="no such option"):
        specs.training(learnign_rate=0.1)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgument, match="best, latest, final"):
        specs.training(from_run="train-abc123:newest")
    with pytest.raises(InvalidArgument, match="not both"):
        specs.training(from_run="train-abc123", from_slot="x")
    with pytest.raises(InvalidArgument, match="headless, visual"):
        specs.demo(mode="fast")  # type: ignore[arg-type]


def test_messages_that_are_too_large(trainer: Trainer) -> None:
    with pytest.raises(InvalidArgument) as caught:
        trainer.save_slot("large", run="train-000000", notes="x" * 4001)
    assert [violation.field for violation in caught.value.fields] == ["notes"]
    with pytest.raises(mltetris_client.TooSlow) as limit:
        trainer.save_slot("large", run="train-000000", notes="x" * 5_000_000)
    assert limit.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "Send less" in limit.value.hint


def test_wrong_state(trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    with pytest.raises(WrongState) as caught:
        trainer.delete_run(run.id)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    stopped = trainer.stop_run(run.id)
    with pytest.raises(WrongState):
        trainer.pause_run(run.id)
    assert trainer.get_run(run.id) == stopped


def test_what_is_declared_only(trainer: Trainer) -> None:
    with pytest.raises(NotSupported):
        trainer.export_slot("bcts", format="onnx")


def test_a_closed_trainer_says_so(trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    with mltetris_client.connect(trainer.address) as other:
        stream = other.stream_metrics(run.id)
        points = iter(stream)
        next(points)
    with pytest.raises(Closed):
        other.get_run(run.id)
    with pytest.raises(Closed):
        for _ in points:
            pass
    trainer.stop_run(run.id)


def test_a_hanging_server_is_not_waited_for_for_ever() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        accepted: list[socket.socket] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        thread.start()
        with (
            mltetris_client.connect(f"127.0.0.1:{port}", timeout=1.0) as trainer,
            pytest.raises(mltetris_client.MlTetrisError) as caught,
        ):
            trainer.list_runs()
        assert caught.value.code in {
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.UNAVAILABLE,
        }
        thread.join()
        for connection in accepted:
            connection.close()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tetris.example", "tetris.example:50051"),
        ("localhost:1234", "localhost:1234"),
        ("[::1]:50052", "[::1]:50052"),
        ("::1", "[::1]:50051"),
        (" 10.0.0.1 ", "10.0.0.1:50051"),
    ],
)
def test_addresses(written: str, meant: str) -> None:
    with mltetris_client.connect(written) as trainer:
        assert trainer.address == meant


@pytest.mark.parametrize("written", ["", ":1", "a b:1", "host:0", "host:65536", "h:x", "ftp://x:1"])
def test_no_addresses(written: str) -> None:
    with pytest.raises(InvalidArgument, match="not an address"):
        mltetris_client.connect(written)


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTETRIS_SERVER", "tetris.example:7")
    with mltetris_client.connect() as trainer:
        assert trainer.address == "tetris.example:7"
