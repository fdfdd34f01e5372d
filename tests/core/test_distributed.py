"""Two processes as torchrun starts them, against one: the same numbers, and one writer."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from helpers.commands import done, environment
from safetensors.torch import load_file

from snnconv.core import distributed
from snnconv.core.distributed import share_batches

NET = "mlp?width=0.25"
CNN = "cnn?width=0.25"
SPIKING = ["--neuron", "if", "--timesteps", "2", "--sync-batchnorm", "--run", "spiking"]
ONLINE = ["--epochs", "1", "--slice", "3", "--accumulate", "2"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def test_one_process_is_everybody():
    order = torch.arange(5)
    assert (distributed.rank(), distributed.size()) == (0, 1)
    assert torch.equal(distributed.share(order), order)
    assert distributed.total([3, 0.5], torch.device("cpu")) == [3.0, 0.5]
    distributed.wait()


def test_sums_keep_their_form():
    state = {"a": torch.tensor([1, 2]), "b": {"c": 3}, "d": 3.0}
    found = distributed.summed(state, torch.device("cpu"))
    assert found == state
    assert type(found["b"]["c"]) is int
    assert type(found["d"]) is float


# By two processes

LINES = """
import json, sys
from snnconv.cli import app
for words in json.load(open(sys.argv[1])):
    try:
        app(words, standalone_mode=False)
    except SystemExit as end:  # as a command ends
        if end.code:
            raise
