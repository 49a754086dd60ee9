"""What is told of errors that nobody foresaw says nothing of where things lie."""

from __future__ import annotations

import pytest
from mltetris_server.wording import without_places, words_of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot open '/home/ann/data/mltetris.db'", "cannot open 'mltetris.db'"),
        ("no name X in y (/usr/lib/python3/site-packages/y.py)", "no name X in y (y.py)"),
        (r"C:\Users\ann\x.bin is damaged", "x.bin is damaged"),
        ("/a/b/c: no", "c: no"),
        ("a/b, 1/3, and/or, https://example.org/a/b", "a/b, 1/3, and/or, https://example.org/a/b"),
        ("runs/train-1/best/000001 is damaged", "runs/train-1/best/000001 is damaged"),
        ("", ""),
    ],
)
def test_paths_become_names(text: str, told: str) -> None:
    assert without_places(text) == told


def test_of_a_system_error_only_what_the_system_said() -> None:
    error = FileNotFoundError(2, "No such file or directory", "/home/ann/a folder/x")
    assert words_of(error) == "No such file or directory"
    assert words_of(ValueError("bad /home/ann/x")) == "bad x"
