import argparse
import functools
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from snnconv.errors import CheckpointError, ExitCode
from snnconv.frontends.weights import read_weights


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


class Versioned(nn.Linear):
    """Reads no weights of an unknown version, as torchvision's MNASNet."""

    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        assert metadata["version"] == 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_parts_that_ask_for_the_version_of_their_weights(suffix, tmp_path):
    module, other = nn.Sequential(Versioned(4, 3)), nn.Sequential(Versioned(4, 3))
    write = torch.save if suffix == "pt" else safetensors.torch.save_file
    write(module.state_dict(), tmp_path / f"weights.{suffix}")
    read_weights(other, tmp_path / f"weights.{suffix}")
    assert torch.equal(other[0].weight, module[0].weight)


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
    assert error.found == "more than tensors, which could run any code"
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_network_is_refused_and_the_remedy_brings_its_weights(
    zipped, trained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    torch.save(trained, "net.pt", _use_new_zipfile_serialization=zipped)
    error = refused(trained, Path("net.pt"))
    assert "code" in error.found
    followed(error.remedy, trained)


def followed(remedy, trained):
    """The remedy's line of Python gives weights that can be read."""
    (line,) = re.findall(r"torch\.save\(.*'weights\.pt'\)", remedy)
    exec(line, {"torch": torch, "numpy": np})
    reads(Path("weights.pt"), trained)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.ones(1)], "but a list"),
        (torch.ones(1), "but a Tensor"),
        ({"epoch": 3}, "but a dict of 'epoch': int"),
        ({"state_dict": {"a": 1}}, "but a dict of 'a': int"),
        ({0: torch.ones(1)}, "but a dict of 0: Tensor"),
        (7, "but a int"),
    ],
)
def test_what_is_no_state_dict(content, found, trained, file):
    torch.save(content, file)
    assert refused(trained, file).found == f"no state dict, {found}"


def test_a_dict_inside_itself(trained, file):
    content = {}
    content["model"] = content
    torch.save(content, file)
    assert "RecursionError" in refused(trained, file).found


def test_hyperparameters_that_are_objects_do_not_hide_the_weights(trained, file):
    more = {
        "hyper_parameters": {"args": argparse.Namespace(lr=0.1), "folder": Path("data")},
        "loss": np.float64(0.5),
        "order": np.arange(3),
        "when": functools.partial(torch.relu),
        "optimizer_states": [{"state": {0: {"step": torch.ones(())}}, "param_groups": []}],
    }
    torch.save(more | {"state_dict": prefixed("model.", trained.state_dict())}, file)
    reads(file, trained)


@pytest.mark.parametrize("name", ["net", "ema", "model_ema", "whatever"])
def test_weights_under_another_name(name, trained, file):
    torch.save({name: trained.state_dict(), "epoch": 7, "optimizer": {"state": {}}}, file)
    reads(file, trained)


def test_of_two_that_may_be_meant_none_is_chosen(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"teacher": net().state_dict(), "student": trained.state_dict()}, "both.pt")
    error = refused(trained, Path("both.pt"))
    assert error.found == "2 state dicts: 'teacher', 'student'"
    checkpoint = torch.load("both.pt")
    checkpoint["teacher"] = checkpoint["student"]
    exec(error.remedy.partition(": ")[2], {"torch": torch, "checkpoint": checkpoint})
    reads(Path("weights.pt"), trained)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda key: f"model.{key}",
        lambda key: f"net.backbone.{key}",
        lambda key: f"module.model._orig_mod.{key}",
        lambda key: key.replace("0.", "0.module.", 1),
    ],
)
def test_one_prefix_and_wrappers_anywhere(renamed, trained, file):
    torch.save({renamed(key): value for key, value in trained.state_dict().items()}, file)
    reads(file, trained)


def test_a_prefix_that_only_the_network_has(trained, file):
    torch.save(trained.state_dict(), file)
    fresh = nn.ModuleDict({"net": net()})
    read_weights(fresh, file)
    assert torch.equal(fresh["net"][2].weight, trained[2].weight)


def test_a_prefix_before_some_keys_is_not_taken_off(trained, file):
    both = prefixed("model.", trained.state_dict()) | prefixed("ema.", net().state_dict())
    torch.save(both, file)
    error = refused(trained, file)
    assert "ema.0.weight" in error.found
    assert "missing" in error.found


def test_an_average_of_weights(trained, file):
    average = torch.optim.swa_utils.AveragedModel(trained)
    torch.save(average.state_dict(), file)
    reads(file, trained)


def close(file, computed):
    """The file's weights are those that the network in parts computes."""
    fresh, x = net().eval(), torch.randn(5, 4)
    read_weights(fresh, file)
    torch.testing.assert_close(fresh(x), computed.eval()(x))


