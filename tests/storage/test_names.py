"""Which names may reach the file system."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mltetris_server import errors
from mltetris_server.storage import names
from support.checkpoints import ILLEGAL_SLOT_NAMES


@pytest.mark.parametrize(
    "name", ["a", "A", "0", "_", "-", "x" * 64, "starter", "My_best-1", "cons"]
)
def test_a_legal_slot_name_is_given_back(name: str) -> None:
    assert names.check_slot_name(name) == name


@pytest.mark.parametrize("name", ILLEGAL_SLOT_NAMES)
def test_an_illegal_slot_name_is_refused_naming_the_field(name: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        names.check_slot_name(name, field="demo.slots[1]")
    assert [violation.field for violation in caught.value.fields] == ["demo.slots[1]"]
    assert not names.is_slot_name(name)


@given(st.text(max_size=70))
def test_no_accepted_name_leaves_its_folder(name: str) -> None:
    root = Path("/data/slots")
    if names.is_slot_name(name):
        assert (root / name).parent == root
        assert name.isascii()
    if names.is_run_id(name):
        assert (root / name).parent == root
    if names.is_file_name(name):
        assert (root / name).parent == root
        assert name.endswith(".safetensors")


@given(st.from_regex(r"[A-Za-z0-9_-]{5,64}", fullmatch=True))
def test_every_name_of_the_contract_that_is_no_device_is_accepted(name: str) -> None:
    assert names.is_slot_name(name)


@pytest.mark.parametrize("run_id", ["", "A", "train_1", "x" * 65, "../x", "train-1\n", "con"])
def test_an_illegal_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        names.check_run_id(run_id)


@pytest.mark.parametrize(
    "name",
    [
        "policy",
        ".safetensors",
        "policy.pt",
        "Policy.safetensors",
        "../policy.safetensors",
        "con.safetensors",
        "policy.safetensors\0",
        "a/b.safetensors",
        "manifest.json",
    ],
)
def test_an_illegal_file_name_is_refused(name: str) -> None:
    assert not names.is_file_name(name)


def test_names_that_differ_in_case_only_are_found() -> None:
    assert names.same_but_for_case("Best", ["worst", "best"]) == "best"
    assert names.same_but_for_case("best", ["worst", "best"]) is None
