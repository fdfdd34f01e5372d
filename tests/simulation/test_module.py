"""The network of a checkpoint as a module: to use, to train, to take back."""

from dataclasses import replace

import pytest
import torch
from helpers.nets import randomised
from helpers.networks import IMAGE, NETS, checkpoint, images, rounded
from torch import nn
from torch.nn import functional as F

from snnconv.checkpoint import load, save
from snnconv.core.metadata import ConfidenceInfo, DataInfo
from snnconv.engine import dispatch
from snnconv.errors import CheckpointError, UsageError
from snnconv.neurons.base import NEURONS
from snnconv.simulation.build import spiking_network
from snnconv.simulation.loaded import LoadedModule
from snnconv.simulation.simulate import simulate


def made(net="max", **how):
    return checkpoint(NETS[net](), theta=0.5, **{"timesteps": 6, **how})


def normed(neuron="if"):
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4))
    )
    return checkpoint(randomised(net), theta=0.5, timesteps=4, neuron=neuron)


@pytest.mark.parametrize("neuron", NEURONS.names())
def test_logits_are_those_of_a_simulation(neuron):
    file, x = made(neuron=neuron), torch.rand(3, *IMAGE)
    snn = LoadedModule(file)
    own = simulate(spiking_network(file).eval(), x[None], torch.arange(3), 6, 32)
    with torch.no_grad():
        assert torch.equal(snn.averages(x), own)
        assert torch.equal(snn(x), own[-1].float())
        assert torch.equal(snn(x, every_step=True), own.float())
    assert not snn.training


@pytest.mark.parametrize("neuron", NEURONS.names())
def test_a_permuted_batch_gives_permuted_logits(neuron):
    """For every neuron; where chance decides, a sample keeps its number."""
    file = checkpoint(rounded(NETS["max"]()), theta=0.5, timesteps=4, neuron=neuron)
    snn, x, order = LoadedModule(file), images(4), torch.tensor([3, 0, 2, 1])
    with torch.no_grad():
        own = snn(x, every_step=True, samples=torch.arange(4))
        permuted = snn(x[order], every_step=True, samples=order)
    torch.testing.assert_close(permuted, own[:, order], rtol=1e-6, atol=1e-6)


def test_another_number_of_steps():
    snn, x = LoadedModule(made()), torch.rand(2, *IMAGE)
    with torch.no_grad():
        every = snn(x, timesteps=40, every_step=True)  # more than one chunk
        assert every.shape == (40, 2, 4)
        assert torch.equal(snn(x, timesteps=9), every[8])
    fixed = LoadedModule(made(neuron="lm-ht"))
    with pytest.raises(UsageError, match="can't run for T = 9 steps"):
        fixed(x, timesteps=9)


@pytest.mark.parametrize("neuron", ["if", "msat", "lm-h", "signed"])
def test_a_stream_has_explicit_state(neuron):
    snn, x = LoadedModule(made(neuron=neuron)), torch.rand(2, *IMAGE)
    with torch.no_grad():
        every = snn(x, every_step=True)
        stream = snn.stream()
        first = [stream(x) for _ in range(3)]
        kept = stream.state
        later = [stream(x) for _ in range(3)]
        torch.testing.assert_close(torch.stack(first + later), every, rtol=1e-5, atol=1e-6)
        again, _ = snn.step(x, kept)  # a state is a value: a step does not change it
        stream.restart()
        assert torch.equal(stream(x), first[0])
        steps = [current for current, _ in [snn.step(x, kept)]]
    assert torch.equal(again, steps[0])
    assert stream.steps == 1


@pytest.mark.parametrize("neuron", ["msat", "signed"])
def test_a_stream_goes_on_from_a_file(neuron, tmp_path):
    snn, x = LoadedModule(made(neuron=neuron)), torch.rand(2, *IMAGE)
    one, other = snn.stream(), snn.stream()
    one(x), one(x)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(other(x), one(x))
    with pytest.raises(UsageError, match="a state of another network"):
        LoadedModule(made(neuron="lif")).stream().load_state_dict(one.state_dict())
    with pytest.raises(UsageError, match="can't go on with 3 samples"):
        one(torch.rand(3, *IMAGE))
    other.load_state_dict(snn.stream().state_dict())
    assert other.steps == 0


def test_samples_that_do_not_fit():
    """A sample without a batch would be broadcast, or taken for a batch."""
    snn = LoadedModule(made())
    for run in (snn, snn.step):
        with pytest.raises(UsageError, match=r"give one of shape \[B, 2, 6, 6\]"):
            run(torch.rand(*IMAGE))
    for T in (0, -1):
        with pytest.raises(UsageError, match="give 1 step or more"):
            snn(torch.rand(1, *IMAGE), timesteps=T)


@pytest.mark.parametrize("neuron", ["if", "signed"])
def test_weights_of_two_bytes(neuron):
    snn, x = LoadedModule(made(neuron=neuron)), torch.rand(4, *IMAGE)
    with torch.no_grad():
        own, found = snn(x), snn.bfloat16()(x.bfloat16())
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), own, rtol=0.3, atol=0.3)


def test_neurons_that_need_all_steps_do_not_stream():
    snn = LoadedModule(made(neuron="lm-ht"))
    with pytest.raises(UsageError, match="one step at a time"):
        snn.stream()(torch.rand(1, *IMAGE))


