import math

import pytest
import torch
from helpers.commands import done, here, refused
from helpers.laws import cases
from helpers.layers import layer
from helpers.runs import InterruptedAt, training
from spikingjelly.activation_based import layer as theirs

from snnconv import load_network
from snnconv.checkpoint import load
from snnconv.core.metadata import NormInfo
from snnconv.errors import ExitCode, UsageError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.neurons.norms.base import NORMS, normalise
from snnconv.neurons.norms.potentials import EPS
from snnconv.simulation.stepwise import scaled
from snnconv.zoo import ZOO

SMALL = ("--limit", 17, "--batch-size", 8, "--epochs", 1, "--timesteps", 2)


def test_these_are_the_norms():
    assert NORMS.own() == ["batch", "mpbn", "tdbn", "tebn"]


@pytest.mark.parametrize("law", cases(NORMS))
def test_the_laws_of_norms_hold(law):
    law()


# tdBN


def tdbn(graph, tensors, theta, **params):
    kind = NORMS.load("tdbn")
    thetas = {site.name: torch.tensor([theta]) for site in graph.sites}
    return kind(kind.params_type(**params)).placed(graph, tensors, thetas, 4)


def test_tdbn_divides_what_branches_share():
    module = ZOO["resnet20"](channels=2, size=8, classes=4, width=0.25)
    graph, tensors = tdbn(*capture(module, (2, 8, 8))[:2], 0.5, alpha=3.0)
    scales = {n.name: n.attrs["scale"] for n in graph.nodes if n.op == "batch_norm"}
    assert len(scales) == 1 + 18 + 2
    for name, scale in scales.items():
        alone = name.endswith(".bn1") or name.startswith("stem")
        assert scale == pytest.approx(1.5 if alone else 1.5 / math.sqrt(2)), name
    assert set(tensors) == graph.tensor_names()


def test_tdbn_is_that_of_spikingjelly():
    """Theirs has the factor in the weight from the start, ours apart: where no weight has learned,
    and in its running statistics, they agree."""
    other = theirs.ThresholdDependentBatchNorm2d(0.5, 0.75, 3)
    other.step_mode = "m"
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU())
    network = Network(*tdbn(*capture(module, (3, 4, 4))[:2], 0.75, alpha=0.5))
    x = torch.randn(4, 5, 3, 4, 4)
    for live in (True, False):
        ours = network.train(live)(x.flatten(0, 1))
        torch.testing.assert_close(ours, other.train(live)(x).flatten(0, 1).relu())


# TEBN


def test_tebn_is_that_of_spikingjelly_and_weights_of_a_step():
    """Its authors' equations; and p[t]*W, step by step, in a network of its own for each step."""
    other = theirs.TemporalEffectiveBatchNorm2d(4, 3)
    other.step_mode = "m"
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, bias=False), torch.nn.BatchNorm2d(3), torch.nn.ReLU()
    )
    graph, tensors = NORMS.load("tebn")(None).placed(*capture(module, (2, 5, 5))[:2], {}, 4)
    factors = torch.tensor([0.5, -1.0, 2.0, 0.25])
    (scale,) = (node for node in graph.nodes if node.op == "step_scale")
    tensors[scale.tensors["scale"]] = factors
    other.scale.data.copy_(factors)
    x, network = torch.randn(4, 6, 2, 5, 5), Network(graph, tensors)
    with torch.no_grad():
        for live in (True, False):
            network.train(live)
            currents = network.compute(graph.nodes[0], [x.flatten(0, 1)])
            normal = network.compute(graph.nodes[1], [currents]).unflatten(0, (4, 6))
            ours = scaled(normal, network.tensor(scale.tensors["scale"]), 0, 4)
            torch.testing.assert_close(ours, other.train(live)(currents.unflatten(0, (4, 6))))
        folded, weights = fold(graph, network.tensors())
        conv = folded.nodes[0].tensors
        for t, factor in enumerate(factors):
            own = {name: weights[name] * factor for name in conv.values()}
            alone = Network(folded, weights | own).compute(folded.nodes[0], [x[t]])
            torch.testing.assert_close(alone, ours[t])


# MPBN


