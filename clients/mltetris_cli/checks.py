"""What the doctor looks at."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

import platformdirs

from mltetris_cli.server_process import port_is_free
from mltetris_cli.settings import DEFAULT_LISTEN, Settings, config_path

_CLIENT = ("grpcio", "protobuf", "typer", "rich", "platformdirs")
_SERVER = (
    "torch",
    "numba",
    "numpy",
    "stable_baselines3",
    "gymnasium",
    "SQLAlchemy",
    "alembic",
    "structlog",
    "protovalidate",
)
_OLDEST, _TOO_NEW = (3, 11), (3, 14)


class Status(Enum):
    """How grave a finding is."""

    GOOD = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, what was found, what to do."""

    name: str
    status: Status
    found: str
    hint: str = ""


def run_checks(settings: Settings, *, need_server: bool) -> list[Check]:
    """Looks at everything, in the order in which things depend on each other."""
    looks: tuple[Callable[[], Check], ...] = (
        check_python,
        lambda: check_packages("client packages", _CLIENT, needed=True),
        lambda: check_packages("server packages", _SERVER, needed=False),
        check_pygame,
        lambda: check_cache(kernel_cache()),
        check_config,
        lambda: check_data_dir(settings.data_dir),
        check_port,
        lambda: check_server(settings, needed=need_server),
        check_terminal,
    )
    return [look() for look in looks]


def check_python() -> Check:
    """Python 3.11 to 3.13."""
    found = f"{platform.python_version()} at {sys.executable}"
    if not _OLDEST <= sys.version_info[:2] < _TOO_NEW:
        return Check("Python", Status.BROKEN, found, "Use Python 3.11, 3.12 or 3.13.")
    return Check("Python", Status.GOOD, found)


def check_packages(title: str, names: tuple[str, ...], *, needed: bool) -> Check:
    """What is installed, by the package registry's names."""
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if not missing:
        return Check(title, Status.GOOD, ", ".join(found))
    extra = "mltetris" if needed else '"mltetris[server]"'
    hint = f"Install them with `pip install {extra}`."
    if not needed and len(missing) == len(names):
        return Check(title, Status.NOTE, "not installed: this is the thin client", hint)
    return Check(title, Status.BROKEN, f"missing: {', '.join(missing)}", hint)


def check_pygame() -> Check:
    """pygame-ce alone: both packages install a module of the same name, over each other."""
    installed = [name for name in ("pygame", "pygame-ce") if _is_installed(name)]
    if installed == ["pygame", "pygame-ce"]:
        return Check(
            "pygame",
            Status.BROKEN,
            "pygame and pygame-ce are both installed and overwrite each other",
            "Run `pip uninstall -y pygame pygame-ce` and then `pip install pygame-ce`.",
        )
    if installed == ["pygame"]:
        return Check(
            "pygame",
            Status.BROKEN,
            f"pygame {metadata.version('pygame')} in place of pygame-ce",
            "Run `pip uninstall -y pygame` and then `pip install pygame-ce`.",
        )
    if not installed:
        return Check(
            "pygame",
            Status.NOTE,
            "not installed: no window, but `mltetris watch` works",
            'Install it with `pip install "mltetris[viewer]"`.',
        )
    return Check("pygame", Status.GOOD, f"pygame-ce {metadata.version('pygame-ce')}")


def kernel_cache() -> Path | None:
    """Where a server here keeps what it compiles; None where its code is not installed."""
    # Asked of the module finder, not imported: a client must not load the server's code.
    if importlib.util.find_spec("mltetris_server") is None:
        return None
    return Path(os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("mltetris"))


def check_cache(folder: Path | None) -> Check:
    """Whether compiled code can be kept."""
    title = "compiler cache"
    if folder is None:
        return Check(title, Status.NOTE, "no server is installed here")
    problem = _write_problem(_existing(folder))
    if problem is None:
        return Check(title, Status.GOOD, f"{folder} can be written")
    return Check(
        title,
        Status.NOTE,
        f"{folder} cannot be written ({problem})",
        "Every start compiles anew then, for about 10 s: set NUMBA_CACHE_DIR to another folder.",
    )


def check_config() -> Check:
    """The config file; that it can be read is known by now."""
    path = config_path()
    return Check("config file", Status.GOOD, f"{path}{'' if path.exists() else ' (there is none)'}")


def check_data_dir(folder: Path) -> Check:
    """Whether models can be kept."""
    title = "data folder"
    existing = _existing(folder)
    if not existing.is_dir():
        return Check(title, Status.BROKEN, f"{existing} is no folder", "Choose another --data-dir.")
    problem = _write_problem(existing)
    if problem is not None:
        return Check(
            title,
            Status.BROKEN,
            f"{existing} cannot be written ({problem})",
            "Choose another --data-dir, or change its permissions.",
        )
    place = folder.absolute()
    return Check(title, Status.GOOD, f"{place}{'' if existing == place else ' (will be made)'}")


def check_port() -> Check:
    """Whether a server could listen on the default port."""
    host, _, port = DEFAULT_LISTEN.rpartition(":")
    if port_is_free(host, int(port)):
        return Check("port", Status.GOOD, f"{DEFAULT_LISTEN} is free")
    return Check("port", Status.NOTE, f"{DEFAULT_LISTEN} is in use, perhaps by a server of ours")


def check_server(settings: Settings, *, needed: bool) -> Check:
    """Whether a server answers, and which."""
    from mltetris_api.v1 import system_pb2
    from mltetris_client import MlTetrisError

    from mltetris_cli.connecting import open_trainer

    title = "server"
    try:
        with open_trainer(settings, timeout=5.0) as trainer:
            info = trainer.get_server_info()
            address = trainer.address
    except MlTetrisError as error:
        status = Status.BROKEN if needed or settings.server is not None else Status.NOTE
        return Check(title, status, error.message, error.hint)
    ours = metadata.version("mltetris")
    found = f"{address}: version {info.version}, {info.live_runs} of {info.max_runs} runs"
    if info.data_dir:
        found += f", data in {info.data_dir}"
    if info.role == system_pb2.ROLE_VIEWER:
        found += "; with this token you may look only"
    if info.version != ours:
        return Check(title, Status.NOTE, found, f"This client is version {ours}.")
    return Check(title, Status.GOOD, found)


def check_terminal() -> Check:
    """Whether the live view can be shown here."""
    import shutil

    if not sys.stdout.isatty():
        return Check("terminal", Status.NOTE, "stdout is none: `watch` and `up` print lines")
    size = shutil.get_terminal_size()
    encoding = sys.stdout.encoding or "unknown"
    found = f"{size.columns}x{size.lines}, {encoding}"
    if not encoding.lower().replace("-", "").startswith("utf8"):
        return Check("terminal", Status.NOTE, found, "Set PYTHONUTF8=1 for the board's characters.")
    if size.columns < 80 or size.lines < 24:
        return Check("terminal", Status.NOTE, found, "The live view likes 80x24 or more.")
    return Check("terminal", Status.GOOD, found)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _existing(folder: Path) -> Path:
    """The folder, or what there is of the way to it."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def _write_problem(folder: Path) -> str | None:
    """Why no file can be made in a folder; None if one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)