"""


def by_two(lines, folder):
    """Run commands one after the other, in two processes; what they said on standard output."""
    (folder / "lines.py").write_text(LINES)
    (folder / "lines.json").write_text(json.dumps([[str(w) for w in line] for line in lines]))
    result = subprocess.run(
        [*TWO, "lines.py", "lines.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same work by one process and by two, each stage on the very same checkpoint."""
    one, two = (tmp_path_factory.mktemp(f"by{count}") for count in (1, 2))
    run = one / "snnconv-run"
    ann, converted = run / "ann.safetensors", run / "converted.safetensors"

    def lines(count):
        shared = ["--batch-size", 64 // count, "--limit", 333]
        return [
            ["train", NET, "--epochs", 2, "--lr", 0.05, *shared],
            ["calibrate", ann, "--samples", 301, "--method", "mse"],
            ["convert", "--timesteps", 6],
            ["evaluate", converted, "--limit", 101],
            ["finetune", converted, *ONLINE, *shared],
            ["train", CNN, "--epochs", 2, "--lr", 0.05, *SPIKING, *shared],
        ]

    with contextlib.chdir(one):
        said = "".join(done(*line).out for line in lines(1))
    return {1: (one, said), 2: (two, by_two(lines(2), two))}


def report(folders, count, name, run="snnconv-run"):
    return json.loads((folders[count][0] / run / f"{name}.json").read_text())


def tensors(folders, count, name, run="snnconv-run"):
    return load_file(folders[count][0] / run / f"{name}.safetensors")


def the_same(one, two, path=""):
    """Equal, and floats up to rounding."""
    assert type(one) is type(two), path
    if isinstance(one, dict):
        assert one.keys() == two.keys(), path
        for key in one:
            the_same(one[key], two[key], f"{path}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(two), path
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            the_same(a, b, f"{path}/{i}")
    elif isinstance(one, float):
        # a batch of other samples rounds a float32 product in another way
        assert one == pytest.approx(two, rel=1e-6, abs=1e-12), path
    else:
        assert one == two, path


@pytest.mark.long
def test_two_of_half_a_batch_train_like_one(folders):
    one, two = (report(folders, count, "train")["epochs"] for count in (1, 2))
    for a, b in zip(one, two, strict=True):
        for key in ("loss", "accuracy", "train_accuracy"):
            assert a[key] == pytest.approx(b[key], abs=0.01)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    for name, tensor in tensors(folders, 1, "ann").items():
        assert torch.allclose(tensor, tensors(folders, 2, "ann")[name], atol=1e-4), name


@pytest.mark.long
def test_synchronised_batch_norm_trains_like_one(folders):
    one, two = (report(folders, count, "train", "spiking")["epochs"] for count in (1, 2))
    assert one[0]["loss"] == pytest.approx(two[0]["loss"], rel=1e-3)
    found = tensors(folders, 2, "trained", "spiking")
    for name, tensor in tensors(folders, 1, "trained", "spiking").items():
        # a spike that falls on the other side of a threshold by rounding moves a gradient
        assert torch.allclose(tensor, found[name], atol=0.02), name


@pytest.mark.long
def test_calibration_is_the_same(folders):
    """Bit by bit: a process takes whole batches of those that one process would compute."""
    one, two = (tensors(folders, count, "calibrated") for count in (1, 2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    one, two = (report(folders, count, "calibrate") for count in (1, 2))
    assert one["samples"] == two["samples"] == 301
    assert one["sites"] == two["sites"]


@pytest.mark.long
def test_calibration_in_several_passes_is_the_same(tmp_path):
    """Under a memory that the histograms of all sites do not fit into: the very same file."""
    words = ["--samples", 301, "--method", "mse", "--granularity", "channel"]
    memory = {"much": [], "little": ["--memory", "25MiB"]}
    by_two([["calibrate", *words, *given, "--run", run] for run, given in memory.items()], tmp_path)
    made = {}
    for name in memory:
        file, report = (
            tmp_path / name / "calibrated.safetensors",
            json.loads((tmp_path / name / "calibrate.json").read_text()),
        )
        made[name] = file.read_bytes(), report["passes"], report["environment"]["processes"]
    with contextlib.chdir(tmp_path):
        report = json.loads(done("calibrate", *words, "--memory", "25MiB", "--json").out)
    alone = (tmp_path / "snnconv-run" / "calibrated.safetensors").read_bytes()
    (once, *one), (again, *two) = made["much"], made["little"]
    assert (one, two, report["passes"]) == ([1, 2], [report["passes"], 2], two[0])
    assert report["passes"] > 1
    assert once == again == alone


@pytest.mark.parametrize(("n", "batch"), [(0, 4), (3, 4), (8, 4), (301, 32), (33, 32)])
def test_processes_share_the_batches_of_one(monkeypatch, n, batch):
    order, size = torch.randperm(n), 3
    monkeypatch.setattr(distributed, "size", lambda: size)
    seen = []
    for rank in range(size):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        seen += [part.tolist() for part in share_batches(order, batch).split(batch)]
    assert sorted(part for part in seen if part) == sorted(
        part.tolist() for part in order.split(batch) if len(part)
    )


@pytest.mark.long
def test_evaluation_gives_the_same_numbers(folders):
    one, two = (report(folders, count, "evaluate") for count in (1, 2))
    own = {"seconds", "seconds_per_sample", "peak_memory_mib", "environment", "lineage"}
    own |= {"memory_bound_mib", "memory_taken_mib"}
    own |= {"config", "history"}  # which name files
    the_same(*({k: v for k, v in r.items() if k not in own} for r in (one, two)))
    assert two["samples"] == 101


@pytest.mark.long
def test_one_of_them_writes_and_talks(folders):
    (one, said), (two, heard) = folders[1], folders[2]
    assert len(said.splitlines()) == len(heard.splitlines())
    made = [sorted(p.name for p in (f / "snnconv-run").iterdir()) for f in (one, two)]
    assert made[0] == made[1]
    assert report(folders, 2, "train")["environment"]["processes"] == 2


@pytest.mark.long
def test_fine_tuning_in_slices_by_two_is_that_by_one(folders):
    one, two = (report(folders, count, "finetune") for count in (1, 2))
    assert one["accuracy_epoch0"] == two["accuracy_epoch0"]
    assert one["firing_rate_epoch0"] == two["firing_rate_epoch0"]
    assert one["epochs"][0]["loss"] == pytest.approx(two["epochs"][0]["loss"], rel=1e-3)


@pytest.mark.long
def test_neurons_released_later_learn_by_two_as_by_one(tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    one.mkdir(), two.mkdir()
    converted = one / "snnconv-run" / "converted.safetensors"
    shared = ["--release", 1, "--epochs", 2, "--limit", 200, "--lr", 0.05]

    def line(count):
        return ["finetune", converted, *shared, "--batch-size", 32 // count]

    with contextlib.chdir(one):
        done("train", NET, "--epochs", 2, "--limit", 200, "--lr", 0.05)
        done("calibrate", "snnconv-run/ann.safetensors", "--samples", 100)
        done("convert", "--neuron", "lm-h", "--timesteps", 3)
        done(*line(1))
    by_two([line(2)], two)
    a, b = (report({0: (folder, "")}, 0, "finetune")["epochs"] for folder in (one, two))
    start = {"mu_D": 0.0, "mu_S": 0.0, "lambda_S": 1.0, "lambda_D": 1.0}
    for alone, both in zip(a, b, strict=True):
        assert alone["loss"] == pytest.approx(both["loss"], rel=1e-3)
        assert alone["neuron_parameters"] == pytest.approx(both["neuron_parameters"], abs=1e-4)
    for rows in (a, b):
        assert rows[0]["neuron_parameters"] == start  # weights alone learned
        assert all(rows[1]["neuron_parameters"][name] != start[name] for name in start)
    found = tensors({0: (two, "")}, 0, "finetuned-last")
    for name, tensor in tensors({0: (one, "")}, 0, "finetuned-last").items():
        # a spike that falls on the other side of a threshold by rounding moves a gradient
        assert torch.allclose(tensor, found[name], atol=2e-3), name


SYNCHRONISED = """
import torch, sys
from snnconv.core import distributed
from snnconv.core.distributed import share_batches
distributed.start(torch.device("cpu"))
data = torch.load(sys.argv[1], weights_only=True)
rank = distributed.rank()
x = data["x"].tensor_split([3])[rank].requires_grad_()
mean, var = data["mean"].clone(), data["var"].clone()
weight, bias = data["weight"].requires_grad_(), data["bias"].requires_grad_()
y = distributed.batch_norm(x, mean, var, weight, bias, 0.1, 1e-5)
(y * data["g"].tensor_split([3])[rank]).sum().backward()
grads = [distributed.add(p.grad, torch.device("cpu")) for p in (weight, bias)]
torch.save([y.detach(), x.grad, mean, var, *grads], f"{sys.argv[1]}.{rank}")
"""


@pytest.mark.long
def test_batch_norm_over_processes_is_that_of_the_whole_batch(tmp_path):
    torch.manual_seed(0)
    data = {"x": torch.randn(8, 5, 4, 4) * 3 + 2, "g": torch.randn(8, 5, 4, 4)}
    data |= {"mean": torch.zeros(5), "var": torch.ones(5)}
    data |= {"weight": torch.rand(5), "bias": torch.rand(5)}
    torch.save(data, tmp_path / "data")
    (tmp_path / "both.py").write_text(SYNCHRONISED)
    subprocess.run(
        [*TWO, "both.py", "data"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    x = data["x"].clone().requires_grad_()
    weight, bias = (data[k].clone().requires_grad_() for k in ("weight", "bias"))
    mean, var = data["mean"].clone(), data["var"].clone()
    y = F.batch_norm(x, mean, var, weight, bias, True, 0.1, 1e-5)
    (y * data["g"]).sum().backward()
    parts = [torch.load(tmp_path / f"data.{r}", weights_only=True) for r in (0, 1)]
    expected = [y.detach(), x.grad]
    for index, whole in enumerate(expected):
        assert torch.allclose(torch.cat([p[index] for p in parts]), whole, atol=1e-5)
    for part in parts:
        for found, whole in zip(part[2:], (mean, var, weight.grad, bias.grad), strict=True):
            assert torch.allclose(found, whole, rtol=1e-5, atol=1e-5)