def test_mpbn_is_the_loop_of_its_authors():
    """Their update in training, step by step; and its thresholds in evaluation."""
    neurons = layer("lif", 1.0, torch.float64, 3, decay=0.25, reset="hard", v0=0.0)
    normalise(neurons, NormInfo(name="mpbn", params={"level": 0.5}), 2)
    norm, other = neurons.norm.double(), torch.nn.BatchNorm2d(2).double()
    currents = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    for live in (True, False):
        neurons.train(live), other.train(live)
        v, expected = 0, []
        for current in currents:
            v = 0.25 * v + current
            expected.append((other(v) >= 0.5).double())
            v = v * (1 - expected[-1])
        assert torch.equal(neurons(currents)[0].counts, torch.stack(expected))
    torch.testing.assert_close((norm.mean, norm.var), (other.running_mean, other.running_var))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -2.0])), norm.bias.copy_(torch.tensor([0.1, 0.2]))
        norm.mean.copy_(torch.tensor([1.0, 2.0])), norm.var.copy_(torch.tensor([4.0, 9.0]) - EPS)
    # 1 + (0.5 - 0.1)*2/0.5, and 2 - (0.5 - 0.2)*3/2
    expected = torch.tensor([[2.6, 1.55], [1.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(norm.threshold(), expected)
    norm.weight.data[0] = 0.0
    assert norm.threshold()[0, 0] == math.inf


def test_neurons_whose_thresholds_are_their_own_refuse_mpbn():
    for name in ("lm-ht", "msat", "glif"):
        with pytest.raises(UsageError, match="can't have the norm 'mpbn'"):
            normalise(layer(name), NormInfo(name="mpbn", params={}), 1)


# By command


def test_a_norm_is_trained_measured_and_kept(tmp_path):
    run = ("--run", tmp_path)
    done("train", "cnn?width=0.125", "--neuron", "lif", "--norm", "tdbn", *SMALL, *run)
    made = load(tmp_path / "trained.safetensors")
    assert made.spiking.norm.model_dump() == {"name": "tdbn", "params": {"alpha": 1.0}}
    assert '"norm": "tdbn"' in (tmp_path / "train.json").read_text()
    done("evaluate", "--limit", 10, "--metric", "accuracy", *run)
    again = ("finetune", tmp_path / "trained.safetensors", *SMALL, *run)
    refused(here(*again, "--norm", "batch"), ExitCode.USAGE, "norm 'batch'", "it has 'tdbn'")


@pytest.mark.parametrize("norm", ["tebn", "mpbn"])
def test_a_norm_goes_through_the_stages(tmp_path, norm):
    """Trained, on after a break, measured, fine-tuned; formats without words refuse it."""
    run, whole, cut = ("--run", tmp_path), tmp_path, tmp_path / "cut"
    how = {"model": "cnn?width=0.125", "neuron": "lif", "norm": norm, "timesteps": 2}
    how |= {"limit": 17, "batch_size": 8, "epochs": 2}
    training(whole, **how)
    with pytest.raises(KeyboardInterrupt):
        training(cut, InterruptedAt("epoch 2/2"), **how)
    training(cut, resume=True, **how)
    made = [folder / "trained.safetensors" for folder in (whole, cut)]
    assert made[0].read_bytes() == made[1].read_bytes()
    done("evaluate", "--limit", 10, *run)
    if norm == "tebn":  # it knows each of its steps, and no other
        other = here("evaluate", "--timesteps", 3, *run)
        refused(other, ExitCode.USAGE, "can't run for T = 3", "factors for each of T = 2")
        with pytest.raises(UsageError, match="can't run for T = 3"):
            load_network(tmp_path / "trained.safetensors")(torch.zeros(1, 1, 8, 8), timesteps=3)
    done("finetune", tmp_path / "trained.safetensors", *SMALL, *run)
    found = {"tebn": "step_scale", "mpbn": "a threshold of normalised potentials"}[norm]
    refused(here("export", "--to", "integer", *run), ExitCode.UNSUPPORTED, "", found, "--to torch")


def test_a_norm_that_can_not_be(tmp_path):
    small = ("--neuron", "lif", *SMALL, "--run", tmp_path)
    wrong = (
        (("mlp", "--norm", "tdbn", *small), "has nothing to take the place of"),
        (("cnn", "--norm-param", "alpha=2", *small), "no norm to have a parameter"),
        (("cnn", "--norm", "tdbn", "--run", tmp_path), "no neuron is named"),
        (("cnn", "--norm", "tdnb", *small), "no norm of that name"),
    )
    for command, problem in wrong:
        refused(here("train", *command), ExitCode.USAGE, problem)
