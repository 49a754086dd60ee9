"""The window with a real server and a real training: seen, steered, broken off, ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mltetris_client
import pygame
import pytest
from mltetris_api.v1 import run_pb2
from mltetris_viewer.actions import Action
from mltetris_viewer.drawing.palette import GUIDELINE
from mltetris_viewer.model import commands
from mltetris_viewer.model.status import headline
from mltetris_viewer.model.viewer import Link
from mltetris_viewer.window import Window
from support.server import ServerProcess

#: Seconds that anything may take at most; a loaded machine is slow, a broken viewer never comes.
PATIENCE = 60.0

pytestmark = pytest.mark.usefixtures("display")


@pytest.fixture
def trainer(server: ServerProcess) -> Iterator[mltetris_client.Trainer]:
    """Somebody else at the same server."""
    with mltetris_client.connect(server.address) as connected:
        yield connected


@pytest.fixture
def window(server: ServerProcess, tmp_path: Path) -> Iterator[Window]:
    """A viewer's window on the server."""
    opened = Window(mltetris_client.connect(server.address), None, tmp_path)
    yield opened
    opened.close()


def until(window: Window, condition: Callable[[], object], what: str) -> None:
    """Lets the window go on until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come; toasts: {window.model.toasts}"
        window.turn()


def press(key: int, sign: str = "") -> None:
    """Presses a key in the window."""
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=sign, mod=0))


def click(window: Window, action: Action) -> None:
    """Clicks on a button in the window."""
    bar = window.bar
    assert bar is not None
    box = next(button.box for button in bar.buttons if button.action is action)
    place = (box.centre_x, box.centre_y)
    pygame.event.post(
        pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=pygame.BUTTON_LEFT, pos=place)
    )


def title(window: Window) -> str:
    """What stands over the board."""
    said = headline(window.model, time.monotonic())
    return said.title if said is not None else ""


def shows_board(window: Window) -> bool:
    """Whether every filled cell of the newest frame has its piece's colour in the window."""
    board = window.model.boards.get(0)
    if board is None or window.model.moving(time.monotonic()) or title(window):
        return False
    frame = board.frame
    if frame.game_over or not any(frame.cells):
        return False
    surface = pygame.display.get_surface()
    place = window.layout.boards[0]
    wrong = []
    for index, piece in enumerate(frame.cells):
        row, column = divmod(index, frame.width)
        x = place.well.x + column * place.cell + place.cell // 2
        y = place.well.y + row * place.cell + place.cell // 2
        seen = tuple(surface.get_at((x, y)))[:3]
        if piece and seen != GUIDELINE.pieces[piece]:
            wrong.append((column, row, piece, seen))
    return not wrong


def test_a_training_is_seen_and_steered(
    window: Window, trainer: mltetris_client.Trainer, tmp_path: Path
) -> None:
    model = window.model
    until(window, lambda: title(window) == "Waiting for a run", "the word that there is no run")
    started = trainer.start_training(seed=1, display_name="seen")

    until(window, lambda: model.selected == started.id, "the run")
    until(window, lambda: window.frames >= 5, "the boards")
    until(window, lambda: shows_board(window), "the board's picture")
    until(window, lambda: len(model.curves.evaluation) >= 2, "the curve of evaluations")
    until(window, lambda: len(model.curves.mean_reward) >= 2, "the curve of rewards")

    def now() -> run_pb2.Run:
        return trainer.get_run(started.id)

    press(pygame.K_SPACE)
    until(window, lambda: title(window) == "Paused", "the pause")
    assert now().state == run_pb2.RUN_STATE_PAUSED
    click(window, Action.PAUSE)
    until(window, lambda: model.run is not None and not title(window), "the going on")
    assert now().state == run_pb2.RUN_STATE_RUNNING

    assert now().control.placements_per_second == 8
    press(pygame.K_PLUS, "+")
    press(pygame.K_PLUS, "+")
    until(window, lambda: now().control.placements_per_second == 30, "the higher pace")
    click(window, Action.SLOWER)
    until(window, lambda: now().control.placements_per_second == 15, "the lower pace")
    press(pygame.K_l)
    until(window, lambda: now().control.max_training_rate == 1000, "the slower training")
    until(window, lambda: not model.wishes.last(started.id, commands.SetTrainingRate), "the answer")
    press(pygame.K_m)
    until(window, lambda: now().control.mode == run_pb2.RUN_MODE_HEADLESS, "headless mode")
    until(window, lambda: not model.wishes.last(started.id, commands.SetMode), "the answers")
    press(pygame.K_v)
    until(window, lambda: now().control.view == run_pb2.RUN_VIEW_TRAINING, "the other view")
    until(window, lambda: model.boards[0].frame.height == 10, "the training's own board")

    press(pygame.K_s)
    until(window, lambda: list(tmp_path.glob("mltetris-*.png")), "the snapshot")
    (saved,) = tmp_path.glob("mltetris-*.png")
    assert pygame.image.load(saved).get_size() == (1280, 720)

    press(pygame.K_h)
    until(window, lambda: window.help_open, "the help")
    press(pygame.K_ESCAPE)
    until(window, lambda: not window.help_open, "the end of the help")
    press(pygame.K_q)
    until(window, lambda: not window.open, "the end")
    assert now().state == run_pb2.RUN_STATE_RUNNING, "the run goes on without its viewer"