@pytest.mark.parametrize("before", ["", "module.", "model."])
@pytest.mark.parametrize(
    "in_parts",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        nn.utils.weight_norm,
        lambda layer: nn.utils.weight_norm(layer, dim=1),
        lambda layer: nn.utils.weight_norm(layer, dim=None),
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_in_parts(in_parts, before, trained, file):
    in_parts(trained[0])
    with torch.no_grad():
        trained.train()(torch.randn(7, 4))
    torch.save(prefixed(before, trained.state_dict()), file)
    close(file, trained)


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_the_spectral_norm_of_a_transposed_convolution(norm, square, file):
    trained, x = nn.ConvTranspose2d(3, 3 if square else 2, 2), torch.randn(1, 3, 4, 4)
    fresh = nn.ConvTranspose2d(3, 3 if square else 2, 2)
    norm(trained).train()(x)
    torch.save(trained.eval().state_dict(), file)
    read_weights(fresh, file)
    torch.testing.assert_close(fresh(x), trained(x))


def test_pruned_by_hand(file):
    layer = nn.Linear(2, 1, bias=False)
    weight, mask = torch.tensor([[3.0, 5.0]]), torch.tensor([[0.0, 1.0]])
    torch.save({"weight_orig": weight, "weight_mask": mask}, file)
    read_weights(layer, file)
    assert layer.weight.tolist() == [[0.0, 5.0]]


def test_parts_that_do_not_fit_each_other_are_named(trained, file):
    state = trained.state_dict()
    state["0.weight_orig"], state["0.weight_mask"] = state.pop("0.weight"), torch.ones(7, 9)
    torch.save(state, file)
    assert "0.weight_mask" in refused(trained, file).found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats(dtype, trained, file):
    torch.save({key: value.to(dtype) for key, value in trained.state_dict().items()}, file)
    fresh = net()
    read_weights(fresh, file)
    assert fresh[0].weight.dtype is torch.float32
    assert torch.equal(fresh[0].weight, trained[0].weight.to(dtype).float())


def test_sparse_tensors(trained, file):
    state = trained.state_dict()
    torch.save(state | {"0.weight": state["0.weight"].to_sparse()}, file)
    reads(file, trained)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "quantized"),
        (lambda x: x.to(torch.int8), "numbers of type torch.int8"),
        (lambda x: x.to("meta"), "meta device"),
        (lambda x: x.to(torch.complex64), "numbers of type torch.complex64"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_numbers_of_another_kind(made, found, trained, file):
    state = trained.state_dict()
    torch.save(state | {"0.weight": made(state["0.weight"])}, file)
    error = refused(trained, file)
    assert "types: 0.weight: " in error.found
    assert found in error.found


def arrays(state):
    return {key: value.numpy() for key, value in state.items()}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_other_files_are_told_and_the_remedy_brings_them(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = trained.state_dict()
    torch.jit.script(trained).save("script.pt")
    np.savez("arrays.npz", **arrays(state))
    for name, found in (("script.pt", "TorchScript"), ("arrays.npz", "NumPy arrays (npz)")):
        error = refused(trained, Path(name))
        assert found in error.found
        followed(error.remedy, trained)


def test_numpy_arrays_in_the_place_of_tensors(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = arrays(trained.state_dict())
    torch.save(state, "arrays.pt")
    error = refused(trained, Path("arrays.pt"))
    assert error.found.startswith("NumPy arrays, no tensors: 0.weight")
    exec(error.remedy.partition(": ")[2], {"torch": torch, "state": state})
    reads(Path("weights.pt"), trained)


def test_weights_of_torch_under_the_suffix_of_safetensors(trained, tmp_path):
    file = tmp_path / "net.safetensors"
    torch.save(trained.state_dict(), file)
    assert "torch.save" in refused(trained, file).found


def test_safetensors_under_another_suffix(trained, tmp_path):
    file = tmp_path / "net.bin"
    safetensors.torch.save_file(trained.state_dict(), file)
    error = refused(trained, file)
    assert "safetensors" in error.found
    reads(file.rename(tmp_path / error.remedy.removeprefix("name it ")), trained)


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


def test_an_archive_that_unpacks_to_any_size_is_refused_before(tmp_path):
    module, packed = nn.Linear(2, 2), tmp_path / "packed.pt"
    torch.save(module.state_dict(), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for entry in plain.infolist():
            archive.writestr(entry.filename, plain.read(entry))
        archive.writestr("archive/data/9", bytes(2**26))
    with pytest.raises(CheckpointError, match="compressed entries"):
        read_weights(module, packed)
