"""The window's loop: keys and events in, pictures out."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pygame
from mltetris_client import Run, Trainer, is_final

from mltetris_viewer.actions import Action, steer
from mltetris_viewer.drawing.screen import Interface, Screen
from mltetris_viewer.layout import Layout
from mltetris_viewer.link.mailbox import Mailbox
from mltetris_viewer.link.session import Session
from mltetris_viewer.model.events import FramesArrived, RunSeen
from mltetris_viewer.model.viewer import Tone, ViewerModel
from mltetris_viewer.toolbar import Toolbar

#: Seconds between two pictures at least.
FRAME_SECONDS = 1 / 60
#: Seconds after which the window looks around even if nothing has woken it.
IDLE_SECONDS = 0.25

_WAKE = pygame.event.custom_type()
_KEYS: dict[int, Action] = {
    pygame.K_SPACE: Action.PAUSE,
    pygame.K_MINUS: Action.SLOWER,
    pygame.K_KP_MINUS: Action.SLOWER,
    pygame.K_DOWN: Action.SLOWER,
    pygame.K_PLUS: Action.FASTER,
    pygame.K_EQUALS: Action.FASTER,
    pygame.K_KP_PLUS: Action.FASTER,
    pygame.K_UP: Action.FASTER,
    pygame.K_m: Action.MODE,
    pygame.K_v: Action.VIEW,
    pygame.K_l: Action.TRAINING_RATE,
    pygame.K_n: Action.NEXT_RUN,
    pygame.K_TAB: Action.NEXT_RUN,
    pygame.K_p: Action.PREVIOUS_RUN,
    pygame.K_s: Action.SNAPSHOT,
    pygame.K_h: Action.HELP,
    pygame.K_F1: Action.HELP,
    pygame.K_q: Action.QUIT,
}
_CHARACTERS = {"+": Action.FASTER, "-": Action.SLOWER, "?": Action.HELP}


class Window:
    """Shows a server's runs in the open pygame display until it is closed.

    Attributes:
        model: what is shown.
        frames: board messages of the watched run so far.
        open: False once somebody wants it closed.
        snapshots: where snapshots go.
    """

    def __init__(
        self, trainer: Trainer, run: Run | None, snapshots: Path, *, may_steer: bool = True
    ) -> None:
        """Watches `run`, or the newest live run where it is None.

        `may_steer` is whether the server takes commands from us.
        """
        now = time.monotonic()
        requested = run.id if run is not None else None
        self.model = ViewerModel(trainer.address, requested, now, may_steer=may_steer)
        if run is not None:
            # The server lists its newest runs only; this one may be older.
            self.model.apply(RunSeen(run), now)
        self.frames = 0
        self.open = True
        self.snapshots = snapshots
        self._screen = Screen()
        self._interface = Interface()
        self._mailbox = Mailbox(_wake)
        self._session = Session(trainer, self._mailbox)
        self._last_picture = 0.0

    @property
    def layout(self) -> Layout:
        """Where everything stands."""
        return self._screen.layout

    @property
    def bar(self) -> Toolbar | None:
        """The buttons; None before the first picture."""
        return self._screen.bar

    @property
    def help_open(self) -> bool:
        """Whether the help is shown."""
        return self._interface.help_open

    def close(self) -> None:
        """Ends the connection. The runs go on."""
        self.open = False
        self._session.close()

    def run(self) -> None:
        """Shows until somebody closes the window."""
        while self.open:
            self.turn()

    def turn(self) -> None:
        """Waits for something to happen, a moment at most, then shows it."""
        first = pygame.event.wait(self._patience())
        for event in [first, *pygame.event.get()]:
            self._handle(event)
        self._session.poll()
        now = time.monotonic()
        for news in self._mailbox.take():
            self.model.apply(news, now)
            if isinstance(news, FramesArrived) and news.run == self.model.selected:
                self.frames += 1
        self.model.expire(now)
        if self.model.selected != self._session.followed:
            self.frames = 0
            self._session.follow(self.model.selected)
        # The sixtieth of a second may not be over yet: `_patience` comes back for it.
        if now - self._last_picture >= FRAME_SECONDS and pygame.display.get_active():
            self._show(now)

    def act(self, action: Action) -> None:
        """Does what a key or a button stands for."""
        now = time.monotonic()
        match action:
            case Action.QUIT:
                self.open = False
            case Action.HELP:
                self._set(help_open=not self.help_open)
            case Action.SNAPSHOT:
                self._snapshot(now)
            case Action.NEXT_RUN:
                self.model.step_run(1, now)
            case Action.PREVIOUS_RUN:
                self.model.step_run(-1, now)
            case _:
                order = steer(self.model, action, now)
                if order is not None:
                    self._session.send(*order)

    def ready(self, frames: int) -> bool:
        """Whether a picture is worth taking: `frames` boards came, or the run has ended.

        Not before the history of its metrics is there, and not while a piece falls.
        """
        run = self.model.run
        if run is None or not self.model.curves.caught_up:
            return False
        still = not self.model.moving(time.monotonic())
        return (self.frames >= frames and still) or is_final(run)

    def save_picture(self, path: Path) -> None:
        """Saves what the window shows, freshly painted and without passing messages, as PNG.

        Raises:
            OSError: the file cannot be written.
        """
        picture = pygame.Surface(_display().get_size())
        kept, self.model.toasts = self.model.toasts, []
        try:
            Screen().draw(picture, self.model, Interface(), time.monotonic())
        finally:
            self.model.toasts = kept
        try:
            pygame.image.save(picture, path)
        except pygame.error as error:
            raise OSError(str(error)) from error

    def _patience(self) -> int:
        """Milliseconds to wait for an event."""
        now = time.monotonic()
        until = now + IDLE_SECONDS
        if self.model.moving(now):
            until = self._last_picture + FRAME_SECONDS
        for toast in self.model.toasts:
            until = min(until, toast.until)
        # At least 1: zero would not wait for an event but give up the processor not at all.
        return max(1, round((until - now) * 1000))

    def _show(self, now: float) -> None:
        changed = self._screen.draw(_display(), self.model, self._interface, now)
        if changed:
            self._last_picture = now
            pygame.display.update(changed)

    def _handle(self, event: pygame.event.Event) -> None:
        match event.type:
            case pygame.QUIT:
                self.open = False
            case pygame.KEYDOWN:
                self._key(event)
            case pygame.MOUSEMOTION:
                self._set(mouse=event.pos)
            case pygame.WINDOWLEAVE:
                self._set(mouse=None)
            case pygame.MOUSEBUTTONDOWN if event.button == pygame.BUTTON_LEFT:
                self._click(event.pos)
            case pygame.WINDOWEXPOSED | pygame.WINDOWRESTORED | pygame.WINDOWSIZECHANGED:
                # The system may have thrown away what was painted.
                self._screen.forget()

    def _key(self, event: pygame.event.Event) -> None:
        if event.mod & (pygame.KMOD_CTRL | pygame.KMOD_ALT | pygame.KMOD_META):
            return
        if event.key == pygame.K_ESCAPE:
            self._set(help_open=False)
        elif event.key == pygame.K_F11:
            self._full_screen()
        elif event.key == pygame.K_TAB and event.mod & pygame.KMOD_SHIFT:
            self.act(Action.PREVIOUS_RUN)
        else:
            # The sign first: where + and ? are on the keyboard differs from land to land.
            action = _CHARACTERS.get(event.unicode) or _KEYS.get(event.key)
            if action is not None:
                self.act(action)

    def _click(self, at: tuple[int, int]) -> None:
        button = self.bar.at(at) if self.bar is not None else None
        if self.help_open:
            self._set(help_open=False)
        elif button is not None:
            self.act(button.action)

    def _set(self, *, help_open: bool | None = None, mouse: tuple[int, int] | None = None) -> None:
        self._interface = Interface(
            help_open=self._interface.help_open if help_open is None else help_open,
            mouse=mouse if help_open is None else self._interface.mouse,
        )

    def _full_screen(self) -> None:
        try:
            pygame.display.toggle_fullscreen()
        except pygame.error as error:
            self.model.toast(f"No full screen: {error}", Tone.WARNING, time.monotonic())
        self._screen.forget()

    def _snapshot(self, now: float) -> None:
        stem = f"mltetris-{datetime.now():%Y%m%d-%H%M%S}"
        path = self.snapshots / f"{stem}.png"
        number = 2
        while path.exists():
            path = self.snapshots / f"{stem}-{number}.png"
            number += 1
        try:
            self.save_picture(path)
        except OSError as error:
            self.model.toast(f"No snapshot: {error}", Tone.BAD, now)
        else:
            self.model.toast(f"Saved {path}", Tone.GOOD, now)


def _display() -> pygame.Surface:
    surface = pygame.display.get_surface()
    if surface is None:
        raise RuntimeError("the window is not open")
    return surface


def _wake() -> None:
    """Ends the wait for events; called by the session's threads."""
    try:
        pygame.event.post(pygame.event.Event(_WAKE))
    except pygame.error:
        # The window was closed at this moment: nobody waits any more.
        return
