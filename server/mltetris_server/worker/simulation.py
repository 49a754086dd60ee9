"""A simulation: games played to make a dataset. It loads no torch."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable

from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.run_pb2 import (
    Episode,
    MetricPoint,
    RunReason,
    RunView,
    SimulationSpec,
)
from mltetris_api.worker.v1.worker_pb2 import (
    AttachRequest,
    Episodes,
    Notice,
    Welcome,
)

from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import Player as ModelPlayer
from mltetris_server.learning.simulation.blocks import Block, Part
from mltetris_server.learning.simulation.crew import Crew, load
from mltetris_server.learning.simulation.recording import Origin, Recording
from mltetris_server.player_names import player_name
from mltetris_server.worker.clocks import RunClock
from mltetris_server.worker.dataset_transfer import put_dataset
from mltetris_server.worker.frames import board_frame
from mltetris_server.worker.link import Link, ServerGone
from mltetris_server.worker.mailbox import Mailbox
from mltetris_server.worker.metrics import MetricLog, duration, timestamp
from mltetris_server.worker.scratch import refusing_full_disk, require_room, scratch_folder
from mltetris_server.worker.screen import Screen
from mltetris_server.worker.simulation_plan import plan_simulation, what_to_play
from mltetris_server.worker.simulation_words import header_of, result_of, what_was_kept
from mltetris_server.worker.steering import Steering
from mltetris_server.worker.transfer import get_checkpoint, request_of

EPISODES_A_REPORT = 50
"""Games reported at most with one metric point, the newest: the dataset has them all."""
_LOOK_SECONDS = 0.01
"""How long the writer waits for a block before it looks up."""
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python to itself: players wait for it between two slices."""


