"""A pygame display in memory: the tests need no screen, and cover nobody's."""

from __future__ import annotations

from collections.abc import Iterator

import pygame
import pytest
from mltetris_viewer.startup import close_window, open_window


@pytest.fixture
def display() -> Iterator[pygame.Surface]:
    """An open display of 1280x720."""
    surface = open_window((1280, 720), headless=True)
    yield surface
    close_window()