def test_raw_values():
    file = made("vgg")
    data = file.data.model_copy(update={"mean": (0.5, 0.25), "std": (2.0, 4.0), "scale": 10.0})
    snn = LoadedModule(replace(file, data=data))
    x = snn.normalise(torch.full((1, 2, 1, 1), 20.0))
    assert x.flatten().tolist() == [0.75, 0.4375]


def test_frames():
    file = made()
    data = DataInfo.model_validate({**file.data.model_dump(), "frames": 3})
    file = replace(file, data=data)
    snn, x = LoadedModule(file), torch.rand(2, 3, *IMAGE)
    own = simulate(spiking_network(file).eval(), x.transpose(0, 1), torch.arange(2), 6, 32)
    with torch.no_grad():
        assert torch.equal(snn.averages(x), own)
        stream = snn.stream()
        for t in range(6):
            logits = stream(x[:, t % 3])
        torch.testing.assert_close(logits, own[-1].float(), rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="can't be shown in T = 4"):
        snn(x, timesteps=4)


# Training


@pytest.mark.parametrize("neuron", NEURONS.names())
def test_a_users_training_loop(neuron, tmp_path):
    snn = LoadedModule(normed(neuron), batch_norm="kept").train()
    torch.manual_seed(0)
    x, labels = torch.rand(12, *IMAGE), torch.arange(12) % 4
    optimiser = torch.optim.AdamW(snn.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(snn(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    found = snn.eval().to_checkpoint()
    save(found, tmp_path / "trained.safetensors")
    again = LoadedModule(load(tmp_path / "trained.safetensors"))
    assert (again.to_checkpoint().kind, found.lineage[-1].stage) == ("finetuned", "finetune")
    with torch.no_grad():
        torch.testing.assert_close(again(x), snn(x), rtol=1e-3, atol=1e-3)
    assert set(found.reference) == set(found.network)
    assert not torch.equal(found.reference["0.weight"], found.network["0.weight"])


def test_what_has_not_learned_is_the_checkpoint_it_was():
    file = normed()
    assert LoadedModule(file).to_checkpoint() is file
    assert LoadedModule(file, batch_norm="kept").to_checkpoint() is file


def test_what_has_learned_with_batch_norm_folded_can_not_be_taken_back():
    snn = LoadedModule(normed())
    with torch.no_grad():
        next(snn.parameters()).add_(1)
    with pytest.raises(UsageError, match="can't be used back") as caught:
        snn.to_checkpoint()
    assert 'batch_norm="kept"' in caught.value.remedy


def test_a_state_dict_carries_what_was_learned():
    file = made("vgg", neuron="lm-h")
    one, other = LoadedModule(file), LoadedModule(file)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(1.01)
    other.load_state_dict(one.state_dict())
    x = torch.rand(2, *IMAGE)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))


def test_a_checkpoint_without_neurons():
    with pytest.raises(CheckpointError, match="no neurons"):
        LoadedModule(replace(made(), kind="calibrated", spiking=None))


@pytest.fixture
def traced(monkeypatch):
    """Give a function that compiles another without a break in its graph."""

    def compiled(function):
        torch.compiler.reset()  # PyTorch compiles a function for a few kinds of arguments only
        # it would trace the compiler of compiled neurons, and fail there
        monkeypatch.setattr(dispatch, "compiled", lambda *of: pytest.fail("a compiled loop"))
        return torch.compile(function, backend="eager", fullgraph=True)

    return compiled


@pytest.mark.parametrize("neuron", NEURONS.names())
def test_under_torch_compile(neuron, traced):
    """Without a break, and by dense convolutions whatever the engine is."""
    file, x = made(neuron=neuron, timesteps=2), torch.rand(2, *IMAGE)
    with torch.no_grad():
        own = LoadedModule(file, engine="dense")(x)
        assert torch.equal(traced(LoadedModule(file, engine="event"))(x), own)


def test_spike_confidence_under_torch_compile(traced):
    file = made(timesteps=2)
    keep = {site.name: 0.5 for site in file.graph.sites}
    update = {"confidence": ConfidenceInfo(early=2, keep=keep)}
    info = file.conversion.model_copy(update=update)
    snn, x = LoadedModule(replace(file, spiking=info)), torch.rand(2, *IMAGE)
    with torch.no_grad():
        own = snn(x)
        assert not torch.equal(own, LoadedModule(file)(x))
        assert torch.equal(traced(snn)(x), own)


def test_a_compiled_step_streams(traced):
    snn, frames = LoadedModule(made()), torch.rand(5, 2, *IMAGE)
    stream = snn.stream()
    own = [stream(x) for x in frames]
    snn.step = traced(snn.step)
    stream = snn.stream()
    assert all(torch.equal(stream(x), logits) for x, logits in zip(frames, own, strict=True))


def test_training_under_torch_compile(traced):
    snn, x = LoadedModule(made("vgg", timesteps=2)), torch.rand(2, *IMAGE)
    weights = list(snn.network.network.parameters())
    own, other = snn(x), traced(snn)(x)
    assert torch.equal(own, other)
    gradients = [torch.autograd.grad(logits.sum(), weights) for logits in (own, other)]
    assert all(map(torch.equal, *gradients))
