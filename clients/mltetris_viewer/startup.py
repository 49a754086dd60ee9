"""Getting a window: whether the right pygame is here, and whether there is a display."""

from __future__ import annotations

import importlib.util
import os
from importlib import metadata
from typing import TYPE_CHECKING

from mltetris_viewer.layout import BASE_SIZE, MIN_SIZE

if TYPE_CHECKING:
    import pygame

#: SDL's drivers that show nothing. SDL falls back to them where there is no display.
_BLIND_DRIVERS = frozenset({"dummy", "offscreen"})


class NoWindow(Exception):
    """There can be no window; the message says why and what to do, in one line."""


def check_pygame() -> None:
    """Makes sure that `import pygame` gives pygame-ce.

    Raises:
        NoWindow: it is missing, or the older pygame is there too or instead.
    """
    old, ce = _installed("pygame"), _installed("pygame-ce")
    if old and ce:
        raise NoWindow(
            "both pygame and pygame-ce are installed, and they overwrite each other: run "
            "`pip uninstall -y pygame pygame-ce`, then `pip install pygame-ce`"
        )
    if old:
        raise NoWindow(
            "the older pygame is installed, the viewer needs pygame-ce: run "
            "`pip uninstall -y pygame`, then `pip install pygame-ce`"
        )
    if importlib.util.find_spec("pygame") is None:
        raise NoWindow("pygame-ce is not installed: run `pip install 'mltetris[viewer]'`")


def open_window(size: tuple[int, int] | None, *, headless: bool) -> pygame.Surface:
    """Opens the window, or a surface in memory where `headless`.

    Args:
        size: pixels; None: as suits the desktop.
        headless: whether nobody is to see it; no display is needed then.

    Raises:
        NoWindow: there is no display to open one on.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    # The window sits beside a training on the same machine: let the screen saver be.
    os.environ.setdefault("SDL_VIDEO_ALLOW_SCREENSAVER", "1")
    # On Windows the system would otherwise enlarge a small picture, and blur it.
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")
    if headless:
        os.environ["SDL_VIDEODRIVER"] = "dummy"
    asked_for = os.environ.get("SDL_VIDEODRIVER", "")

    import pygame

    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in _BLIND_DRIVERS and driver not in asked_for.split(","):
            pygame.display.quit()
            raise NoWindow(_NO_DISPLAY)
        pygame.font.init()
        pygame.display.set_caption("mlTetris")
        pygame.display.set_icon(_icon())
        if size is None:
            size = BASE_SIZE if headless else fitting_size(pygame.display.get_desktop_sizes()[0])
        surface = pygame.display.set_mode(size, pygame.RESIZABLE)
    except pygame.error as error:
        pygame.quit()
        raise NoWindow(f"{_NO_DISPLAY} (SDL says: {error})") from error
    return surface


def fitting_size(desktop: tuple[int, int]) -> tuple[int, int]:
    """A window's size on a desktop: the base size on a usual one, in proportion on a bigger one.

    Never less than the layout's least, nor more than nine tenths of the desktop otherwise.
    """
    scale = max(1.0, min(desktop[0] / 1920, desktop[1] / 1080))
    scale = min(scale, 0.9 * desktop[0] / BASE_SIZE[0], 0.9 * desktop[1] / BASE_SIZE[1])
    width, height = round(BASE_SIZE[0] * scale), round(BASE_SIZE[1] * scale)
    return max(MIN_SIZE[0], width), max(MIN_SIZE[1], height)


def close_window() -> None:
    """Closes the window and lets go of everything that belongs to it."""
    import pygame

    from mltetris_viewer.drawing.screen import clear_caches

    clear_caches()
    pygame.quit()


_NO_DISPLAY = (
    "there is no display to open a window on: run the viewer on a desktop, "
    "or watch in the terminal with `mltetris watch`"
)


def _installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _icon() -> pygame.Surface:
    import pygame

    from mltetris_viewer.drawing.palette import GUIDELINE
    from mltetris_viewer.drawing.shapes import tile

    picture = pygame.Surface((64, 64), pygame.SRCALPHA)
    for x, y in ((1, 0), (0, 1), (1, 1), (2, 1)):
        picture.blit(tile(GUIDELINE.pieces[3], 21), (x * 21, 11 + y * 21))
    return picture
