"""How kernels are compiled: safely, cached, and never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mltetris_server
import numpy as np
import pytest
from mltetris_server.game.compiling import allocating, kernel, stack_array
from numba import types

PACKAGE = Path(mltetris_server.__file__).parent

CHECKED_PLAY = """
import itertools
import numpy as np
from mltetris_server.game.compiling import kernel, peek, poke
from mltetris_server.game.config import (
    FeatureSet, GameConfig, Randomizer, Rule, n_features, raw_scales
)
from mltetris_server.game.engine import afterstates, new_games, place, reset_game
from mltetris_server.game.vectors import copy_eights, load, store_columns, floats_alike

@kernel
def read(array, index):
    return peek(array, index)

@kernel
def write(array, index):
    poke(array, index, 1)

@kernel
def read_lanes(array, index):
    load(array, index)

@kernel
def copy(array, index):
    floats = array.view(np.float32)
    copy_eights(floats, 0, 0, floats, index, 4, 2)

@kernel
def transpose(array, index):
    x = floats_alike(np.float32(1))
    store_columns(array.view(np.float32), index, 4, x, x, x, x)

for act, size in ((read, 3), (write, 3), (read_lanes, 6), (copy, 10), (transpose, 10)):
    act(np.zeros(size, np.int64), 2)
    for index in (-1, size, 10**12, size + 3):
        try:
            act(np.zeros(size, np.int64), index)
        except IndexError:
            continue
        raise AssertionError(f"the check of {act} does not work")

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
    ("module", "matters"),
    [
        *((f"{name}.py", True) for name in ("games", "pieces", "vectors", "scratch", "config")),
        *((f"{name}.py", True) for name in ("drops", "afterstates", "compiling")),
        ("display.py", False),
    ],
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


_new_pair = stack_array(types.int64, 2, 3)


@kernel
def _on_stack(value: int) -> int:
    pair = _new_pair()
    for row in range(pair.shape[0]):
        for k in range(pair.shape[1]):
            pair[row, k] = value + 10 * row + k
    total: int = _on_stack_again(pair)
    return total + pair[1, 2]


@kernel
def _on_stack_again(above: Any) -> int:
    own = _new_pair()
    for k in range(3):
        own[0, k] = own[1, k] = 0
    total: int = above[0, 0]
    return total


def test_every_call_has_its_own_arrays_on_the_stack() -> None:
    assert _on_stack(5) == 5 + 5 + 10 + 2


@allocating
def _sorted_sum(values: Any) -> float:
    total: float = np.sort(values)[0] + values.copy()[0]
    return total


def test_only_an_allocating_kernel_makes_arrays() -> None:
    assert _sorted_sum(np.array([3.0, 1.0])) == 4

    @kernel
    def copy(values: Any) -> float:
        first: float = values.copy()[0]
        return first

    with pytest.raises(Exception, match=r"NRT required|returning of array"):
        copy(np.array([3.0, 1.0]))


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
