"""`mltetris viewer`: opens the window, or says in one line why it cannot."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import mltetris_client
from mltetris_api.v1 import system_pb2
from mltetris_client import (
    InvalidArgument,
    MlTetrisError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unreachable,
)

from mltetris_viewer.model import words
from mltetris_viewer.startup import NoWindow, check_pygame, close_window, open_window

if TYPE_CHECKING:
    from mltetris_viewer.window import Window

#: Seconds to wait for the server at the start, and for one answer later on.
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
#: Seconds after which a picture is given up.
PICTURE_SECONDS = 60.0

_FAILED, _USAGE, _UNREACHABLE, _NOT_FOUND, _DENIED, _INTERRUPTED = 1, 2, 3, 4, 6, 130


def main(
    address: str | None,
    run: str | None = None,
    *,
    token_file: Path | None = None,
    tls_ca: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    size: tuple[int, int] | None = None,
    screenshot: Path | None = None,
    after_frames: int = 1,
) -> int:
    """Shows a server's runs in a window until it is closed.

    Args:
        address: the server, HOST:PORT; None: the environment's MLTETRIS_SERVER, else the default.
        run: the run to watch; None: the newest live one, else the newest.
        token_file: a file with the token; with the files of TLS see `mltetris_client.connect`.
        tls_ca: the CA of the server's certificate.
        tls_cert: a certificate of our own.
        tls_key: its private key.
        size: the window at first, pixels; None: as suits the desktop, 1280x720 for a picture.
        screenshot: instead of a window: save a picture there and end. Needs no display.
        after_frames: boards to wait for before that picture, at least 1.

    Returns:
        The exit code: 0; 1 no window or no picture; 2 the address is malformed;
        3 the server is not reachable; 4 it has no such run; 6 it does not let us in;
        130 interrupted.
    """
    try:
        check_pygame()
        with mltetris_client.connect(
            address,
            timeout=ANSWER_SECONDS,
            token_file=token_file,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
        ) as trainer:
            trainer.wait_ready(CONNECT_SECONDS)
            may_steer = trainer.get_server_info().role != system_pb2.ROLE_VIEWER
            asked_for = trainer.get_run(run) if run is not None else None
            open_window(size, headless=screenshot is not None)
            # Only now is it certain that pygame is there.
            from mltetris_viewer.window import Window

            try:
                window = Window(trainer, asked_for, snapshots=Path.cwd(), may_steer=may_steer)
                return _show(window, screenshot, after_frames)
            finally:
                close_window()
    except NoWindow as error:
        return _say(str(error), _FAILED)
    except MlTetrisError as error:
        return _say(f"{error.message}. {error.hint}", _code(error))
    except KeyboardInterrupt:
        return _INTERRUPTED


def _show(window: Window, screenshot: Path | None, after_frames: int) -> int:
    try:
        if screenshot is None:
            window.run()
            return 0
        return _picture(window, screenshot, after_frames)
    finally:
        window.close()


def _picture(window: Window, path: Path, after_frames: int) -> int:
    """Waits until there is something to see, and saves it."""
    deadline = time.monotonic() + PICTURE_SECONDS
    while time.monotonic() < deadline:
        window.turn()
        if not window.open:
            return _INTERRUPTED
        if window.ready(after_frames):
            try:
                window.save_picture(path)
            except OSError as error:
                return _say(f"cannot write {path}: {error}", _FAILED)
            return 0
    run = window.model.run
    state = f"the run is {words.state(run).lower()}" if run is not None else "there is no run"
    return _say(
        f"{after_frames} boards did not come within {PICTURE_SECONDS:.0f} seconds: {state}",
        _FAILED,
    )


def _code(error: MlTetrisError) -> int:
    if isinstance(error, Unreachable):
        return _UNREACHABLE
    if isinstance(error, NotFound):
        return _NOT_FOUND
    if isinstance(error, Unauthenticated | PermissionDenied):
        return _DENIED
    return _USAGE if isinstance(error, InvalidArgument) else _FAILED


def _say(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
