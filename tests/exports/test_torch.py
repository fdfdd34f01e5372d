"""A module file computes what the dense engine does, bit for bit, and needs torch alone."""

import ast
import runpy
import sys
from dataclasses import replace

import pytest
import torch
from helpers.exports import PLACES, over_places, trained_stepwise
from helpers.exports import subject_of as subject
from helpers.nets import Calls, randomised
from helpers.networks import IMAGE, NETS, checkpoint
from torch import nn
from torch.nn import functional as F

from snnconv.core.metadata import ConfidenceInfo, DataInfo, Parameters
from snnconv.errors import CheckFailedError
from snnconv.exports.torch import TorchModule
from snnconv.neurons.base import NEURONS
from snnconv.simulation.build import learned, spiking_network
from snnconv.simulation.simulate import simulate

FORMAT = TorchModule(Parameters())


def written(made, folder, stem="exported"):
    for suffix, content in FORMAT.files(made, stem).items():
        (folder / f"{stem}{suffix}").write_bytes(content)
    return folder / f"{stem}.py"


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Loads what is written for a checkpoint, where this package can't be imported."""

    def load(made):
        file = written(subject(made), tmp_path)
        with monkeypatch.context() as context:
            context.setitem(sys.modules, "snnconv", None)
            return runpy.run_path(str(file))["load"]()

    return load


def same(made, network, x, T=None, chunk=32):
    """Whether the exported network gives the tool's logits after every step."""
    snn = subject(made).network
    T = T or made.spiking.timesteps
    network.chunk = chunk
    frames = x if snn.hold is not None else x[None]
    own = simulate(snn, frames, torch.arange(frames.shape[1]), T, chunk)
    with torch.no_grad():
        other = network.averages(x.transpose(0, 1) if snn.hold is not None else x, T)
    assert own.abs().max() > 0
    return torch.equal(own, other)


def trained(made, seed=0):
    """The checkpoint with learned parameters that are not those of the start."""
    torch.manual_seed(seed)
    tensors = learned(spiking_network(made))
    moved = {name: t + 0.1 * torch.randn_like(t) for name, t in tensors.items()}
    return replace(made, kind="finetuned", neurons=moved)


# networks and neurons are written independently of each other, so some pairs are enough
PAIRS = [
    (net, neuron)
    for k, neuron in enumerate(NEURONS.names())
    for net in (list(NETS)[k % len(NETS)], list(NETS)[(k + 3) % len(NETS)])
]


@pytest.mark.parametrize(("net", "neuron"), PAIRS)
def test_every_neuron_and_every_network(net, neuron, alone):
    made = checkpoint(NETS[net](), theta=0.5, neuron=neuron, timesteps=6)
    assert FORMAT.obstacles(subject(made)) == []
    assert same(made, alone(made), torch.rand(3, *IMAGE))


@pytest.mark.parametrize(
    ("neuron", "params"),
    [
        ("lm-h", {"scalars": "step", "reset": "through"}),
        ("lm-ht", {"omega": "bounded", "levels": 3}),
        ("lm-ht", {"omega": "causal", "leaks": "step"}),
        ("lm-ht", {}),
        ("msat", {"preset": "resnet34", "depolarization": "input"}),
        ("msat", {"dtt": False}),
        ("if", {"v0": 0.0}),
    ],
)
def test_parameters_that_are_learned_or_given(neuron, params, alone):
    made = checkpoint(NETS["shortcut"](), theta=0.5, neuron=neuron, params=params, timesteps=5)
    made = trained(made) if neuron.startswith("lm") else made
    assert same(made, alone(made), torch.rand(2, *IMAGE))


def test_sums_over_places_are_in_one_order(alone):
    """They round by the order of memory, which a neuron's own operations may change."""
    net, params, x = over_places(), {"levels": 4}, torch.rand(3, *PLACES)
    made = checkpoint(net, theta=0.3, neuron="lm-ht", params=params, timesteps=2, shape=PLACES)
    assert same(made, alone(made), x)


def test_chunks_and_streams(alone):
    made = checkpoint(NETS["max"](), theta=0.5, neuron="msat", timesteps=7)
    network, x = alone(made), torch.rand(2, *IMAGE)
    assert same(made, network, x, chunk=3)
    with torch.no_grad():
        logits = network(x, every_step=True)
        stream = network.stream()
        steps = [stream(x) for _ in range(7)]
    torch.testing.assert_close(torch.stack(steps), logits, rtol=1e-5, atol=1e-6)
    assert torch.equal(network(x), logits[-1])
    assert network(x, timesteps=2).shape == (2, 4)


