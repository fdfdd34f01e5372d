import os

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.ann.weights import read_weights
from snnconv.errors import CheckpointError, ExitCode


def net():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.fixture
def trained():
    return net()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.pt"


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def reads(file, trained):
    """The file's weights are the trained network's."""
    fresh = net()
    read_weights(fresh, file)
    wanted = trained.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in fresh.state_dict().items())


def refused(module, file):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        read_weights(module, file)
    assert caught.value.code == ExitCode.CHECKPOINT
    assert str(file) in caught.value.problem
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    return caught.value


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        lambda state: prefixed("module.", state),
        lambda state: prefixed("_orig_mod.", state),
        lambda state: {"state_dict": prefixed("_orig_mod.module.", state)},
    ],
)
def test_every_usual_form(wrapped, trained, file):
    torch.save(wrapped(trained.state_dict()), file)
    reads(file, trained)


def test_safetensors(trained, tmp_path):
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(trained.state_dict(), file)
    reads(file, trained)


def test_a_prefix_that_is_the_networks_own_stays(trained, file):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    torch.save(Wrapper(trained).state_dict(), file)
    fresh = Wrapper(net())
    read_weights(fresh, file)
    assert torch.equal(fresh.module[0].weight, trained[0].weight)


def test_counters_of_batches_are_no_weights(trained, file):
    bare = {k: v for k, v in trained.state_dict().items() if "num_batches" not in k}
    torch.save(bare, file)
    reads(file, trained)
    torch.save(trained.state_dict() | {"0.num_batches_tracked": torch.tensor(7)}, file)
    reads(file, trained)


def test_all_that_does_not_fit_is_listed_at_once(trained, file):
    state = trained.state_dict()
    del state["2.bias"], state["1.running_var"]
    state |= {"head.weight": torch.ones(1), "0.weight": torch.ones(5, 4), "2.weight": torch.ones(9)}
    torch.save(state, file)
    found = refused(trained, file).found
    assert "missing: 1.running_var, 2.bias" in found
    assert "surplus: head.weight" in found
    assert "0.weight: file [5, 4], network [3, 4]" in found
    assert "2.weight: file [9], network [2, 3]" in found


class Malicious:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_is_executed(trained, file, tmp_path):
    Malicious.path = str(tmp_path / "executed")
    torch.save({"0.weight": Malicious()}, file)
    error = refused(trained, file)
    assert "UnpicklingError" in error.found
    assert not (tmp_path / "executed").exists()


def test_a_whole_pickled_network_is_refused(trained, file):
    torch.save(trained, file)
    error = refused(trained, file)
    assert "state_dict()" in error.remedy
    assert error.found == "UnpicklingError: more than tensors, which could run any code"


@pytest.mark.parametrize(
    "content",
    [[torch.ones(1)], torch.ones(1), {"epoch": 3}, {"state_dict": {"a": 1}}, {0: torch.ones(1)}, 7],
)
def test_what_is_no_state_dict(content, trained, file):
    torch.save(content, file)
    assert refused(trained, file).found == "no state dict"


@pytest.mark.parametrize("name", ["gone.pt", "gone.safetensors"])
def test_a_missing_file(name, trained, tmp_path):
    assert refused(trained, tmp_path / name).found == "no such file"


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"weights", b"\x80\x02.", b"PK\x03\x04 no zip", b"\0" * 64]
)
def test_a_foreign_file(suffix, content, trained, tmp_path):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    refused(trained, file)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_folder(suffix, trained, tmp_path):
    folder = tmp_path / f"weights{suffix}"
    folder.mkdir()
    refused(trained, folder)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file(share, tmp_path_factory):
    trained, file = net(), tmp_path_factory.mktemp("cut") / "weights.pt"
    torch.save(trained.state_dict(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    refused(trained, file)
