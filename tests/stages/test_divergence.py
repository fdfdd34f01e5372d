"""Trainings whose loss is finite and whose network is not end with 4, and no file is lost."""

import numpy as np
import pytest
import torch
from helpers.runs import InterruptedAt, finetuning
from torch import nn

import snnconv
from snnconv.checkpoint.file import sealed, unsealed
from snnconv.errors import CheckFailedError, ExitCode


class Net(nn.Module):
    def __init__(self, last):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.hidden, self.out = nn.BatchNorm1d(9), nn.Linear(9, 8), nn.Linear(8, 3)
        self.out.weight.data.mul_(last)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(self.norm(x.flatten(1)))))


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (40, 1, 3, 3), dtype=np.uint8)
    arrays = {"x_train": x, "y_train": np.arange(40) % 3, "x_test": x, "y_test": np.arange(40) % 3}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez(tmp_path / "far.npz", **arrays, mean=np.float32(1e30), std=np.float32(1))
    return tmp_path


def diverged(stage, *args, **options):
    with pytest.raises(CheckFailedError, match="training diverged") as caught:
        stage(*args, **options)
    assert caught.value.code == ExitCode.CHECK_FAILED
    return caught.value


def test_weights_that_overflow(data):
    """A gradient of 1e38 moves weights beyond what float32 holds, after a finite loss."""
    snnconv.calibrate(Net(1e37), data=f"npz:{data}/plain.npz", run=data)
    snnconv.convert(run=data, timesteps=2)
    before = (data / "converted.safetensors").read_bytes()
    (data / "finetuned.safetensors").write_bytes(before)  # of an earlier training
    error = diverged(snnconv.finetune, run=data, epochs=1, batch_size=40, lr=1e3)
    assert error.found.startswith("NaN or Inf in '")
    assert "--lr 100" in error.remedy
    good = [str(data / f"{kind}.safetensors") for kind in ("converted", "finetuned")]
    assert error.remedy.endswith(f"{good[0]} and {good[1]} are as before")
    assert (data / "converted.safetensors").read_bytes() == before
    assert (data / "finetuned.safetensors").read_bytes() == before
    assert not (data / "finetuned-last.safetensors").exists()
    assert not list(data.glob("*.resume.safetensors"))


def test_statistics_of_batch_norm_that_overflow(data):
    """By its batch's own statistics it trains on; the running variance is Inf."""
    (data / "net.py").write_text(
        "from torch import nn\n"
        "def net(): return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Linear(9, 8), "
        "nn.ReLU(), nn.Linear(8, 3))\n"
    )
    error = diverged(
        snnconv.train, f"{data}/net.py:net", data=f"npz:{data}/far.npz", run=data, epochs=1
    )
    assert error.found.startswith("NaN or Inf in '1.running_")
    assert error.found.endswith("after epoch 1")
    assert "huge values in the data, their mean and std" in error.remedy
    assert not list(data.glob("*.safetensors"))


# What an interrupted training goes on from


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The resume file of a training that was interrupted after its first epoch of three."""
    run = tmp_path_factory.mktemp("interrupted")
    snnconv.calibrate(run=run, samples=50)
    snnconv.convert(run=run, timesteps=1)
    with pytest.raises(KeyboardInterrupt):
        finetuning(run, InterruptedAt("epoch 2/3"), epochs=3, limit=30, timesteps=None)
    file = run / "finetune.resume.safetensors"
    return run, file, file.read_bytes()


def facts(**changes):
    return lambda document, tensors: document["facts"].update(changes)


def tensor(name, change):
    def changed(document, tensors):
        key = next(key for key in sorted(tensors) if key.startswith(name))
        tensors[key] = change(tensors[key])

    return changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d, t: d["facts"].pop("epoch"), "epoch: Field required"),
        (lambda d, t: d["facts"].pop("rows"), "rows: Field required"),
        (lambda d, t: d.update(facts=[]), "facts that can't be"),
        (lambda d, t: d.update(setting=[]), "no options in it"),
        (lambda d, t: d.pop("setting"), "no training in it"),
        (facts(rows=[{}]), "rows.0."),
        (facts(epoch="x"), "epoch: "),
        (facts(epoch=-5), "epoch: "),
        (facts(epoch=2), "rows that are not those of 2 epochs"),
        (facts(epoch=True), "epoch: "),
        (facts(best_epoch=99), "a best epoch 99 of 1"),
        (facts(start=[1, 2, 3]), "start"),
        (lambda d, t: t.pop("order"), "the tensor '' is missing"),
        (lambda d, t: t.pop(next(k for k in t if k.startswith("module/"))), "is missing"),
        (lambda d, t: t.pop(next(k for k in t if k.startswith("best/"))), "is missing"),
        (lambda d, t: t.update({"more/a": torch.ones(1)}), "the unknown tensor 'more/a'"),
        (lambda d, t: t.update({"module/a": torch.ones(1)}), "which the network has not"),
        (lambda d, t: t.update({"momentum/a": torch.ones(1)}), "which the network has not"),
        (tensor("module/", lambda t: torch.zeros(3)), "is [3] of torch.float32, not"),
        (tensor("module/", lambda t: t.double()), "of torch.float64, not"),
        (tensor("module/", lambda t: t * float("nan")), "NaN or Inf in tensor"),
        (tensor("best/", lambda t: t * float("inf")), "NaN or Inf in tensor"),
        (tensor("momentum/", lambda t: t[None]), "of torch.float32, not"),
        (tensor("order", lambda t: t[:-1]), "of torch.uint8, not"),
        (tensor("order", lambda t: t * 0 + 255), "an order of samples that can't be"),
    ],
)
def test_a_resume_file_that_can_not_be_is_refused(change, says, interrupted):
    run, file, raw = interrupted
    file.write_bytes(raw)
    document, tensors = unsealed(file, "snnconv-resume")
    document = {key: document[key] for key in ("facts", "setting")}
    change(document, tensors)
    file.write_bytes(b"".join(sealed(document, tensors, "snnconv-resume")))
    with pytest.raises(snnconv.errors.CheckpointError) as caught:
        snnconv.finetune(run=run, epochs=3, limit=30, resume=True)
    assert says in caught.value.found
    assert caught.value.remedy == "start again: without --resume"
    assert str(file) in caught.value.problem


def test_a_flipped_bit_in_a_resume_file_is_seen(interrupted):
    run, file, raw = interrupted
    for place in range(8, len(raw), len(raw) // 40):
        damaged = bytearray(raw)
        damaged[place] ^= 4
        file.write_bytes(damaged)
        with pytest.raises(snnconv.errors.CheckpointError):
            snnconv.finetune(run=run, epochs=3, limit=30, resume=True)
    file.write_bytes(raw)
    assert snnconv.finetune(run=run, epochs=3, limit=30, resume=True).resumed_after == 1
