"""The laws of export formats.

Each law is asked on a small network with max pooling, a residual sum and a concatenation, whose
weights, thresholds and inputs are dyadic.

Shape:
    Samples ``[1, B, 2, 6, 6]``, logits ``[T, B, 4]``.
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconv.checkpoint import load, save
from snnconv.core.metadata import Parameters
from snnconv.errors import SnnconvError
from snnconv.exports.base import EXPORTS, Export, RunResult, Subject
from snnconv.neurons.base import NEURONS
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate
from snnconv.testing.base import Kind, Law, described, in_words, variants
from snnconv.testing.networks import checkpoint, images, mixed, one_layer, rounded

BATCH, STEPS, STEM = 3, 4, "exported"
PERMUTED = (2, 0, 1)


@dataclass(frozen=True)
class Writes:
    """Writes files in one format, with one setting of its parameters."""

    kind: type[Export]
    params: tuple[tuple[str, Any], ...] = ()

    def __call__(self) -> Export:
        """The format."""
        return self.kind(self.kind.params_type(**dict(self.params)))


def subjects(kind: type[Export]) -> Iterator[tuple[str, Writes]]:
    """A format with each of its settings."""
    for params in variants(kind.params_type):
        yield in_words(params), Writes(kind, tuple(params.items()))


def subject(
    neuron: str = "if", net: Callable[[], nn.Module] = mixed, through_a_file: bool = False
) -> Subject:
    """The small network, or another one, as formats are given it."""
    made = checkpoint(rounded(net()), theta=0.5, neuron=neuron, timesteps=STEPS)
    if through_a_file:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "converted.safetensors")
            save(made, file)
            made = load(file)
    network = spiking_network(made, engine="dense").eval()
    return Subject(made, network, f"{neuron} network", "0" * 64, images(BATCH)[None])


@functools.cache
def _files(writes: Writes) -> Mapping[str, bytes]:
    return writes().files(subject(), STEM)


def _put(content: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files, and name the first."""
    files = [folder / f"{STEM}{suffix}" for suffix in content]
    for file, each in zip(files, content.values(), strict=True):
        file.write_bytes(each)
    return files[0]


def _run(
    method: Export, file: Path, given: Subject, order: tuple[int, ...] = tuple(range(BATCH))
) -> RunResult:
    """Run a file on the samples in some order."""
    T, samples = method.timesteps(given), torch.tensor(order)
    return method.run(file, given, images(BATCH)[samples][None], samples, T, T)


def _own(method: Export, given: Subject) -> Tensor:
    """This tool's logits ``[T, B, 4]``."""
    T = method.timesteps(given)
    return simulate(given.network, images(BATCH)[None], torch.arange(BATCH), T, T)


def every_parameter_has_a_default_and_a_description(writes: Writes) -> None:
    """The format can be made without a parameter, and help says what each parameter is."""
    if writes.kind.params_type is not Parameters:
        described(writes.kind.params_type)


def the_named_file_comes_first(writes: Writes) -> None:
    """The first file has the suffix that users name, and no file is empty."""
    content = _files(writes)
    assert next(iter(content)) == writes.kind.suffix, f"{next(iter(content))} is first"
    for suffix, each in content.items():
        assert isinstance(each, bytes) and each, f"{suffix}: {each!r:.20}"


def equal_networks_give_equal_bytes(writes: Writes) -> None:
    """A checkpoint that comes back from a file gives the same files, byte by byte."""
    given = subject(through_a_file=True)
    with _kept(given):
        again = writes().files(given, STEM)
    assert list(again) == list(_files(writes)), "other files"
    for suffix, content in _files(writes).items():
        assert content == again[suffix], f"{suffix}: other bytes"


def the_referee_finds_the_same_logits(writes: Writes) -> None:
    """What was written computes what this tool computes, as exactly as the format says.

    A permuted batch gives permuted logits and spikes. Nothing is left in the working folder, and
    the files, the network and torch's random state stay as they are.
    """
    given, method, content = subject(), writes(), _files(writes)
    own = _own(method, given)
    with _kept(given), _elsewhere() as here, tempfile.TemporaryDirectory() as folder:
        file = _put(content, Path(folder))
        found, permuted = _run(method, file, given), _run(method, file, given, PERMUTED)
        left = sorted(path.name for path in here.iterdir())
        assert not left, f"left in the working folder: {', '.join(left)}"
        for suffix, each in content.items():
            assert Path(folder, f"{STEM}{suffix}").read_bytes() == each, f"{suffix} has changed"
    wanted = own[-len(found.logits) :]
    assert found.logits.shape == wanted.shape, f"logits {list(found.logits.shape)}"
    apart = float((found.logits - wanted).abs().max() / own.abs().max())
    allowed = writes.kind.tolerance
    assert allowed is None or apart <= allowed, f"logits differ by {apart:.3g} of the largest"
    turned = permuted.logits, found.logits[:, PERMUTED]
    assert torch.allclose(*turned, rtol=1e-5, atol=1e-6), "a permuted batch gives other logits"
    for name, values in found.spikes.items():
        same = torch.equal(permuted.spikes[name], values[:, PERMUTED])
        assert same, f"a permuted batch gives other spikes at {name}"
        assert values.shape[:2] == (len(own), BATCH), f"spikes of {name}: {list(values.shape)}"


def the_referee_reads_what_was_written(writes: Writes) -> None:
    """Files that were cut to half are refused, or compute something else."""
    given, method = subject(), writes()
    cut = {suffix: content[: len(content) // 2] for suffix, content in _files(writes).items()}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _run(method, _put(cut, Path(folder)), given)
        except SnnconvError:
            return
    same = torch.equal(found.logits, _own(method, given)[-len(found.logits) :])
    assert not same, "files that were cut to half give the same logits"


def what_is_no_obstacle_is_written(writes: Writes) -> None:
    """Neurons of every kind have words in the format, or are obstacles with a remedy each."""
    for neuron in NEURONS.own():
        given, method = subject(neuron, one_layer), writes()
        obstacles = method.obstacles(given)
        for obstacle in obstacles:
            assert obstacle.remedy, f"{neuron}: {obstacle.place} has no remedy"
        assert obstacles or method.files(given, STEM), f"{neuron}: no file"


@contextlib.contextmanager
def _kept(given: Subject) -> Iterator[None]:
    """The network and torch's random state stay as they are."""
    state, network = torch.get_rng_state(), given.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    yield
    assert torch.equal(torch.get_rng_state(), state), "torch's random state has changed"
    assert not network.training, "the network is in training mode"
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} has changed"


@contextlib.contextmanager
def _elsewhere() -> Iterator[Path]:
    """Work in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield Path(folder)


@functools.cache
def _writes_something(writes: Writes) -> str:
    for obstacle in writes().obstacles(subject()):
        return f"it has no words for {obstacle.place}: {obstacle.found}"
    return ""


_LAWS: tuple[Law[Writes], ...] = (
    Law(every_parameter_has_a_default_and_a_description),
    Law(the_named_file_comes_first, unless=_writes_something),
    Law(equal_networks_give_equal_bytes, unless=_writes_something),
    Law(the_referee_finds_the_same_logits, unless=_writes_something),
    Law(the_referee_reads_what_was_written, unless=_writes_something),
    Law(what_is_no_obstacle_is_written),
)

KIND = Kind(EXPORTS, _LAWS, subjects)