@pytest.mark.parametrize("neuron", ["lif", "glif"])
def test_factors_of_steps_gates_and_norms_of_potentials(neuron, alone):
    made = trained_stepwise(neuron)
    network, x = alone(made), torch.rand(3, *IMAGE)
    assert same(made, network, x)
    assert same(made, network, x, chunk=1)
    with pytest.raises(ValueError, match="made for T = 6 alone"):
        network(x, timesteps=7)
    stream = network.stream()
    with pytest.raises(ValueError, match="can't run 7 steps"):
        [stream(x) for _ in range(7)]


def test_confidence(alone):
    made = checkpoint(NETS["vgg"](), theta=0.25, timesteps=6)
    sites = {site.name: 0.5 for site in made.graph.sites}
    facts = made.spiking.model_copy(
        update={"confidence": ConfidenceInfo(early=4, keep=sites), "seed": 3}
    )
    silent = alone(made)
    made, x = replace(made, spiking=facts), torch.rand(3, *IMAGE)
    network = alone(made)
    assert same(made, network, x, chunk=2)
    assert not torch.equal(network(x), silent(x))


def test_frames(alone):
    made = checkpoint(NETS["max"](), theta=0.5, neuron="lm-h", timesteps=8)
    data = DataInfo.model_validate({**made.data.model_dump(), "frames": 4})
    made = replace(made, data=data, spiking=made.spiking.model_copy(update={"hold": 2}))
    network, x = alone(made), torch.rand(4, 3, *IMAGE)
    assert same(made, network, x)
    with pytest.raises(ValueError, match="can't be shown in T = 6"):
        network(x.transpose(0, 1), timesteps=6)


def normed():
    """A BatchNorm that no layer can take, and one that one does."""
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)),
        *(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(16, 4)),
    )


def analog():
    """Functions that no neuron stands for."""
    torch.manual_seed(0)
    conv, norm, group = nn.Conv2d(2, 4, 3, stride=2), nn.LayerNorm(2), nn.GroupNorm(2, 4)

    def forward(n, x):
        x = F.relu(n.conv(x))
        y = n.group(torch.sigmoid(x) * F.gelu(x, approximate="tanh"))
        y = F.local_response_norm(n.norm(y), 3) + torch.softmax(x, 1)
        return n.out(y.permute(0, 2, 3, 1)[:, :, :: -1 + 2].flatten(1))

    return Calls(forward, conv=conv, norm=norm, group=group, out=nn.Linear(16, 4))


def movement():
    """What only moves values, and one layer that is used twice."""
    torch.manual_seed(0)

    def forward(n, x):
        x = F.relu(n.conv(F.pad(x, (1, 1, 1, 1), mode="reflect")))
        x = F.relu(n.again(x)) + F.relu(n.again(x.flip(3)))
        x = F.interpolate(x, (4, 4), mode="bilinear", align_corners=False)
        x = torch.cat([x[:, 1:, ::2], x[:, :1, 1::2]], 1)
        return n.out(F.interpolate(x, (4, 4)).mean((2, 3), keepdim=True).flatten(1))

    again = nn.Conv2d(3, 3, 3, padding=1, groups=3, padding_mode="zeros")
    return Calls(forward, conv=nn.Conv2d(2, 3, 3), again=again, out=nn.Linear(3, 4))


def upwards():
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, dilation=2), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, 2, groups=2)),
        *(nn.ReLU(), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(6, 4)),
    )


@pytest.mark.parametrize("net", [normed, analog, movement, upwards])
def test_every_kind_of_operation(net, alone):
    torch.manual_seed(1)
    made = checkpoint(randomised(net()), theta=0.5, timesteps=4, analog=True)
    assert same(made, alone(made), torch.rand(3, *IMAGE))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrences_and_one_dimension(kind, alone):
    torch.manual_seed(0)
    net = Calls(
        lambda n, x: n.out(n.cells(F.relu(n.conv(x)).transpose(1, 2))[0][:, -1]),
        conv=nn.Conv1d(2, 5, 3, stride=2),
        cells=kind(5, 3, batch_first=True, bidirectional=True),
        out=nn.Linear(6, 4),
    )
    made = checkpoint(net, (2, 9), theta=0.5, timesteps=3, analog=True)
    assert same(made, alone(made), torch.rand(3, 2, 9))


def test_token_numbers(alone):
    net = Calls(
        lambda n, x: n.out(F.relu(n.fc(n.table(x.long()).flatten(1)))),
        table=nn.Embedding(7, 3),
        fc=nn.Linear(12, 5),
        out=nn.Linear(5, 4),
    )
    made = checkpoint(net, (4,), theta=0.25, timesteps=4, tokens=7)
    assert same(made, alone(made), torch.randint(7, (3, 4)).float())


