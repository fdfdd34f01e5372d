import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import checkpoint, images, rounded, vgg
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snnconv.config import FinetuneConfig, OptimiserConfig, TrainConfig
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Quiet
from snnconv.data.split import ArraySplit
from snnconv.errors import CheckFailedError, UsageError
from snnconv.simulation.build import spiking_network
from snnconv.simulation.memory import BatchPlan
from snnconv.tasks.base import TASKS
from snnconv.training.loop import HeldOutSplit, Training, hold_out
from snnconv.training.losses.base import Given, named_loss
from snnconv.training.objective import (
    AnnLoss,
    Measured,
    SpikingLoss,
    ValidationSet,
    slice_of,
)
from snnconv.training.optimiser import learning_rate, middle, optimiser

CPU = torch.device("cpu")
CLASSES = TASKS.load("classification")
FACTS = DataInfo(spec="digits", shape=(2, 6, 6), classes=tuple("0123"), mean=(0.0,), std=(1.0,))


# The schedule


def rate(epoch, **options):
    return learning_rate(OptimiserConfig(lr=0.4, epochs=10, **options), epoch)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.4), (2.5, 0.2 * (1 + math.sqrt(0.5))), (5, 0.2), (10, 0), (11, 0)],
)
def test_half_a_cosine(epoch, expected):
    assert rate(epoch) == pytest.approx(expected)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0), (1, 0.2), (2, 0.4), (6, 0.2), (10, 0)])
def test_after_a_linear_warm_up(epoch, expected):
    assert rate(epoch, warmup=2) == pytest.approx(expected)


def test_a_warm_up_as_long_as_the_training():
    assert rate(5, warmup=10) == pytest.approx(0.2)
    assert rate(10, warmup=10) == pytest.approx(0.4)


@pytest.mark.parametrize("options", [{}, {"warmup": 0.5}, {"warmup": 1}, {"accumulate": 2}])
@pytest.mark.parametrize("batch_size", [16, 48])
def test_the_rate_of_every_step_is_that_of_its_middle(options, batch_size, monkeypatch):
    """Two epochs of three steps, or of one: none has rate 0."""
    found, step = [], torch.optim.SGD.step

    def noted(self):
        weights, biases, neurons = (group["lr"] for group in self.param_groups)
        assert (biases, neurons) == (weights, weights / 4)
        found.append(weights)
        return step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    trained(epochs=2, lr=0.4, neuron_lr=0.1, batch_size=batch_size, **options)
    n, warmup = 48 // batch_size, options.get("warmup", 0)
    times = [(i + 0.5) / n for i in range(2 * n)]
    assert found == pytest.approx(
        [
            0.4 * t / warmup
            if t < warmup
            else 0.2 * (1 + math.cos(math.pi * (t - warmup) / (2 - warmup)))
            for t in times
        ]
    )
    assert min(found) > 0


@given(st.integers(0, 400), st.integers(1, 10_000), st.just(0.0) | st.floats(1e-6, 500), st.data())
def test_no_step_has_rate_zero(epoch, steps, warmup, data):
    config = OptimiserConfig(epochs=epoch + 1, warmup=warmup, lr=1e-3)
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < learning_rate(config, middle(epoch, step, steps)) <= 1e-3


def test_an_epoch_of_one_batch_trains():
    net = tiny()
    before = weights(net).clone()
    rows, _ = trained(net, epochs=1, batch_size=48, lr=0.1)
    assert not torch.equal(weights(net), before)
    assert rows[0].learning_rate == pytest.approx(0.05)  # half a cosine, at its middle


# Samples held out


@dataclass
class Labels:
    labels: torch.Tensor


labelled = st.lists(st.integers(0, 3), min_size=2, max_size=60).map(
    lambda labels: Labels(torch.tensor(labels))
)


@given(labelled, st.floats(0.01, 0.99))
def test_every_sample_is_in_one_part(split, share):
    parts = hold_out(split, share, None, 0)
    together = torch.cat([parts.train, parts.validation])
    assert together.sort().values.tolist() == list(range(len(split.labels)))
    assert len(parts.validation) > 0
    assert len(parts.train) > 0


