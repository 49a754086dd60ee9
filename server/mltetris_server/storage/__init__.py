"""What is kept: history in SQLite, slots and checkpoints in files.

Nothing else of the project touches the data directory. ``DataDir`` takes it, ``History`` keeps
runs, metrics and episodes, ``RunStore`` the files of runs, ``SlotStore`` the slots,
``DatasetStore`` the datasets. All of it is synchronous and meant for one thread at a time.
"""

from mltetris_server.storage.checkpoints import Checkpoint
from mltetris_server.storage.datadir import DataDir
from mltetris_server.storage.datasets import DatasetStore
from mltetris_server.storage.history import History, StateChange, WorkerEvent, WorkerRecord
from mltetris_server.storage.manifest import FileEntry, Manifest
from mltetris_server.storage.run_store import RunStore
from mltetris_server.storage.slots import SlotStore

__all__ = [
    "Checkpoint",
    "DataDir",
    "DatasetStore",
    "FileEntry",
    "History",
    "Manifest",
    "RunStore",
    "SlotStore",
    "StateChange",
    "WorkerEvent",
    "WorkerRecord",
]
