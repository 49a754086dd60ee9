"""The real worker, but its learning ends badly, as the run's seed says; see `ENDS`."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import Never

from mltetris_server.worker.__main__ import main


def _memory() -> Never:
    raise MemoryError("no room for 1 TiB")


def _exception() -> Never:
    raise ZeroDivisionError("learnt too much")


def _exit() -> Never:
    print("exiting now", flush=True)
    os._exit(3)


def _segfault() -> None:
    faulthandler._sigsegv()  # type: ignore[attr-defined]


ENDS = {1: _memory, 2: _exception, 3: _exit, 4: _segfault}
"""What happens after some learning, by the seed of the run."""


def _arm() -> None:
    from mltetris_server.worker.session import Session

    tick = Session.tick

    def failing(self: Session) -> bool:
        if self._learner.placements > 20_000:
            ENDS[self._plan.spec.seed]()
        return tick(self)

    Session.tick = failing  # type: ignore[method-assign]


if __name__ == "__main__":
    # As the real one does before anything loads numpy.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _arm()
    sys.exit(main())
