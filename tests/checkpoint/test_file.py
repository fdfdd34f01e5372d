"""The file that holds a checkpoint, written in pieces: the bytes that safetensors writes."""

import json

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconv.checkpoint.file import DIGEST, TYPES, intact, sealed, unsealed

KEY = "snnconv"
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).map("n/".__add__)
SHAPES = st.lists(st.integers(0, 3), max_size=3)


def filled(kind, shape):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(kind)


TENSORS = st.dictionaries(NAMES, st.builds(filled, st.sampled_from(list(TYPES)), SHAPES))


@given(tensors=TENSORS, document=st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_the_bytes_are_those_of_safetensors(tensors, document):
    content = b"".join(sealed(document, tensors, KEY))
    with_head = safetensors.deserialize(content)
    assert {name for name, _ in with_head} == set(tensors)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert content == safetensors.torch.save(tensors, metadata)


@given(tensors=TENSORS)
def test_what_was_written_is_read(tmp_path_factory, tensors):
    file = tmp_path_factory.mktemp("file") / "of.safetensors"
    file.write_bytes(b"".join(sealed({"a": 1}, tensors, KEY)))
    document, found = unsealed(file, KEY)
    assert DIGEST in document
    assert intact(document, found) == {"a": 1}
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).reshape(2, 3).T,
        torch.arange(8.0)[::2],
        torch.ones(1, 1).as_strided((1,), (7,)),
        torch.tensor(2.0, requires_grad=True),
    ],
)
def test_a_view_is_written_as_it_looks(tensor):
    shared = {"a": tensor, "b": tensor}
    content = b"".join(sealed({}, shared, KEY))
    found = safetensors.torch.load(content)
    assert torch.equal(found["a"], tensor)
    assert torch.equal(found["b"], tensor)


def test_tensors_are_not_copied():
    tensors = {"a": torch.ones(2**22), "b": torch.ones(2**20)}
    pieces = sealed({}, tensors, KEY)
    for piece, name in zip(pieces[1:], "ab", strict=True):
        assert torch.frombuffer(piece, dtype=torch.float32).data_ptr() == tensors[name].data_ptr()