# The file


def test_it_learns(alone):
    made = checkpoint(NETS["shortcut"](), theta=0.5, neuron="lm-h", timesteps=4)
    network, x = alone(made).train(), torch.rand(8, *IMAGE)
    labels = torch.arange(8) % 4
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        loss = F.cross_entropy(network(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for p in network.parameters())


def test_equal_checkpoints_give_equal_bytes():
    made = [subject(checkpoint(NETS["max"](), neuron="lm-ht", timesteps=3)) for _ in range(2)]
    assert FORMAT.files(made[0], "a") == FORMAT.files(made[1], "a")


def test_the_file_is_plain_python_that_imports_torch_alone(tmp_path):
    made = subject(checkpoint(NETS["identity"](), neuron="msat"))
    text = written(made, tmp_path).read_text(encoding="utf-8")
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported - sys.stdlib_module_names == {"torch"}
    assert max(map(len, text.splitlines())) <= 100
    assert "self.conv_0 = nn.Conv2d(2, 3, 3, padding=1)" in text
    assert "alpha: float = 0.03" in text, "the parameters' values"


def test_awkward_names(alone):
    torch.manual_seed(0)
    net = nn.Sequential()
    for name, part in {
        "class": nn.Flatten(),
        "steps": nn.Linear(72, 6),
        "x": nn.ReLU(),
        "fire": nn.Linear(6, 6),
        "état": nn.ReLU(),
        "1": nn.Linear(6, 4),
    }.items():
        net.add_module(name, part)
    made = checkpoint(net, theta=0.5, timesteps=3)
    assert same(made, alone(made), torch.rand(2, *IMAGE))


USERS = '''
"""A neuron of a user's."""
import torch
from {module} import {name}
from snnconv.neurons.base import CausalNeuron, NeuronParams


class Half(NeuronParams):
    """Of this neuron."""
    share: float = 0.5


class Mine(CausalNeuron):
    params_type = Half

    def initial(self, sample):
        return torch.zeros_like(sample)

    def step(self, current, state, keep):
        potential = state + current
        fired = (potential >= self.params.share * self.theta(current)).to(current.dtype)
        return fired, fired * {name}(self.theta(current)), potential - fired
'''


def test_a_users_neuron(tmp_path, alone, monkeypatch):
    file = tmp_path / "users.py"
    file.write_text(USERS.format(module="torch", name="sqrt"), encoding="utf-8")
    NEURONS.load(f"{file}:Mine")
    made = checkpoint(NETS["vgg"](), theta=0.5, neuron=f"{file}:Mine", timesteps=4)
    assert same(made, alone(made), torch.rand(2, *IMAGE))


def test_a_users_neuron_that_needs_another_package_is_refused(tmp_path):
    file = tmp_path / "needing.py"
    file.write_text(USERS.format(module="numpy", name="sqrt"), encoding="utf-8")
    NEURONS.load(f"{file}:Mine")
    made = checkpoint(NETS["vgg"](), neuron=f"{file}:Mine")
    (obstacle,) = FORMAT.obstacles(subject(made))
    assert (obstacle.place, obstacle.found) == (
        f"neuron '{file}:Mine'",
        "'sqrt' of the package numpy",
    )


def test_the_referee_runs_it_in_a_process_of_its_own(tmp_path):
    made = subject(checkpoint(NETS["vgg"](), theta=0.5, timesteps=4))
    file, x, samples = written(made, tmp_path), torch.rand(1, 2, *IMAGE), torch.arange(2)
    found = FORMAT.run(file, made, x, samples, 4, 4).logits
    assert torch.equal(found, simulate(made.network, x, samples, 4, 4))
    file.write_text("from snnconv import load\n", encoding="utf-8")
    with pytest.raises(CheckFailedError, match="does not run") as caught:
        FORMAT.run(file, made, x, samples, 4, 4)
    assert "snnconv" in caught.value.found


def test_a_ceiling_is_in_the_file(alone):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 9), nn.ReLU6(), nn.Linear(9, 4))
    made = checkpoint(net, theta=6.0, neuron="signed", params={"spikes": 3}, timesteps=4)
    network, x = alone(made), 40 * torch.rand(4, *IMAGE)
    assert same(made, network, x)
    # the bound acts: without it there are more spikes
    with torch.no_grad():
        logits = network(x)
        network.linear_1.weight.mul_(9)
        before = network(x)
        network.relu_2.ceiling = None
        assert not torch.equal(before, network(x))
        assert logits.shape == (4, 4)