@given(labelled, st.floats(0.01, 0.99))
def test_each_class_gives_its_share(split, share):
    held = split.labels[hold_out(split, share, None, 0).validation]
    for label in split.labels.unique():
        due = share * int((split.labels == label).sum())
        assert due - 1 <= int((held == label).sum()) <= max(due, 1) + 1e-9


def test_every_tenth_of_each_class():
    split = Labels(torch.arange(200) % 2)
    assert hold_out(split, 0.1, None, 0).validation.tolist() == sorted(
        label + 2 * k for label in (0, 1) for k in range(9, 100, 10)
    )


def test_the_same_every_time_whatever_the_seed():
    split = Labels(torch.randint(0, 4, (50,)))
    torch.manual_seed(1)
    one = hold_out(split, 0.3, None, seed=1)
    torch.manual_seed(2)
    other = hold_out(split, 0.3, None, seed=2)
    assert torch.equal(one.validation, other.validation)
    assert torch.equal(one.train, other.train)


@given(labelled, st.floats(0.01, 0.99), st.integers(2, 60), st.integers(0, 3), st.integers(0, 3))
def test_a_limit_takes_a_part_of_both(split, share, limit, seed, other):
    whole, parts = hold_out(split, share, None, other), hold_out(split, share, limit, seed)
    # no seed and no limit trains on what another one validates on
    assert set(parts.train.tolist()) <= set(whole.train.tolist())
    assert set(parts.validation.tolist()) <= set(whole.validation.tolist())
    assert len(parts.train) + len(parts.validation) == min(limit, len(split.labels))
    assert len(parts.train) > 0
    assert len(parts.validation) > 0


def test_a_limit_takes_of_every_class():
    split = Labels(torch.arange(200) // 50)  # sorted by class
    parts = hold_out(split, 0.1, 40, 0)
    assert split.labels[parts.train].bincount().tolist() == [9, 9, 9, 9]
    assert split.labels[parts.validation].bincount().tolist() == [1, 1, 1, 1]


def test_one_sample_cannot_be_parted():
    with pytest.raises(UsageError, match="--limit 2"):
        hold_out(Labels(torch.arange(9)), 0.1, 1, 0)


# The loss


def log_softmax(row):
    return [float(v) - math.log(sum(math.exp(float(w)) for w in row)) for v in row]


def value(kind, logits, labels, smoothing=0.0, **params):
    return named_loss(kind, params).value(Given(CLASSES, logits, labels, smoothing))


def by_hand(row, label, smoothing):
    logs = log_softmax(row)
    return -(1 - smoothing) * logs[label] - smoothing * sum(logs) / len(logs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_are_their_formulas(smoothing):
    logits, labels = torch.randn(5, 3, 4), torch.tensor([2, 0, 3])
    mean = sum(by_hand(logits[:, b].mean(0), int(labels[b]), smoothing) for b in range(3)) / 3
    steps = [by_hand(logits[t, b], int(labels[b]), smoothing) for t in range(5) for b in range(3)]
    found = [float(value(kind, logits, labels, smoothing)) for kind in ("mean", "tet")]
    assert found == pytest.approx([mean, sum(steps) / 15], rel=1e-5)
    assert found[0] < found[1]  # the cross-entropy is convex


def test_over_one_step_the_losses_are_one():
    logits, labels = torch.randn(1, 6, 4), torch.randint(0, 4, (6,))
    mean, tet = (value(kind, logits, labels, 0.1) for kind in ("mean", "tet"))
    assert torch.equal(mean, tet)


# The optimiser


def test_weights_decay_and_nothing_else_does():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    net[3].weight.requires_grad = False
    groups = optimiser(net, OptimiserConfig(weight_decay=0.25, momentum=0.5)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.25, 0, 0]
    assert [id(p) for p in groups[0]["params"]] == [id(net[0].weight)]
    assert {id(p) for p in groups[1]["params"]} == {
        id(p) for p in (net[0].bias, net[1].weight, net[1].bias, net[3].bias)
    }
    assert {group["momentum"] for group in groups} == {0.5}


# The loop


def blobs(count=64):
    """Four classes, each with its own bright corner."""
    labels = torch.arange(count) % 4
    x = images(count) / 2
    for i, label in enumerate(labels.tolist()):
        row, column = 3 * (label // 2), 3 * (label % 2)
        x[i, :, row : row + 3, column : column + 3] += 0.5
    return ArraySplit(x, labels, 1.0)


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.ReLU(), nn.Linear(8, 4))


@dataclass
class Functions:
    """An objective of functions."""

    module: nn.Module
    loss: Callable
    validate: Callable
    passes: int = 1
    updates: bool = True
    frames_per_run: None = None
    release: int = 0

    def begin(self, epoch):
        self.begun = epoch

    def targets(self, x, labels):
        return labels

    def adapt(self, samples, x, targets):
        self.loss.adapted = [*getattr(self.loss, "adapted", []), samples.tolist()]

    def losses(self, module, samples, x, targets):
        yield self.loss(samples, x, targets)

    def measure(self):
        return Measured(self.validate(), None)

    def parameters(self):
        return {}


def trained(net=None, loss=None, validate=lambda: 0.5, **options):
    """Rows, and the network."""
    net, split = net or tiny(), blobs()
    config = OptimiserConfig(**{"batch_size": 16, "epochs": 3} | options)
    if loss is None:
        objective = AnnLoss(net, CLASSES, config.label_smoothing, validate)
    else:
        objective = Functions(net, loss, validate)
    parts = hold_out(split, 0.25, None, 0)
    return list(Training(objective, split, FACTS, config, parts, CPU, Quiet()).epochs()), net


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("augment", [(), ("flip", "crop")])
def test_the_same_seed_gives_the_same_weights_bit_by_bit(augment):
    one, other = (weights(trained(augment=augment)[1]) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, weights(trained(augment=augment, seed=1)[1]))


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"bf16": True}])
def test_training_learns(options):
    rows, _ = trained(epochs=6, **options)
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].train_accuracy == 1