def test_a_killed_server_is_waited_for(
    window: Window, trainer: mltetris_client.Trainer, server: ServerProcess
) -> None:
    model = window.model
    started = trainer.start_training(seed=2)
    until(window, lambda: window.frames >= 3, "the boards")
    until(window, lambda: len(model.curves.evaluation), "the curves")
    last = model.curves.last_sequence

    server.kill()
    until(window, lambda: model.link is Link.DOWN, "the word that the connection is lost")
    assert title(window) == "Connection lost"
    press(pygame.K_SPACE)
    until(window, lambda: model.toasts, "the word that nothing can be sent")

    server.start()
    until(window, lambda: model.link is Link.UP, "the connection")
    seen = window.frames
    until(window, lambda: window.frames >= seen + 3, "boards of the same run again")
    until(window, lambda: model.curves.last_sequence > last, "metrics of the same run again")
    assert model.selected == started.id
    until(window, lambda: not title(window), "the run")

    trainer.stop_run(started.id)
    until(window, lambda: title(window) == "Stopped", "the end of the run")
    assert model.boards, "its last board stays"


def test_history_is_there_at_once_and_races_are_shown(
    trainer: mltetris_client.Trainer, server: ServerProcess, tmp_path: Path
) -> None:
    trained = trainer.start_training(seed=3, target_lines=20, max_seconds=60)
    assert _ended(trainer, trained.id).state == run_pb2.RUN_STATE_SUCCEEDED
    trainer.save_slot("one", run=trained.id)
    trainer.save_slot("two", slot="one")
    points = list(trainer.stream_metrics(trained.id))

    window = Window(mltetris_client.connect(server.address), None, tmp_path)
    try:
        until(window, lambda: window.model.curves.caught_up, "the history")
        assert title(window) == "Goal reached"
        assert window.model.curves.last_sequence == points[-1].sequence

        race = trainer.start_demo(["one", "two"], placements_per_second=20)
        until(window, lambda: window.model.selected == race.id, "the new run")
        until(window, lambda: len(window.layout.boards) == 2, "both boards")
        until(window, lambda: shows_board(window), "the first board's picture")
        players = [board.frame.player for _, board in sorted(window.model.boards.items())]
        assert players == ["one", "two"]
        press(pygame.K_TAB)
        until(window, lambda: window.model.selected == trained.id, "the other run")
    finally:
        window.close()


def test_a_picture_for_the_readme(
    trainer: mltetris_client.Trainer, server: ServerProcess, tmp_path: Path
) -> None:
    def picture(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mltetris_viewer", "--server", server.address]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=PATIENCE
        )

    path = tmp_path / "viewer.png"
    started = trainer.start_training(seed=4)
    done = picture("--screenshot", str(path), "--after-frames", "10", "--size", "1600x900")
    assert (done.returncode, done.stderr) == (0, "")
    assert pygame.image.load(path).get_size() == (1600, 900)

    done = picture("train-nosuch", "--screenshot", str(path))
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1 and "train-nosuch" in done.stderr
    done = picture("../x", "--screenshot", str(path))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    done = picture(started.id, "--screenshot", str(tmp_path / "no" / "such.png"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "such.png" in done.stderr


def _ended(trainer: mltetris_client.Trainer, run: str) -> run_pb2.Run:
    for event in trainer.watch_runs(run):
        if event.HasField("run") and mltetris_client.is_final(event.run):
            return event.run
    raise AssertionError("the stream of runs ended")
