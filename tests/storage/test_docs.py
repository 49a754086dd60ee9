"""docs/checkpoints.md says what is so: its example is read, and its program reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from mltetris_api.v1 import run_pb2
from mltetris_server.storage import RunStore, SlotStore, manifest
from support.checkpoints import MODEL, a_checkpoint, model_files

DOCUMENT = Path(__file__).parents[2] / "docs" / "checkpoints.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_is_a_manifest() -> None:
    read = manifest.parse(blocks("json")[0].encode())
    assert read.evaluation is not None
    assert read.evaluation.mean_lines == 1234.5


def test_the_example_record_has_the_keys_that_are_written(tmp_path: Path) -> None:
    SlotStore(tmp_path).save("one", a_checkpoint())
    written = json.loads((tmp_path / "one" / "slot.json").read_bytes())
    assert json.loads(blocks("json")[1]).keys() == written.keys()


def test_the_program_reads_slots_and_checkpoints(tmp_path: Path) -> None:
    program: dict[str, Any] = {}
    exec(blocks("python")[0], program)
    SlotStore(tmp_path / "slots").save("one", a_checkpoint(8))
    found, weights = program["read"](tmp_path / "slots" / "one")
    assert found["placements"] == 8
    assert np.array_equal(weights["weight"], np.full(32, 8, np.float32))

    store = RunStore(tmp_path / "runs")
    for placements in (1, 2, 3):
        store.write(
            "train-1",
            run_pb2.CHECKPOINT_KIND_BEST,
            model=MODEL,
            files=model_files(placements),
            placements=placements,
        )
    folder = program["newest"](tmp_path / "runs" / "train-1" / "best")
    assert program["read"](folder)[0]["placements"] == 3
