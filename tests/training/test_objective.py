import pytest
import torch
import torch.nn.functional as F
from helpers.networks import checkpoint, dyadic, images, maxed, residual, rounded, vgg

from snnconv.config import OptimiserConfig
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Quiet
from snnconv.data.split import ArraySplit
from snnconv.errors import UsageError
from snnconv.simulation.build import spiking_network
from snnconv.simulation.memory import BatchPlan
from snnconv.tasks.base import TASKS
from snnconv.training.loop import HeldOutSplit, Training
from snnconv.training.losses.base import Given, named_loss
from snnconv.training.objective import SpikingLoss, ValidationSet, detached, slice_of

CPU = torch.device("cpu")
CLASSES = TASKS.load("classification")


class Held:
    """A tensor that autograd holds for the backward pass; counts bytes while it is held."""

    alive = 0
    peak = 0

    def __init__(self, tensor):
        self.tensor = tensor
        Held.alive += tensor.nbytes
        Held.peak = max(Held.peak, Held.alive)

    def __del__(self):
        Held.alive -= self.tensor.nbytes


def objective(net, T, k, neuron="if"):
    snn = spiking_network(checkpoint(rounded(net()), neuron=neuron), folded=False).train()
    return SpikingLoss(
        snn, CLASSES, T, slice_of(snn, T, k), named_loss("mean", {}), 0.0, None, None, None
    )


def peak_bytes(net, T, k, neuron):
    """The most that autograd holds at any time while one batch is trained on."""
    trained = objective(net, T, k, neuron)
    Held.alive = Held.peak = 0
    labels = torch.tensor([0, 1, 2])
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        for loss, _ in trained.losses(trained.module, torch.arange(3), images(3)[None], labels):
            loss.backward()
    return Held.peak


@pytest.mark.parametrize("neuron", ["if", "msat"])
@pytest.mark.parametrize("net", [vgg, residual, maxed])
def test_memory_of_slices_does_not_grow_with_time(net, neuron):
    first = peak_bytes(net, 2, 2, neuron)
    assert peak_bytes(net, 4, 2, neuron) <= peak_bytes(net, 16, 2, neuron)
    assert peak_bytes(net, 16, 2, neuron) == peak_bytes(net, 6, 2, neuron)
    assert peak_bytes(net, 16, 2, neuron) < 1.5 * first  # the second slice has a state before it
    assert peak_bytes(net, 16, 16, neuron) > 4 * first


@pytest.mark.parametrize("net", [vgg, maxed])
def test_slices_are_the_same_simulation(net):
    x, labels = images(4)[None], torch.tensor([0, 1, 2, 3])
    whole, sliced = objective(net, 6, None), objective(net, 6, 2)
    one = [logits for _, logits in whole.losses(whole.module, torch.arange(4), x, labels)]
    three = [logits for _, logits in sliced.losses(sliced.module, torch.arange(4), x, labels)]
    assert (len(one), len(three)) == (1, 3) == (whole.passes, sliced.passes)
    assert torch.allclose(one[0], torch.stack(three).mean(0), atol=1e-6)


def test_a_last_slice_may_be_shorter():
    trained = objective(vgg, 5, 2)
    batch = torch.arange(2), images(2)[None], torch.tensor([0, 1])
    found = list(trained.losses(trained.module, *batch))
    assert len(found) == trained.passes == 3


def test_no_gradient_reaches_an_earlier_slice():
    state = {"a": (torch.ones(2, requires_grad=True) * 2, None), "b": [torch.ones(1), 3]}
    found = detached(state)
    assert not found["a"][0].requires_grad
    assert found["a"][1] is None
    assert found["b"][1] == 3
    assert torch.equal(found["a"][0], state["a"][0])


def test_slices_longer_than_the_run_are_the_run():
    snn = spiking_network(checkpoint(rounded(vgg()), neuron="lm-ht", timesteps=4))
    assert slice_of(snn, 4, 9) == slice_of(snn, 4, 4) == slice_of(snn, 4, None) == 4
    with pytest.raises(UsageError, match="all 4, and a slice has 3"):
        slice_of(snn, 4, 3)


@pytest.mark.parametrize("k", [None, 1, 2])
def test_it_is_measured_in_portions_with_the_same_result(k):
    """Of samples, and of the steps of a slice: memory does not grow with either."""
    snn = spiking_network(checkpoint(rounded(vgg())), folded=False).eval()
    split = ArraySplit(images(7), torch.arange(7) % 4, 1.0)
    info = DataInfo(spec="x", shape=(2, 6, 6), classes=tuple("abcd"), mean=(0.0,), std=(1.0,))
    seen, found = [], []
    for samples, steps in ((7, 6), (3, k or 6)):
        held = ValidationSet(split, info, torch.arange(7), BatchPlan(samples, steps))
        trained = SpikingLoss(
            *(snn, CLASSES, 6, slice_of(snn, 6, k), named_loss("mean", {}), 0.0, held, CPU, Quiet())
        )
        handle = snn.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
        found.append(trained.measure())
        handle.remove()
    assert found[0] == found[1]
    assert {(x.shape[1], steps) for x, steps in seen[1:]} <= {(3, k or 6), (1, k or 6)}
    assert len(seen) == 1 + 3 * 6 // (k or 6)