def test_rows_tell_the_epochs():
    rows, _ = trained(validate=lambda: 0.75, epochs=3, lr=0.2)
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert {row.accuracy for row in rows} == {0.75}
    assert [row.learning_rate for row in rows] == pytest.approx(
        [0.2 * 0.5 * (1 + math.cos(math.pi * t / 9)) for t in (2.5, 5.5, 8.5)]
    )


def test_the_loss_of_a_row_is_the_mean_over_samples():
    def loss(samples, x, labels):  # 48 samples in batches of 32 and 16
        value = torch.tensor(float(len(labels)), requires_grad=True)
        return value, F.one_hot(labels, 4).float()

    rows, _ = trained(loss=loss, epochs=1, batch_size=32)
    assert rows[0].loss == pytest.approx((32 * 32 + 16 * 16) / 48)
    assert rows[0].train_accuracy == 1


def test_every_epoch_ends_in_evaluation_mode_and_begins_in_training_mode():
    net, modes = tiny(), []

    def loss(samples, x, labels):
        modes.append(net.training)
        logits = net(x)
        return F.cross_entropy(logits, labels), logits

    trained(net, loss, validate=lambda: modes.append(net.training) or 0.5, epochs=2)
    assert modes == [True, True, True, False] * 2
    assert not net.training


def test_each_epoch_begins_with_its_first_batch_for_surrogates_that_adapt():
    net, batches = tiny(), []

    def loss(samples, x, labels):
        batches.append(samples.tolist())
        return F.cross_entropy(net(x), labels), net(x)

    trained(net, loss, epochs=2, batch_size=24)
    assert loss.adapted == batches[::2]


def test_no_epochs_change_nothing():
    rows, net = trained(epochs=0)
    assert rows == []
    assert torch.equal(weights(net), weights(tiny()))


def test_a_loss_that_is_no_number_stops_the_training():
    with pytest.raises(CheckFailedError, match="diverged") as caught:
        trained(lr=1e30)
    assert caught.value.remedy == "lower the learning rate: --lr 1e+29"
    assert "epoch 1" in caught.value.found


def test_clipped_gradients_move_the_weights_by_no_more():
    step = {"momentum": 0, "weight_decay": 0, "batch_size": 64, "epochs": 1, "warmup": 1, "lr": 2}
    _, free = trained(**step)
    _, clipped = trained(**step, clip_gradient=0.01)
    moved = [float((weights(net) - weights(tiny())).norm()) for net in (free, clipped)]
    rate = 2 * 0.5  # in the middle of a warm-up of one step
    assert moved[0] > moved[1] == pytest.approx(rate * 0.01, rel=1e-3)


