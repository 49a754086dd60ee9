"""One worker process: attaches first, then loads what its run needs, runs it, says how it ended.

Attaching takes a moment and loading the learner some seconds, so the server
knows early that the worker is there, and a run that is stopped meanwhile ends
without having been loaded.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Never

from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped]
from mltetris_api.v1.run_pb2 import RunReason
from mltetris_api.worker.v1.worker_pb2 import AttachRequest, AttachResponse, Finished, Stop

from mltetris_server.hyperparameters import HyperparameterError
from mltetris_server.wording import words_of
from mltetris_server.worker import logs
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.scratch import NoRoomError
from mltetris_server.worker.settings import SettingsError, WorkerSettings
from mltetris_server.worker.specs import SpecError
from mltetris_server.worker.transfer import TransferError

_log = logging.getLogger(__name__)

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SERVER_GONE = 3


class Preparation:
    """Ends the process where it is told to before its run has begun.

    Loading the learner cannot be interrupted, and a caller who stops the run
    should not have to wait for it: there is nothing to keep yet.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._lock = threading.Lock()
        self._over = False
        self.link: Link | None = None

    def begun(self) -> None:
        """The run is about to begin: from now on it looks into the mailbox itself."""
        with self._lock:
            self._over = True

    def deliver(self, message: AttachResponse) -> None:
        """Passes a message on; a Stop before the run has begun ends the process."""
        if message.WhichOneof("message") == "stop" and not self._over:
            # Not on the link's thread: it must carry the last word.
            threading.Thread(target=self._stop, args=(message,), daemon=True).start()
            return
        self._mailbox.put(message)

    def leave(self) -> None:
        """The server is gone."""
        self._mailbox.leave()
        with self._lock:
            if not self._over:
                leave_process(EXIT_SERVER_GONE)

    def _stop(self, message: AttachResponse) -> None:
        with self._lock:
            if self._over:
                self._mailbox.put(message)
                return
            assert self.link is not None
            _log.info("stopped before the run began")
            leave_process(say_finished(self.link, RunReason.RUN_REASON_STOPPED_BY_CALLER))


def main() -> int:
    """Runs one worker and ends the process; returns only on a usage error."""
    try:
        settings = WorkerSettings.from_environment()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    logs.configure(settings.run)
    mailbox = Mailbox()
    preparation = Preparation(mailbox)
    link = Link(settings, preparation.deliver, preparation.leave)
    preparation.link = link
    handle_signals(preparation.deliver)
    link.start()
    leave_process(run(link, mailbox, preparation.begun))


def run(link: Link, mailbox: Mailbox, begun: Callable[[], None]) -> int:
    """Does what the server's Welcome says; returns the exit code."""
    try:
        welcome = link.welcome()
        match welcome.WhichOneof("spec"):
            case "training":
                from mltetris_server.worker.training import run_training

                reason = run_training(link, mailbox, welcome, begun)
            case "demo":
                from mltetris_server.worker.demo import run_demo

                reason = run_demo(link, mailbox, welcome, begun)
            case "benchmark":
                from mltetris_server.worker.benchmark import run_benchmark

                reason = run_benchmark(link, mailbox, welcome, begun)
            case "simulation":
                from mltetris_server.worker.simulation import run_simulation

                reason = run_simulation(link, mailbox, welcome, begun)
            case other:
                raise SpecError(f"this worker cannot run {other or 'nothing'}")
    except ServerGone:
        return EXIT_SERVER_GONE
    except Exception as error:  # noqa: BLE001 - the process's last line: whatever it is, it is told
        _log.exception("the run failed")
        say_finished(link, RunReason.RUN_REASON_WORKER_ERROR, status_of(error))
        return EXIT_ERROR
    return say_finished(link, reason)


def say_finished(
    link: Link,
    reason: RunReason.ValueType,
    error: status_pb2.Status | None = None,
) -> int:
    """Says the last word and waits until the server has stored it; returns the exit code."""
    _log.info("finished: %s", RunReason.Name(reason))
    try:
        link.send_and_wait(AttachRequest(finished=Finished(reason=reason, error=error)))
    except ServerGone:
        return EXIT_SERVER_GONE
    link.close()
    return EXIT_DONE


def status_of(error: Exception) -> status_pb2.Status:
    """What went wrong, for the run's `error`.

    What a caller can do something about is said in its own words and code,
    everything else with the exception's type.
    """
    if isinstance(error, TransferError):
        number: int = error.code.value[0]
        return status_pb2.Status(code=number, message=str(error))
    if isinstance(error, SpecError | HyperparameterError):
        return status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=str(error))
    if isinstance(error, NoRoomError):
        return status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=str(error))
    # By name: its module loads the compiled engine, which a failed start may not have got to.
    if type(error).__name__ == "CheckpointError":
        return status_pb2.Status(code=code_pb2.DATA_LOSS, message=str(error))
    return status_pb2.Status(
        code=code_pb2.INTERNAL, message=f"{type(error).__name__}: {words_of(error)}"
    )


def handle_signals(deliver: Callable[[AttachResponse], None]) -> None:
    """Takes SIGTERM for a Stop, and leaves Ctrl-C to the server, whose terminal it may be."""

    def stop(number: int, frame: object) -> None:
        deliver(AttachResponse(stop=Stop()))

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Windows has it, for Ctrl-Break.
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)


def leave_process(code: int) -> Never:
    """Ends the process at once: nothing is left to do, and native threads are not waited for."""
    logs.flush()
    os._exit(code)
