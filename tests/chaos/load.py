"""Clients that do whatever clients do, at random, and write down what came of it."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable

from mltetris_api.v1 import run_pb2, trainer_pb2
from mltetris_client import specs
from mltetris_server.storage import bundle
from support.checkpoints import a_checkpoint

from chaos.api import Api
from chaos.checker import token_of
from chaos.records import OK, UNKNOWN, Effect, Read, now
from chaos.world import SLOTS, World, value_of

MOST_GOING = 12
"""Runs that are not final, about; more are not started."""
MOST_ENDED = 25
"""Final runs, about, before they are deleted."""
KINDS = (
    run_pb2.CHECKPOINT_KIND_LATEST,
    run_pb2.CHECKPOINT_KIND_LATEST,
    run_pb2.CHECKPOINT_KIND_BEST,
    run_pb2.CHECKPOINT_KIND_FINAL,
)
"""Checkpoints to save: `latest` is there most often."""
_GOING = ("QUEUED", "STARTING", "RUNNING", "PAUSED", "STOPPING")
_ENDED = ("SUCCEEDED", "STOPPED", "FAILED")


class Client(threading.Thread):
    """One client: an endless choice of calls from a seed."""

    def __init__(self, name: str, api: Api, world: World, seed: str, pause_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.api = api
        self.world = world
        self.chance = random.Random(seed)
        self.pause_s = pause_s
        self.error: BaseException | None = None
        """What ended it too early."""
        self._numbers = itertools.count(1)
        weights: list[tuple[int, Callable[[], None]]] = [
            (7, self.start_run),
            (5, self.pause_run),
            (5, self.resume_run),
            (1, self.stop_run),
            (3, self.delete_run),
            (4, self.rename_run),
            (3, self.set_speed),
            (4, self.get_run),
            (6, self.save_slot),
            (3, self.copy_slot),
            (4, self.update_slot),
            (3, self.rename_slot),
            (3, self.delete_slot),
            (3, self.activate_slot),
            (3, self.import_slot),
            (2, self.export_slot),
            (4, self.get_slot),
        ]
        self._acts = [act for weight, act in weights for _ in range(weight)]

    def run(self) -> None:
        try:
            while not self.world.ending.wait(self.chance.uniform(0, 2 * self.pause_s)):
                self.chance.choice(self._acts)()
        except BaseException as error:
            self.error = error
            raise

    def token(self) -> str:
        """A value that nobody else ever uses."""
        return f"{self.name}-{next(self._numbers)}"

    def slot(self) -> str:
        return self.chance.choice(SLOTS)

    # --- runs

    def start_run(self) -> None:
        if self.world.count(*_GOING) >= MOST_GOING:
            return self.stop_run() if self.chance.random() < 0.05 else None
        token = self.token()
        keyed = self.chance.random() < 0.6
        request = trainer_pb2.StartRunRequest(display_name=token, request_id=token * keyed)
        source = None
        if self.chance.random() < 0.12:
            slot = self.chance.choice(("random", "bcts", self.slot()))
            request.demo.CopyFrom(specs.demo([slot], width=10, mode="headless"))
            source = slot
        else:
            options: specs.TrainingOptions = {
                "seed": self.chance.randrange(1000),
                "mode": "headless",
                "height": 10,
                "max_training_rate": 5000,
                "evaluation_games": 2,
                "evaluation_max_lines": 50,
                "evaluation_period": 1.0,
                "checkpoint_period": 1.0,
            }
            if self.chance.random() < 0.4:
                options["max_placements"] = self.chance.choice((3_000, 10_000, 30_000))
            request.training.CopyFrom(specs.training(**options))
        if self.chance.random() < 0.6:
            policy = specs.restart_policy(self.chance.choice((1, 3, 20)), 0.05)
            request.restart_policy.CopyFrom(policy)

        def learnt(run: run_pb2.Run) -> list[Effect | Read]:
            effects = [Effect(f"run:{run.id}", "there"), Effect(f"name:{run.id}", token)]
            return [*effects, Read(f"name:{run.id}", run.display_name)]

        first = now()
        target = "request_id" if keyed else source or ""
        for _ in range(40):
            outcome, _answer = self.world.call(
                *(self.name, "start_run", target, lambda: self.api.start(request)),
                start=first,
                token=token,
                learnt=learnt,
            )
            again = keyed and (outcome == UNKNOWN or self.chance.random() < 0.15)
            if not again or self.world.ending.wait(self.chance.uniform(0.05, 0.5)):
                return None

    def _steer(self, what: str, call: Callable[[str], run_pb2.Run], *states: str) -> None:
        run = self.world.some(self.chance, *(states if self.chance.random() < 0.85 else ()))
        if run is not None:
            key = run.run
            self.world.call(
                *(self.name, what, key, lambda: call(key)),
                absent=f"run:{key}",
                learnt=lambda now_: [
                    Read(f"run:{key}", "there"),
                    Read(f"name:{key}", now_.display_name),
                ],
            )

    def pause_run(self) -> None:
        self._steer("pause_run", self.api.pause, "RUNNING")

    def resume_run(self) -> None:
        self._steer("resume_run", self.api.resume, "PAUSED")

    def stop_run(self) -> None:
        self._steer("stop_run", self.api.stop, "RUNNING", "PAUSED")

    def get_run(self) -> None:
        self._steer("get_run", self.api.get)

    def set_speed(self) -> None:
        rate = float(self.chance.randrange(1, 1000))
        self._steer("set_speed", lambda run: self.api.speed(run, rate), "RUNNING", "PAUSED")

    def rename_run(self) -> None:
        run = self.world.some(self.chance)
        if run is None:
            return
        name = f"{token_of(run.name)}~{self.token()}"
        self.world.call(
            *(self.name, "rename_run", run.run, lambda: self.api.rename(run.run, name)),
            effects=[Effect(f"name:{run.run}", name)],
            absent=f"run:{run.run}",
            learnt=lambda now_: [Read(f"name:{run.run}", now_.display_name)],
        )

    def delete_run(self) -> None:
        many = self.world.count(*_ENDED) > MOST_ENDED
        run = self.world.some(self.chance, *(_ENDED if self.chance.random() < 0.9 else ()))
        if run is None or not (many or self.chance.random() < 0.4):
            return
        outcome, _ = self.world.call(
            *(self.name, "delete_run", run.run, lambda: self.api.delete(run.run)),
            effects=[Effect(f"run:{run.run}", None)],
            absent=f"run:{run.run}",
        )
        if outcome == OK:
            self.world.forget(run.run)

    # --- slots

    def save_slot(self) -> None:
        run = self.world.some(self.chance, *_GOING[2:4], *_ENDED)
        if run is None:
            return
        name, token, over = self.slot(), self.token(), self.chance.random() < 0.7
        request = trainer_pb2.SaveSlotRequest(name=name, notes=token, overwrite=over)
        kind = self.chance.choice(KINDS)
        request.checkpoint.CopyFrom(run_pb2.RunCheckpoint(run=run.run, kind=kind))
        self._put(name, token, over, "save_slot", lambda: self.api.save(request))

    def copy_slot(self) -> None:
        name, token, over = self.slot(), self.token(), self.chance.random() < 0.7
        source = self.chance.choice((*SLOTS, "bcts", "dellacherie"))
        request = trainer_pb2.SaveSlotRequest(name=name, notes=token, overwrite=over, slot=source)
        absent = f"slot:{source}" if source in SLOTS else ""
        self._put(name, token, over, "copy_slot", lambda: self.api.save(request), absent)

    def import_slot(self) -> None:
        name, over = self.slot(), self.chance.random() < 0.7
        made = a_checkpoint(self.chance.randrange(1, 2**48))
        data = bundle.pack(made)
        self._put(
            *(name, f"sha:{made.sha256}", over, "import_slot"),
            lambda: self.api.import_slot(name, data, over),
        )

    def _put(
        self, name: str, value: str, over: bool, what: str, call: Callable[[], object], absent=""
    ) -> None:
        free = [] if over else [Read(f"slot:{name}", None)]
        self.world.call(
            *(self.name, what, name, call),
            effects=[Effect(f"slot:{name}", value)],
            absent=absent,
            learnt=lambda slot: free,
        )

    def update_slot(self) -> None:
        name, token = self.slot(), self.token()
        self.world.call(
            *(self.name, "update_slot", name, lambda: self.api.update_slot(name, token, None)),
            effects=[Effect(f"slot:{name}", token)],
            absent=f"slot:{name}",
        )

    def rename_slot(self) -> None:
        name, token = self.slot(), self.token()
        new = self.chance.choice([other for other in SLOTS if other != name])
        half_done = Effect(f"slot:{name}", token, sure=False)
        self.world.call(
            *(self.name, "rename_slot", name, lambda: self.api.update_slot(name, token, new)),
            effects=[
                # Notes come before the name: a kill may leave the one without the other.
                half_done,
                Effect(f"slot:{name}", None),
                Effect(f"slot:{new}", token),
                Effect("active", new, sure=False),
            ],
            absent=f"slot:{name}",
            learnt=lambda slot: [Read(f"slot:{new}", None)],
        )

    def delete_slot(self) -> None:
        name, force = self.slot(), self.chance.random() < 0.5
        effects = [Effect(f"slot:{name}", None), Effect("active", None, sure=False)]
        self.world.call(
            *(self.name, "delete_slot", name, lambda: self.api.delete_slot(name, force)),
            effects=effects,
            absent=f"slot:{name}",
        )

    def activate_slot(self) -> None:
        name = self.slot()
        self.world.call(
            *(self.name, "activate_slot", name, lambda: self.api.activate(name)),
            effects=[Effect("active", name)],
            absent=f"slot:{name}",
            learnt=lambda slot: [Read(f"slot:{name}", value_of(slot))],
        )

    def get_slot(self) -> None:
        name = self.slot()
        self.world.call(
            *(self.name, "get_slot", name, lambda: self.api.get_slot(name)),
            absent=f"slot:{name}",
            learnt=lambda slot: [Read(f"slot:{name}", value_of(slot))],
        )

    def export_slot(self) -> None:
        name = self.slot()
        self.world.call(
            *(self.name, "export_slot", name, lambda: self.api.export_slot(name)),
            absent=f"slot:{name}",
        )
