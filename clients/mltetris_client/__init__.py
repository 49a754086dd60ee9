"""The Python SDK of mlTetris: start, steer and watch runs, and keep slots.

Without torch, numpy or the server's code: it only needs a server to talk to.

    import mltetris_client

    with mltetris_client.connect("localhost:50051") as trainer:
        run = trainer.start_training(seed=1, target_lines=1000, max_seconds=180)
        for point in trainer.stream_metrics(run.id):
            print(point.placements, point.mean_lines, point.best_lines)
        trainer.save_slot("mine", run=run.id)
        trainer.export_slot("mine", "mine.slot.zip")

Games of any player as a Minari dataset (HDF5):

        run = trainer.start_simulation(player="bcts", placements=100_000, dataset="games")
        for point in trainer.stream_metrics(run.id):
            print(point.episodes, point.eta.seconds)
        trainer.export_dataset("games")
        minari.load_dataset("mltetris/games-v0")

Watch it play, in a thread of your own or between other things:

        with trainer.stream_board(run.id, max_fps=30) as boards:
            for response in boards:
                draw(response.frames[0])  # always the newest; draw() may be slow

Metric and run streams go on by themselves after the server was restarted, without gap or repeat.
Every failure is an `MlTetrisError` (`NotFound`, `WrongState`, `InvalidArgument`, ...) with
``code``, ``message``, ``fields`` and a ``hint`` that says what to do. A `Trainer` may be used from
any number of threads.
"""

from __future__ import annotations

from pathlib import Path

from mltetris_api.v1.benchmark_pb2 import BenchmarkResult, BenchmarkScore
from mltetris_api.v1.board_pb2 import BoardFrame
from mltetris_api.v1.dataset_pb2 import Dataset
from mltetris_api.v1.policy_pb2 import PolicyInfo, Position, SuggestedPlacement, Suggestion
from mltetris_api.v1.run_pb2 import (
    BenchmarkSpec,
    Budget,
    CheckpointInfo,
    DemoSpec,
    Episode,
    Evaluation,
    GameSpec,
    MetricPoint,
    Notice,
    Run,
    RunControl,
    SimulationSpec,
    TrainingSpec,
)
from mltetris_api.v1.slot_pb2 import Slot
from mltetris_api.v1.system_pb2 import Activity, GetServerInfoResponse, SystemMetrics
from mltetris_api.v1.trainer_pb2 import BenchmarkSuite, StreamBoardResponse, WatchRunsResponse

from mltetris_client import specs
from mltetris_client.access import Access
from mltetris_client.boards import BoardStream
from mltetris_client.channel import ADDRESS_VARIABLE, DEFAULT_ADDRESS, DEFAULT_PORT
from mltetris_client.errors import (
    AlreadyExists,
    Cancelled,
    Closed,
    DataLoss,
    FieldViolation,
    InvalidArgument,
    MlTetrisError,
    NoAnswer,
    NotFound,
    NotSupported,
    PermissionDenied,
    ServerFault,
    TooSlow,
    Unauthenticated,
    Unreachable,
    WrongState,
)
from mltetris_client.history import Lineage, LineageNode, MetricHistory, Stats
from mltetris_client.names import is_final, is_live, name_of, value_of
from mltetris_client.positions import position
from mltetris_client.streams import MetricStream, RunEvents
from mltetris_client.trainer import Trainer

__all__ = [
    "ADDRESS_VARIABLE",
    "DEFAULT_ADDRESS",
    "DEFAULT_PORT",
    "Access",
    "Activity",
    "AlreadyExists",
    "BenchmarkResult",
    "BenchmarkScore",
    "BenchmarkSpec",
    "BenchmarkSuite",
    "BoardFrame",
    "BoardStream",
    "Budget",
    "Cancelled",
    "CheckpointInfo",
    "Closed",
    "DataLoss",
    "Dataset",
    "DemoSpec",
    "Episode",
    "Evaluation",
    "FieldViolation",
    "GameSpec",
    "GetServerInfoResponse",
    "InvalidArgument",
    "Lineage",
    "LineageNode",
    "MetricHistory",
    "MetricPoint",
    "MetricStream",
    "MlTetrisError",
    "NoAnswer",
    "NotFound",
    "NotSupported",
    "Notice",
    "PermissionDenied",
    "PolicyInfo",
    "Position",
    "Run",
    "RunControl",
    "RunEvents",
    "ServerFault",
    "SimulationSpec",
    "Slot",
    "Stats",
    "StreamBoardResponse",
    "SuggestedPlacement",
    "Suggestion",
    "SystemMetrics",
    "TooSlow",
    "Trainer",
    "TrainingSpec",
    "Unauthenticated",
    "Unreachable",
    "WatchRunsResponse",
    "WrongState",
    "connect",
    "is_final",
    "is_live",
    "name_of",
    "position",
    "specs",
    "value_of",
]


def connect(
    address: str | None = None,
    *,
    timeout: float = 30.0,
    token: str | None = None,
    token_file: Path | str | None = None,
    tls_ca: Path | str | None = None,
    tls_cert: Path | str | None = None,
    tls_key: Path | str | None = None,
) -> Trainer:
    """Connects to a server; use the result in a ``with``.

    Nothing is sent before the first call, which raises `Unreachable` where nobody answers and
    `Unauthenticated` where the server does not know the token.

    Args:
        address: HOST:PORT or unix:/PATH; None is the environment's MLTETRIS_SERVER, else
            localhost:50051. ``https://`` before it asks for TLS with a certificate that this
            machine trusts, ``http://`` for none.
        timeout: Seconds one call may take; streams may take for ever.
        token: Sent with every call; None: what is in ``token_file``, else the environment's
            MLTETRIS_TOKEN, else what is in the file that MLTETRIS_TOKEN_FILE names, else none.
        token_file: A file with the token.
        tls_ca: PEM file of the CA that the server's certificate must be of; it makes the
            connection use TLS. None: the environment's MLTETRIS_TLS_CA.
        tls_cert: PEM file of a certificate of your own, for servers that ask for one; with
            ``tls_key``, its private key. None: MLTETRIS_TLS_CERT and MLTETRIS_TLS_KEY.

    Raises:
        InvalidArgument: the address is malformed, a file cannot be read, or the token would go to
            another machine without TLS.
    """
    access = Access.of(
        token=token, token_file=token_file, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key
    )
    return Trainer(address, access, timeout=timeout)
