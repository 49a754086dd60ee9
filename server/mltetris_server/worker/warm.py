"""Compiles everything once, so that no run has to wait for it: `make` does it when it sets up."""

from __future__ import annotations

import sys
import time

from mltetris_server.game.compiling import cache_directory


def main() -> int:
    """Compiles what is not in the cache yet, and says how long it took."""
    folder = cache_directory()
    if folder is None:
        print(
            "error: there is no folder to keep compiled code in; "
            "set NUMBA_CACHE_DIR to one that can be written",
            file=sys.stderr,
        )
        return 1
    print(f"Compiling the game engine into {folder} ...", flush=True)
    begin = time.perf_counter()
    warm_up()
    print(f"Ready after {time.perf_counter() - begin:.1f} s.")
    return 0


def warm_up() -> None:
    """Does once whatever a run does, so that all of it is compiled."""
    from mltetris_server.game.config import GameConfig
    from mltetris_server.learning.td import TD
    from mltetris_server.learning.warming import warm_up as warm_up_learning
    from mltetris_server.worker.lean_torch import spare_the_compiler
    from mltetris_server.worker.race import Race

    spare_the_compiler()
    warm_up_learning()
    race = Race([("", TD(seed=0).player())], GameConfig(), seed=0)
    race.step()
    race.frames(include_values=True)


if __name__ == "__main__":
    sys.exit(main())
