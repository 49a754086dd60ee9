"""Where settings come from: flags before the environment before the config file.

The config file is ``config.toml`` in the user's config folder (``mltetris doctor`` says where), or
the file that MLTETRIS_CONFIG names. It may hold ``server``, ``data_dir``, ``output`` and what lets
the command into a server: ``token_file``, ``tls_ca``, ``tls_cert`` and ``tls_key``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mltetris_cli.exits import CliError, ExitCode

DEFAULT_DATA_DIR = "checkpoints"
DEFAULT_LISTEN = "127.0.0.1:50051"
_ACCESS_KEYS = ("token_file", "tls_ca", "tls_cert", "tls_key")
_KEYS = dict.fromkeys(("server", "data_dir", "output", *_ACCESS_KEYS), str)


class Output(StrEnum):
    """What stdout carries."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for one command.

    ``server`` is None where nobody named one: then it is the SDK's default.
    """

    server: str | None
    data_dir: Path
    output: Output
    access: Mapping[str, str] = field(default_factory=dict)
    """``token_file``, ``tls_ca``, ``tls_cert`` and ``tls_key``, as far as somebody named them."""


def config_path() -> Path:
    """Where the config file is, whether or not it exists."""
    named = os.environ.get("MLTETRIS_CONFIG")
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_config_path("mltetris", appauthor=False) / "config.toml"


def load_settings(
    *,
    server: str | None = None,
    data_dir: Path | None = None,
    output: Output | None = None,
    access: Mapping[str, Path | None] | None = None,
) -> Settings:
    """Combines flags (None: not given), environment and config file.

    Raises:
        CliError: the config file cannot be read, or holds what it should not.
    """
    config = _read_config(config_path())
    chosen = os.environ.get("MLTETRIS_OUTPUT") or config.get("output") or Output.TABLE
    if output is None:
        try:
            output = Output(chosen)
        except ValueError:
            raise CliError(
                f"{chosen!r} is not an output format",
                "Set MLTETRIS_OUTPUT or `output` in the config file to table or json.",
                ExitCode.USAGE,
            ) from None
    return Settings(
        server=server or os.environ.get("MLTETRIS_SERVER") or config.get("server"),
        data_dir=data_dir
        or Path(
            os.environ.get("MLTETRIS_DATA_DIR") or config.get("data_dir") or DEFAULT_DATA_DIR
        ).expanduser(),
        output=output,
        access=_access(access or {}, config),
    )


def _access(flags: Mapping[str, Path | None], config: Mapping[str, str]) -> dict[str, str]:
    chosen = {}
    for key in _ACCESS_KEYS:
        flag = flags.get(key)
        value = str(flag) if flag else os.environ.get(f"MLTETRIS_{key.upper()}") or config.get(key)
        # A token in the environment was put there for now, a file's name in the config for always.
        if key == "token_file" and not flag and os.environ.get("MLTETRIS_TOKEN"):
            continue
        if value:
            chosen[key] = value
    return chosen


def _read_config(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"the config file {path} cannot be read ({error})", "Correct or remove it."
        ) from error
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CliError(
            f"the config file {path} is not TOML ({error})",
            "Correct or remove it.",
            ExitCode.USAGE,
        ) from error
    for key, value in table.items():
        if key not in _KEYS or not isinstance(value, _KEYS[key]):
            raise CliError(
                f"the config file {path} has {key} = {value!r}",
                f"It may hold {', '.join(_KEYS)}, each a text.",
                ExitCode.USAGE,
            )
    return table
