"""A worker that learns nothing: a real process, the real line to the server, and made-up numbers.

It comes up in a fraction of the real one's time and does on demand what the real one never should.
`MLTETRIS_SMALL_WORKER` is a comma-separated list of:

    mute            never attaches
    exit            prints a line and ends with code 3 before it attaches
    die-on-pause    ends with code 7 when told to pause
    hang-on-pause   says nothing any more, not even that it is alive, when told to pause
    deaf            takes no notice of Stop
    quick           reaches its goal after five metric points
    fail            says that it failed after five metric points
    child           starts a process of its own, which does nothing for ten minutes
    talkative       says a notice with every tenth point
    slow-upload     takes some seconds to send a dataset
    on-demand       makes metric points only when told of a `max_training_rate`, which is how many
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from google.rpc import code_pb2, status_pb2
from mltetris_api.v1 import board_pb2, run_pb2
from mltetris_api.worker.v1 import worker_pb2
from mltetris_api.worker.v1.worker_pb2 import AttachRequest, AttachResponse
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.settings import WorkerSettings
from mltetris_server.worker.transfer import Checkpoint, get_checkpoint, put_checkpoint

from support import small_simulation
from support.checkpoints import a_checkpoint

VARIABLE = "MLTETRIS_SMALL_WORKER"
METRICS_PERIOD_S = 0.02


class SmallWorker:
    """One run: a metric point every 20 ms, an episode with every tenth, frames as asked for."""

    def __init__(self, habits: set[str]) -> None:
        self.habits = habits
        self.mailbox = Mailbox()
        self.gone = threading.Event()
        self.link = Link(WorkerSettings.from_environment(), self.mailbox.put, self.gone.set)
        self.paused = False
        self.stopping = False
        self.watch = worker_pb2.Watch()
        self.frames = 0
        self.points = 0
        self.next_frame = 0.0
        self.next_point = 0.0
        self.simulation: run_pb2.SimulationSpec | None = None

    def run(self) -> run_pb2.RunReason.ValueType:
        """Works until it is told to stop, or has reached its goal."""
        self.link.start()
        welcome = self.link.welcome()
        self.watch.CopyFrom(welcome.watch)
        self.paused = welcome.paused
        self.points = welcome.resumption.metric_sequence
        self.read_models(welcome)
        training = welcome.training if welcome.HasField("training") else None
        demo = welcome.demo if welcome.HasField("demo") else None
        if training is not None and not training.HasField("seed"):
            training.seed = 42
        simulation = welcome.simulation if welcome.HasField("simulation") else None
        self.simulation = simulation
        if simulation is not None and not simulation.HasField("seed"):
            simulation.seed = 42
        self.report(0, training, demo, simulation)
        while not self.stopping and not self.gone.is_set():
            self.mailbox.wait(time.monotonic() + METRICS_PERIOD_S / 2)
            for message in self.mailbox.take():
                self.do(message)
            now = time.monotonic()
            if not self.paused and "on-demand" not in self.habits and now >= self.next_point:
                self.next_point = now + METRICS_PERIOD_S
                self.measure()
            if self.watch.max_fps > 0 and now >= self.next_frame:
                self.next_frame = now + 1 / self.watch.max_fps
                self.show(1 if demo is None else len(demo.slots))
            if simulation is not None and small_simulation.is_done(simulation, self.points):
                small_simulation.finish(self.link, simulation, self.points, self.habits)
                return run_pb2.RUN_REASON_BUDGET_SPENT
            if self.points == 5 and "quick" in self.habits:
                return run_pb2.RUN_REASON_GOAL_REACHED
            if self.points == 5 and "fail" in self.habits:
                return run_pb2.RUN_REASON_WORKER_ERROR
        if self.gone.is_set():
            raise ServerGone("gone")
        if training is not None:
            self.save(run_pb2.CHECKPOINT_KIND_FINAL)
        if simulation is not None and self.points:
            small_simulation.finish(self.link, simulation, self.points, self.habits)
        return run_pb2.RUN_REASON_STOPPED_BY_CALLER

    def read_models(self, welcome: worker_pb2.Welcome) -> None:
        """Reads what it is to start from, and says so."""
        requests = [worker_pb2.GetCheckpointRequest(slot=slot) for slot in welcome.demo.slots]
        if welcome.training.warm_start.dataset:
            size = small_simulation.read_trajectories(self.link)
            notice = worker_pb2.Notice(text=f"read {size} bytes of trajectories")
            self.link.send(AttachRequest(notice=notice))
        if welcome.training.HasField("slot"):
            requests.append(worker_pb2.GetCheckpointRequest(slot=welcome.training.slot))
        if welcome.training.HasField("checkpoint"):
            requests.append(worker_pb2.GetCheckpointRequest(checkpoint=welcome.training.checkpoint))
        if welcome.resumption.checkpoint:
            own = run_pb2.RunCheckpoint(
                run=self.link.settings.run, kind=welcome.resumption.checkpoint
            )
            requests.append(worker_pb2.GetCheckpointRequest(checkpoint=own))
        for request in requests:
            model = get_checkpoint(self.link, request)
            notice = worker_pb2.Notice(text=f"read {len(model.files)} files")
            self.link.send(AttachRequest(notice=notice))

    def do(self, message: AttachResponse) -> None:
        """Does what the server says."""
        match message.WhichOneof("message"):
            case "welcome":
                self.watch.CopyFrom(message.welcome.watch)
                self.paused = message.welcome.paused
                return
            case "watch":
                self.watch.CopyFrom(message.watch)
                self.next_frame = 0.0
                return
            case "pause":
                if "die-on-pause" in self.habits:
                    print("about to die", flush=True)
                    os._exit(7)
                if "hang-on-pause" in self.habits:
                    os.kill(os.getpid(), signal.SIGSTOP)
                self.paused = True
            case "resume":
                self.paused = False
            case "stop":
                self.stopping = "deaf" not in self.habits
                return
            case "control" if "on-demand" in self.habits:
                for _ in range(int(message.control.max_training_rate)):
                    self.measure()
            case "save_latest":
                self.save(run_pb2.CHECKPOINT_KIND_LATEST)
        self.report(message.command)

    def report(
        self,
        command: int,
        training: run_pb2.TrainingSpec | None = None,
        demo: run_pb2.DemoSpec | None = None,
        simulation: run_pb2.SimulationSpec | None = None,
    ) -> None:
        """Says what it is doing."""
        states = worker_pb2.WORKER_STATE_PAUSED, worker_pb2.WORKER_STATE_RUNNING
        self.link.state = states[0] if self.paused else states[1]
        report = worker_pb2.StateReport(
            state=self.link.state,
            command=command,
            training=training,
            demo=demo,
            simulation=simulation,
        )
        self.link.send(AttachRequest(state=report))

    def measure(self) -> None:
        """Says how the learning is going."""
        self.points += 1
        point = run_pb2.MetricPoint(sequence=self.points, placements=100 * self.points)
        point.time.GetCurrentTime()
        if self.simulation is not None:
            small_simulation.measure(point, self.simulation)
        elif self.points % 5 == 0:
            point.evaluation.games = 20
            point.evaluation.mean_lines = 100.0 - abs(10 - self.points)
        self.link.send(AttachRequest(metrics=point))
        if self.points % 10 == 0:
            episode = run_pb2.Episode(number=self.points // 10, lines=self.points)
            self.link.send(AttachRequest(episodes=worker_pb2.Episodes(episodes=[episode])))
            if "talkative" in self.habits:
                notice = worker_pb2.Notice(text=f"notice {self.points // 10}")
                self.link.send(AttachRequest(notice=notice))

    def show(self, boards: int) -> None:
        """Shows the boards."""
        self.frames += 1
        frames = []
        for board in range(boards):
            frame = board_pb2.BoardFrame(board=board, sequence=self.frames, width=10, height=20)
            frame.cells = bytes(200)
            frame.sample_time.GetCurrentTime()
            if self.watch.include_values:
                for action in range(40):
                    frame.values.add(action=action, value=action / 2, cells=range(100, 104))
            frames.append(frame)
        self.link.show(worker_pb2.Frames(frames=frames))

    def save(self, kind: run_pb2.CheckpointKind.ValueType) -> None:
        """Stores a model whose bytes depend on how far it has come."""
        made = a_checkpoint(100 * self.points)
        checkpoint = Checkpoint(
            made.manifest.model_json, made.files, made.manifest.placements, made.manifest.evaluation
        )
        put_checkpoint(self.link, kind, checkpoint)


def main() -> int:
    """Runs it; returns the exit code."""
    habits = set(os.environ.get(VARIABLE, "").split(","))
    if "mute" in habits:
        time.sleep(600)
    if "exit" in habits:
        print("no luck today", flush=True)
        return 3
    if "child" in habits:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    worker = SmallWorker(habits)
    try:
        reason = worker.run()
        error = None
        if reason == run_pb2.RUN_REASON_WORKER_ERROR:
            error = status_pb2.Status(code=code_pb2.INTERNAL, message="no luck today")
        finished = worker_pb2.Finished(reason=reason, error=error)
        worker.link.send_and_wait(AttachRequest(finished=finished))
    except ServerGone:
        return 3
    worker.link.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