def test_a_batch_in_parts_takes_the_same_step():
    step = {"batch_size": 48, "epochs": 2, "momentum": 0.5}
    rows, whole = trained(**step)
    for parts in (3, 5, 48):  # of 16; of 10 and a last one of 8; of 1
        again, summed = trained(**step, accumulate=parts)
        assert torch.allclose(weights(whole), weights(summed), atol=1e-6)
        assert [row.loss for row in again] == pytest.approx([row.loss for row in rows], rel=1e-5)
        assert [row.train_accuracy for row in again] == [row.train_accuracy for row in rows]


def test_mixed_samples_are_learned_from():
    rows, _ = trained(epochs=8, mix=("mixup", "cutmix"))
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].neuron_parameters == {}
    assert rows[-1].firing_rate is None


@pytest.mark.parametrize(
    ("own", "sections"),
    [({}, {"momentum"}), ({"optimiser": "adamw", "ema": 0.9}, {"average", "square", "step"})],
)
def test_what_goes_on_ends_in_the_same_bits(own, sections):
    options = {"batch_size": 16, "epochs": 4, "augment": ("flip", "crop"), "mix": ("mixup",)}
    config, split = OptimiserConfig(**options, **own), blobs()
    parts = hold_out(split, 0.25, None, 0)

    def training():
        objective = AnnLoss(tiny(), CLASSES, 0.0, lambda: 0.5)
        return Training(objective, split, FACTS, config, parts, CPU, Quiet())

    whole, begun, again = training(), training(), training()
    list(whole.epochs())
    epochs = begun.epochs()
    next(epochs), next(epochs)
    state = begun.state()
    list(epochs)  # what was saved is a copy
    again.restore(state, 2)
    assert [row.epoch for row in again.epochs()] == [3, 4]
    for other in (begun, again):
        assert torch.equal(weights(whole.module), weights(other.module))
    found, expected = again.state(), whole.state()
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    for section in sections:
        assert sum(name.startswith(f"{section}/") for name in found) == 4


# Through spikes


def fine_tuned(neuron, **options):
    """Loss and accuracy at T = 4 before and after, over all samples."""
    snn = spiking_network(checkpoint(rounded(vgg()), neuron=neuron), folded=False)
    split = blobs()
    config = FinetuneConfig(**{"batch_size": 16, "epochs": 12, "lr": 0.1} | options)
    everything = HeldOutSplit(torch.arange(64), torch.arange(64))
    held = ValidationSet(split, FACTS, everything.validation, BatchPlan(16, 4))
    size = slice_of(snn, 4, config.slice)
    objective = SpikingLoss(
        snn,
        CLASSES,
        4,
        size,
        named_loss(config.loss, {}),
        config.label_smoothing,
        held,
        CPU,
        Quiet(),
    )

    def now():
        snn.eval()
        with torch.no_grad():
            x = split.images(torch.arange(64))
            currents, _ = snn(x[None], 4, torch.arange(64))
        loss = value(config.loss, currents, split.labels, config.label_smoothing)
        right = currents.mean(0).argmax(1) == split.labels
        return float(loss), float(right.double().mean())

    before = now()
    list(Training(objective, split, FACTS, config, everything, CPU, Quiet()).epochs())
    return before, now()


@pytest.mark.parametrize("neuron", ["if", "msat"])
@pytest.mark.parametrize("kind", ["mean", "tet"])
def test_fine_tuning_lowers_the_loss_and_raises_the_accuracy(neuron, kind):
    before, after = fine_tuned(neuron, loss=kind)
    assert after[0] < 0.6 * before[0]
    assert after[1] > max(0.9, before[1])


@pytest.mark.parametrize("neuron", ["if", "msat"])
def test_fine_tuning_under_bfloat16(neuron):
    before, after = fine_tuned(neuron, bf16=True)
    assert after[0] < before[0]


def test_stages_train_by_the_same_options():
    shared = set(OptimiserConfig.model_fields)
    assert shared <= set(TrainConfig.model_fields)
    assert shared <= set(FinetuneConfig.model_fields)
