"""How kernels are compiled: safely, cached, and never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mltetris_server
import pytest

PACKAGE = Path(mltetris_server.__file__).parent

CHECKED_PLAY = """
import itertools
import numpy as np
from mltetris_server.game.compiling import kernel, peek, poke
from mltetris_server.game.config import (
    FeatureSet, GameConfig, Randomizer, Rule, n_features, raw_scales
)
from mltetris_server.game.engine import afterstates, new_games, place, reset_game

@kernel
def read(array, index):
    return peek(array, index)

@kernel
def write(array, index):
    poke(array, index, 1)

for act in (read, write):
    for index in (-1, 3, 10**12):
        try:
            act(np.zeros(3, np.int64), index)
        except IndexError:
            continue
        raise AssertionError("the check does not work")

rng = np.random.default_rng(1)
for size, rule, randomizer in itertools.product(
    ((4, 4), (10, 20), (32, 40), (5, 40), (32, 4)), Rule, Randomizer
):
    config = GameConfig(*size, rule, randomizer)
    games = new_games(config, 2, seed=1)
    for feature_set in FeatureSet:
        scales = raw_scales(feature_set, config.width)
        features = np.empty((config.actions, n_features(feature_set, config.width)), np.float32)
        flags = np.empty(config.actions, np.uint8)
        for _ in range(400):
            afterstates(games, 1, feature_set.code, scales, features, flags)
            if place(games, 1, int(rng.choice(np.flatnonzero(flags))))[1]:
                reset_game(games, 1)
print("played")
"""


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_kernel_reaches_outside_an_array(tmp_path: Path) -> None:
    # A file, because numba caches nothing that has none.
    script = tmp_path / "play.py"
    script.write_text(CHECKED_PLAY, "utf-8")
    code = f"import runpy; runpy.run_path({str(script)!r})"
    assert _python(code, NUMBA_BOUNDSCHECK="1") == "played"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the game's source, to change."""
    package = tmp_path / "source" / "mltetris_server"
    shutil.copytree(PACKAGE / "game", package / "game")
    (package / "__init__.py").touch()
    return package


def _cache_of(package: Path, cache: Path) -> str:
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r});"
        "from mltetris_server.game import compiling;"
        f"assert compiling.__file__.startswith({str(package)!r});"
        "print(compiling.cache_directory())"
    )
    return _python(code, NUMBA_CACHE_DIR=str(cache))


@pytest.mark.parametrize(
    ("module", "matters"), [("games.py", True), ("pieces.py", True), ("display.py", False)]
)
def test_a_change_in_any_kernel_or_table_leaves_the_cache_behind(
    copied: Path, tmp_path: Path, module: str, matters: bool
) -> None:
    before = _cache_of(copied, tmp_path)
    assert Path(before).is_relative_to(tmp_path)
    with (copied / "game" / module).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    after = _cache_of(copied, tmp_path)
    assert (before != after) == matters


def test_without_a_place_for_the_cache_kernels_still_work(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    code = (
        "from mltetris_server.game.compiling import cache_directory;"
        "from mltetris_server.game.randomness import mix; import numpy as np;"
        "print(cache_directory(), mix(np.uint64(0)))"
    )
    assert _python(code, NUMBA_CACHE_DIR=str(in_the_way)) == f"None {0xE220A8397B1DCDAF}"


def test_the_game_needs_neither_gymnasium_nor_torch() -> None:
    code = (
        "import sys;"
        "import mltetris_server.game.engine, mltetris_server.game.display;"
        "import mltetris_server.game.players, mltetris_server.game.snapshot;"
        "print([n for n in ('gymnasium', 'torch', 'tetris_gymnasium', 'cv2') if n in sys.modules])"
    )
    assert _python(code) == "[]"
    code = "import sys, mltetris_server.game.config; print('numba' in sys.modules)"
    assert _python(code) == "False"