@pytest.mark.parametrize("kind", ["mean", "tet"])
def test_soft_labels_that_are_certain_are_hard_ones(kind):
    logits, labels = dyadic((5, 3, 4)), torch.tensor([2, 0, 3])
    soft = torch.nn.functional.one_hot(labels, 4).float()
    loss = named_loss(kind, {})
    found = [float(loss.value(Given(CLASSES, logits, each, 0.1))) for each in (labels, soft)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


# SLTT


def accumulated(trained, weights, x, labels):
    """The gradient of a batch as the loop adds it up, one backward pass for each slice."""
    for loss, _ in trained.losses(trained.module, torch.arange(len(labels)), x, labels):
        if loss.requires_grad:
            (loss / trained.passes).backward()
    found = [weight.grad for weight in weights]
    trained.module.zero_grad()
    return found


DECAY, THETA, V0 = 0.75, 0.5, 0.25


class Spike(torch.autograd.Function):
    """A step of its own: 1 from theta on; backward a triangle of width theta and area one."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v >= THETA).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad * (1 - (v - THETA).abs() / THETA).clamp(min=0) / THETA


def sltt(weights, x, labels, T, learning):
    """The gradient of a batch in plain torch: conv, LIF, average pool, conv, LIF, linear.

    The potentials before a step are constants, and steps that are not drawn give no gradient.
    """
    weights = [weight.detach().clone().requires_grad_() for weight in weights]
    conv1, bias1, conv2, bias2, linear, bias = weights
    v1 = v2 = None
    for t in range(T):
        drive1 = F.conv2d(x, conv1, bias1, padding=1)
        v1 = drive1 + DECAY * (torch.full_like(drive1, V0) if v1 is None else v1.detach())
        s1 = Spike.apply(v1)
        drive2 = F.conv2d(F.avg_pool2d(THETA * s1, 2), conv2, bias2, padding=1)
        v2 = drive2 + DECAY * (torch.full_like(drive2, V0) if v2 is None else v2.detach())
        s2 = Spike.apply(v2)
        logits = F.linear(THETA * s2.flatten(1), linear, bias)
        v1, v2 = v1 - THETA * s1, v2 - THETA * s2
        if t in learning:
            (F.cross_entropy(logits, labels) / T).backward()
    return [weight.grad for weight in weights]


def learns_by_sltt(T, **more):
    """An objective of that network, and its weights in the loop's order."""
    lif = {"decay": DECAY, "v0": V0 / THETA}
    made = checkpoint(rounded(vgg()), theta=THETA, neuron="lif", params=lif)
    snn = spiking_network(made, folded=False).train()
    of = (snn, CLASSES, T, 1, named_loss("mean", {}), 0.0)
    given = {"held_out": None, "device": CPU, "progress": Quiet()} | more
    layers = [node.tensors for node in made.graph.nodes if "weight" in node.tensors]
    weights = [snn.network.tensor(each[part]) for each in layers for part in ("weight", "bias")]
    return SpikingLoss(*of, **given, updates=False), weights


@pytest.mark.parametrize("K", [None, 1, 2, 3])
def test_sltt_is_a_loop_in_plain_torch(K):
    T, x, labels = 4, images(3), torch.tensor([0, 1, 2])
    trained, weights = learns_by_sltt(T, sampled=K)
    torch.manual_seed(0)
    learning = range(T) if K is None else torch.randperm(T)[:K].tolist()
    expected = sltt(weights, x, labels, T, learning)
    torch.manual_seed(0)
    found = accumulated(trained, weights, x[None], labels)
    torch.testing.assert_close(found, expected)
    assert all(gradient.any() for gradient in found)


def test_a_batch_of_sltt_is_one_step_along_that_gradient():
    """Through the training loop: the rate in the middle of the only step is half of the peak."""
    T, labels, parts = 4, torch.tensor([0, 1, 2, 3]), HeldOutSplit(*torch.arange(4).split(3))
    split = ArraySplit(images(4), labels, 1.0)
    info = DataInfo(spec="x", shape=(2, 6, 6), classes=tuple("abcd"), mean=(0.0,), std=(1.0,))
    held = ValidationSet(split, info, parts.validation, BatchPlan(1, T))
    trained, weights = learns_by_sltt(T, held_out=held)
    expected = sltt(weights, images(4)[:3], labels[:3], T, range(T))
    before = [weight.detach().clone() for weight in weights]
    config = OptimiserConfig(lr=2.0, momentum=0, weight_decay=0, epochs=1, batch_size=3)
    (row,) = Training(trained, split, info, config, parts, CPU, Quiet()).epochs()
    moved = [old - new.detach() for old, new in zip(before, weights, strict=True)]
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-4)
    assert row.learning_rate == pytest.approx(1.0)


def test_the_steps_of_sltt_k_are_drawn_anew():
    """Each step is drawn equally often: the mean over many draws is K/T of all steps' gradient."""
    T, x, labels = 4, images(3)[None], torch.tensor([0, 1, 2])
    trained = objective(vgg, T, 1, "lif")
    weights = list(trained.module.network.parameters())[-2:]
    whole = accumulated(trained, weights, x, labels)
    trained.sampled = 1
    torch.manual_seed(0)
    found = {
        tuple(accumulated(trained, weights, x, labels)[0].flatten().tolist()) for _ in range(30)
    }
    assert len(found) == T
    total = torch.tensor(sorted(found)).sum(0)
    torch.testing.assert_close(total, whole[0].flatten())


def test_memory_of_sltt_does_not_grow_with_time():
    assert peak_bytes(vgg, 16, 1, "lif") == peak_bytes(vgg, 6, 1, "lif")
