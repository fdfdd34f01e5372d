import json

import pytest
import safetensors.torch
import torch
from helpers.checkpoints import contents, refused, spiking
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.checkpoint import load, save
from snnconv.checkpoint.file import sealed
from snnconv.errors import CheckpointError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "net.safetensors"


# Files that are no checkpoint


def test_a_missing_file(file):
    error = refused(file)
    assert error.found == "no such file"
    assert "snnconv train" in error.remedy


def test_a_file_behind_a_file(file):
    file.write_text("no folder")
    refused(file / "net.safetensors")


def test_an_empty_file(file):
    file.touch()
    assert refused(file).found == "an empty file"


def test_a_folder(file):
    file.mkdir()
    assert refused(file).found == "a folder"


def test_a_file_of_something_else(file):
    file.write_bytes(b"PK\x03\x04 no safetensors, but long enough to have a header")
    assert "no whole safetensors file" in refused(file).found


def test_a_foreign_safetensors_file(file):
    safetensors.torch.save_file({"fc.weight": torch.ones(2)}, file)
    error = refused(file)
    assert "without the metadata key 'snnconv'" in error.found
    assert "--weights" in error.remedy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a checkpoint, and a file to put changed ones in."""
    file = tmp_path_factory.mktemp("damage") / "net.safetensors"
    save(spiking(), file)
    return file.read_bytes(), file


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_truncated_file(data, whole):
    content, file = whole
    ends = [1, 7, 8, 9, 100, len(content) - 1]
    end = data.draw(st.sampled_from(ends) | st.integers(1, len(content) - 1))
    file.write_bytes(content[:end])
    assert "no whole safetensors file" in refused(file).found


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_damaged_file_loads_or_says_so(data, whole):
    """One byte of the header is changed: there is no third way, such as a KeyError."""
    content, file = whole
    header = 8 + int.from_bytes(content[:8], "little")
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, header - 1))] = data.draw(st.sampled_from(b'0x{}[],:"- \xff'))
    file.write_bytes(damaged)
    try:
        load(file)
    except CheckpointError as error:
        assert str(file) in error.problem


def places(data, way=()):
    """The paths to everything in a document."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield (*way, key)
            yield from places(value, (*way, key))


odd = st.sampled_from([None, True, -1, 0, 10**20, 0.5, "", "ann", [], [0, 0], [[]], {}, {"a": 1}])


@settings(deadline=None, max_examples=100)
@given(data=st.data(), value=odd)
def test_an_odd_value_loads_or_says_so(data, value, whole):
    content, file = whole
    file.write_bytes(content)
    metadata, tensors = contents(file)
    changed = json.loads(metadata["snnconv"])
    *way, last = data.draw(st.sampled_from(list(places(changed))))
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    file.write_bytes(b"".join(sealed(changed, tensors, "snnconv")))
    try:
        load(file)
    except CheckpointError as error:
        assert str(file) in error.problem


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "metadata that is no JSON"), ("[1]", "no JSON object"), ("null", "no JSON object")],
)
def test_metadata_of_something_else(text, says, file):
    safetensors.torch.save_file({"network/a": torch.ones(1)}, file, {"snnconv": text})
    assert says in refused(file).found
