"""Why there may be no window: one line, the right exit code, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import pytest
from mltetris_viewer import startup
from mltetris_viewer.app import main
from mltetris_viewer.layout import MIN_SIZE
from mltetris_viewer.startup import NoWindow, check_pygame, fitting_size


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Makes it look as if just these distributions were installed."""

    def distribution(name: str) -> object:
        if name not in names:
            raise metadata.PackageNotFoundError(name)
        return object()

    monkeypatch.setattr(startup.metadata, "distribution", distribution)


def test_pygame_ce_alone_is_right() -> None:
    check_pygame()


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (("pygame", "pygame-ce"), "both pygame and pygame-ce"),
        (("pygame",), "needs pygame-ce"),
    ],
)
def test_the_older_pygame_is_refused(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], advice: str
) -> None:
    installed(monkeypatch, *names)
    with pytest.raises(NoWindow, match=advice):
        check_pygame()


def test_without_pygame_it_says_how_to_get_it() -> None:
    """In a process of its own where pygame cannot be found."""
    program = (
        "import sys, importlib.util, importlib.metadata as m\n"
        "find, dist = importlib.util.find_spec, m.distribution\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'pygame' else find(n, *a)\n"
        "def distribution(n):\n"
        "    if n.startswith('pygame'): raise m.PackageNotFoundError(n)\n"
        "    return dist(n)\n"
        "m.distribution = distribution\n"
        "from mltetris_viewer.app import main\n"
        "code = main('127.0.0.1:1')\n"
        "assert 'pygame' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: pygame-ce is not installed: run `pip install 'mltetris[viewer]'`"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a session without a display")
def test_without_a_display_it_says_so() -> None:
    program = (
        "from mltetris_viewer.startup import open_window, NoWindow\n"
        "try:\n    open_window((640, 400), headless=False)\n"
        "except NoWindow as error:\n    print(error)\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("there is no display to open a window on")
    assert "mltetris watch" in done.stdout


@pytest.mark.parametrize(
    ("desktop", "window"),
    [
        ((1920, 1080), (1280, 720)),
        ((3840, 2160), (2560, 1440)),
        ((1366, 768), (1229, 691)),
        ((1080, 1920), (972, 547)),
        ((320, 200), MIN_SIZE),
    ],
)
def test_the_window_suits_the_desktop(desktop: tuple[int, int], window: tuple[int, int]) -> None:
    assert fitting_size(desktop) == window


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        # Bound but not listening: connections are refused, and nobody else can take the port.
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_without_a_server_it_says_so(
    nobody: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mltetris_viewer.app.CONNECT_SECONDS", 0.3)
    assert main(nobody) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and nobody in said[0] and "mltetris serve" in said[0]


def test_a_malformed_address_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("not an address") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["--size", "big"], ["--size", "10x10"], ["--after-frames", "0"]]
)
def test_bad_options_are_usage_errors(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mltetris_viewer", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert arguments[0] in done.stderr
