"""The workers of a torture: `python -m chaos.worker`.

Most are small ones that keep checkpoints, obey signals and spend budgets as real ones do; about
one in six (by its run's id) is the real one. `MLTETRIS_CHAOS_WORKERS=real`: all are.
"""

from __future__ import annotations

import os
import sys
import zlib

from google.rpc import code_pb2, status_pb2
from mltetris_api.v1 import run_pb2
from mltetris_api.worker.v1 import worker_pb2
from mltetris_api.worker.v1.worker_pb2 import AttachRequest

VARIABLE = "MLTETRIS_CHAOS_WORKERS"
ONE_IN = 6
METRICS_PERIOD_S = 0.1
LATEST_EVERY = 15
"""Points between two `latest` checkpoints; a `best` comes with every other."""


def is_real(run: str) -> bool:
    """Whether the worker of this run is a real one."""
    return os.environ.get(VARIABLE) == "real" or zlib.crc32(run.encode()) % ONE_IN == 0


def main() -> int:
    """Becomes the real worker, or does a small one's work; returns the exit code."""
    if is_real(os.environ["MLTETRIS_WORKER_RUN"]):
        os.execv(sys.executable, [sys.executable, "-m", "mltetris_server.worker"])
    from mltetris_server.worker import transfer
    from mltetris_server.worker.link import ServerGone
    from mltetris_server.worker.process import handle_signals
    from mltetris_server.worker.spool import spool
    from support import small_worker
    from support.checkpoints import a_checkpoint

    small_worker.METRICS_PERIOD_S = METRICS_PERIOD_S

    class Worker(small_worker.SmallWorker):
        def measure(self) -> None:
            super().measure()
            if self.points % LATEST_EVERY == 0 and self.training:
                kind = run_pb2.CHECKPOINT_KIND_LATEST
                if self.points % (2 * LATEST_EVERY) == 0:
                    kind = run_pb2.CHECKPOINT_KIND_BEST
                self.save(kind)
            self.stopping = self.stopping or self.spent()

        @property
        def training(self) -> bool:
            return self.link.welcome().HasField("training")

        def spent(self) -> bool:
            budget = self.link.welcome().training.budget
            return 0 < budget.max_placements <= 100 * self.points

        def spool(self) -> None:
            made = a_checkpoint(100 * self.points)
            folder = self.link.settings.spool
            if folder is not None and self.training and self.points:
                spool(
                    folder,
                    transfer.Checkpoint(
                        made.manifest.model_json,
                        made.files,
                        made.manifest.placements,
                        made.manifest.evaluation,
                    ),
                )

    worker = Worker(set())
    handle_signals(worker.mailbox.put)
    try:
        reason = worker.run()
        if worker.spent():
            reason = run_pb2.RUN_REASON_BUDGET_SPENT
        worker.link.send_and_wait(AttachRequest(finished=worker_pb2.Finished(reason=reason)))
    except ServerGone:
        worker.spool()
        return 3
    except transfer.TransferError as error:
        told = status_pb2.Status(code=code_pb2.INTERNAL, message=str(error))
        finished = worker_pb2.Finished(reason=run_pb2.RUN_REASON_WORKER_ERROR, error=told)
        worker.link.send_and_wait(AttachRequest(finished=finished))
    worker.link.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