def run_simulation(
    link: Link, mailbox: Mailbox, welcome: Welcome, begun: Callable[[], None]
) -> RunReason.ValueType:
    """Runs a simulation to its end and returns why it ended.

    Args:
        link: the line to the server.
        mailbox: what the server says.
        welcome: what the server said first.
        begun: called once everything is loaded.

    Raises:
        ServerGone: the server went away for good.
        TransferError: the player could not be read, or the server does not take the dataset.
        CheckpointError: the player is not what it should be.
        SpecError: the player cannot play this game.
        NoRoomError: there is no room for the dataset.
        OSError: the dataset cannot be written.
    """
    asked = welcome.simulation
    checkpoint = get_checkpoint(link, request_of(asked.player))
    model = json.loads(checkpoint.model_json)
    description = ModelDescription.from_dict(model)
    spec = plan_simulation(asked, description)
    plan = what_to_play(spec, ModelPlayer.from_checkpoint(model, checkpoint.files))
    origin = Origin(
        dataset=spec.dataset,
        player=player_name(spec.player),
        player_sha256=checkpoint.sha256,
        algorithm=description.algorithm,
        game=plan.game,
        observed=plan.observed,
        exploration=plan.player.exploration,
        seed=spec.seed,
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    with scratch_folder(link.settings.spool) as folder, refusing_full_disk(folder):
        require_room(folder)
        recording = Recording(folder, origin)
        simulation = Simulation(link, mailbox, welcome, spec, origin, Crew(plan), recording)
        load(plan)
        begun()
        try:
            return simulation.run()
        finally:
            simulation.close()


class Simulation:
    """The loop of a simulation: its thread writes, shows, reports and listens; the crew plays.

    Args:
        spec: with every default filled in.
        origin: where the dataset comes from.
        crew: not started yet.
        recording: the dataset's files.
    """

    def __init__(
        self,
        link: Link,
        mailbox: Mailbox,
        welcome: Welcome,
        spec: SimulationSpec,
        origin: Origin,
        crew: Crew,
        recording: Recording,
    ) -> None:
        self._link = link
        self._spec = spec
        self._origin = origin
        self._crew = crew
        self._recording = recording
        before = welcome.resumption
        self._clock = RunClock(before=before.elapsed.ToNanoseconds() / 1e9)
        self._first_elapsed = self._clock.elapsed
        self._best_before = before.best_lines
        self._steering = Steering(mailbox, link, welcome, self._clock)
        self._metrics = MetricLog(link, self._clock, before.metric_sequence)
        self._screen = Screen(link, self._steering)
        self._episodes: list[Episode] = []

    def run(self) -> RunReason.ValueType:
        """Plays until everything is played or the run is stopped, and stores the dataset.

        Raises:
            ServerGone: the server went away for good.
            TransferError: the server does not take the dataset.
            NoRoomError: there is no room for it.
            OSError: it cannot be written.
        """
        self._steering.begin(simulation=self._spec)
        self._metrics.begin(0)
        self._crew.hold()
        self._crew.start()
        self._obey()
        while not self._crew.done:
            self._listen()
            block = self._crew.take(_LOOK_SECONDS)
            if block is not None:
                self._write(block)
            self._tell()
        reached = self._reached
        self._measure()
        if self._recording.games:
            self._store()
        if not reached:
            self._link.send(
                AttachRequest(notice=Notice(text=what_was_kept(self._spec, self._recording)))
            )
            return RunReason.RUN_REASON_STOPPED_BY_CALLER
        return RunReason.RUN_REASON_BUDGET_SPENT

    def close(self) -> None:
        """Lets nobody play on; what has not been stored is lost."""
        self._crew.abandon()
        # After an error there may be no room for what is left, which nobody wants any more.
        with contextlib.suppress(OSError):
            self._recording.close()

    @property
    def _reached(self) -> bool:
        """Whether all games or placements have been played."""
        return self._progress >= 1

    @property
    def _progress(self) -> float:
        """Share of the games or placements played, whichever is more, 0..1."""
        spec, recording = self._spec, self._recording
        shares = [0.0]
        if spec.HasField("games"):
            shares.append((recording.games - recording.cut_off_games) / spec.games)
        if spec.HasField("placements"):
            shares.append(recording.placements / spec.placements)
        return max(shares)

    def _listen(self) -> None:
        """Does what was asked; everybody stands still when the answer goes out."""
        if not self._steering.pending:
            return
        self._crew.hold()
        self._steering.check()
        self._obey()

    def _obey(self) -> None:
        """Stands still while the run is held, and lets the crew play on or stop."""
        steering = self._steering
        while steering.paused and not steering.ending:
            if self._screen.wants:
                self._screen.send([self._frame(held=True)])
            steering.wait()
        if steering.left:
            raise ServerGone("the server is gone")
        if steering.stopping:
            self._crew.stop()
        else:
            self._crew.go_on()

    def _write(self, block: Block) -> None:
        """Writes a block; there may be hundreds of games in it."""
        require_room(self._recording.folder, self._recording.size)
        for place in range(len(block.parts)):
            part = self._recording.add(block, place)
            if part.last:
                self._note(part)
            self._listen()
            self._tell()
        self._crew.put_back(block)
        self._screen.changed()

    def _tell(self) -> None:
        """Shows and reports what is due."""
        if self._screen.wants:
            self._screen.send([self._frame(held=False)])
        if self._metrics.due:
            self._measure()

    def _note(self, part: Part) -> None:
        """Keeps a game for the next report, if it is not one of too many."""
        self._episodes.append(
            Episode(
                number=part.game + 1,
                lines=part.lines,
                placements=part.before + part.placements,
                score=part.score,
                run_placements=self._recording.placements,
                end_time=timestamp(),
                view=RunView.RUN_VIEW_SHOWCASE,
                player=self._origin.player,
                cut_off=part.cut_off,
            )
        )
        del self._episodes[:-EPISODES_A_REPORT]

    def _frame(self, *, held: bool) -> BoardFrame:
        """The board that the first thread is playing."""
        game, number = self._crew.standing() if held else self._crew.snapshot()
        values = None
        if self._steering.include_values and not game.game_over:
            values = self._crew.plan.player.values(game)
        frame = board_frame(game, player=self._origin.player, values=values)
        frame.episode = number + 1
        return frame

    def _measure(self) -> None:
        recording = self._recording
        point = MetricPoint(
            placements=recording.placements,
            episodes=recording.games,
            best_lines=max(recording.best_lines, self._best_before),
            progress=min(1.0, self._progress),
        )
        if recording.games:
            point.mean_lines = recording.mean_lines
        if 0 < point.progress < 1:
            passed = self._clock.elapsed - self._first_elapsed
            point.eta.CopyFrom(duration(passed * (1 - point.progress) / point.progress))
        self._metrics.write(point, self._steering.changes)
        self._link.send(AttachRequest(simulation_result=result_of(self._spec, self._recording)))
        if self._episodes:
            self._link.send(AttachRequest(episodes=Episodes(episodes=self._episodes)))
            self._episodes = []

    def _store(self) -> None:
        """Completes the dataset and gives it to the server."""
        require_room(self._recording.folder, self._recording.size)
        files = self._recording.finish()
        self._link.send(AttachRequest(simulation_result=result_of(self._spec, self._recording)))
        put_dataset(
            self._link,
            header_of(self._spec, self._origin, self._recording, files),
            self._recording.folder,
        )
