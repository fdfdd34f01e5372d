"""The laws of corrections.

Each law is asked on a small network with max pooling, a residual sum and a concatenation, over few
samples and steps.

Shape:
    Samples ``[1, N, 2, 6, 6]``.
"""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconv.checkpoint import Checkpoint, load, save
from snnconv.checkpoint.corrections import Part
from snnconv.core.metadata import CorrectionInfo
from snnconv.corrections.base import (
    CORRECTIONS,
    Correction,
    Samples,
    ann_values,
    channel_means,
    corrected,
    walk_sites,
)
from snnconv.corrections.base import Site as CorrectedSite
from snnconv.errors import SnnconvError, UsageError
from snnconv.neurons.base import NEURONS
from snnconv.simulation.build import spiking_network, timesteps
from snnconv.simulation.simulate import simulate
from snnconv.testing.base import Kind, Law, described, in_words, variants
from snnconv.testing.networks import checkpoint, images, mixed, rounded

SAMPLES, STEPS, THETA = 6, 4, 0.5

Found = Mapping[tuple[Part, str], Tensor]


@dataclass(frozen=True)
class Corrects:
    """Corrects networks by one method, with one setting of its parameters."""

    kind: type[Correction]
    params: tuple[tuple[str, Any], ...] = ()

    def __call__(self) -> Correction:
        """The method."""
        return self.kind(self.kind.params_type(**dict(self.params)))


def subjects(kind: type[Correction]) -> Iterator[tuple[str, Corrects]]:
    """A correction with each of its settings."""
    for params in variants(kind.params_type):
        yield in_words(params), Corrects(kind, tuple(params.items()))


@functools.cache
def network(neuron: str = "if") -> Checkpoint:
    """The small network, converted."""
    return checkpoint(rounded(mixed()), theta=THETA, neuron=neuron, timesteps=STEPS)


def samples(count: int = SAMPLES) -> Samples:
    """Samples to correct on."""
    return Samples(images(count)[None], torch.arange(count))


def fit(corrects: Corrects, of: Checkpoint, given: Samples) -> Found:
    """What a correction finds for a network."""
    method = corrects()
    method.refuse(of, spiking_network(of))
    return method.fit(of, given, lambda sites: None)


@functools.cache
def _found(corrects: Corrects, neuron: str = "if") -> Found:
    return fit(corrects, network(neuron), samples())


def after(corrects: Corrects, of: Checkpoint, found: Found) -> Checkpoint:
    """The network with what was found for it."""
    T = of.spiking.timesteps if of.spiking and corrects.kind.of_one_timesteps else None
    made = CorrectionInfo(method=corrects.kind.__name__, params={}, samples=SAMPLES, timesteps=T)
    return corrected(of, found, made)


def outputs(of: Checkpoint, given: Samples) -> dict[str, Tensor]:
    """The values of each site ``[T, N, *N]``."""
    found: dict[str, Tensor] = {}

    def settle(site: CorrectedSite) -> Tensor:
        found[site.name] = site.values({})
        return found[site.name]

    walk_sites(of, given, settle)
    return found


def _same(one: Mapping[Any, Tensor], other: Mapping[Any, Tensor], what: str) -> None:
    assert one.keys() == other.keys(), f"{what}: {sorted(one)} and {sorted(other)}"
    for place, tensor in one.items():
        assert torch.equal(tensor, other[place]), f"{what}: {place} differs"


def every_parameter_has_a_default_and_a_description(corrects: Corrects) -> None:
    """The correction can be made without a parameter, and help says what each parameter is."""
    described(corrects.kind.params_type)


def what_is_found_is_finite_and_can_be_kept_in_a_file(corrects: Corrects) -> None:
    """Each tensor belongs to a site or weight, fits it, and comes back from a file unchanged."""
    made = after(corrects, network(), _found(corrects))
    for place, tensor in made.corrections.items():
        assert tensor.isfinite().all(), f"{place}: not finite"
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "1.safetensors"), Path(folder, "2.safetensors")
        save(made, first)
        back = load(first)
        save(back, second)
        assert first.read_bytes() == second.read_bytes(), "other bytes the second time"
    _same(back.corrections, made.corrections, "what was kept")


def the_same_samples_give_the_same_tensors(corrects: Corrects) -> None:
    """Bit by bit, whatever torch's random state is, and that state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        again = fit(corrects, network(), samples())
        assert torch.equal(torch.get_rng_state(), before), "torch's random state has changed"
    _same(_found(corrects), again, "the second time")


def the_division_of_the_samples_changes_nothing(corrects: Corrects) -> None:
    """Samples of which memory holds some at a time give the same tensors, bit by bit."""
    again = fit(corrects, network(), replace(samples(), at_once=4))
    _same(_found(corrects), again, "four samples at a time")


def nothing_that_was_given_is_changed(corrects: Corrects) -> None:
    """Neither the checkpoint's tensors, nor those of earlier corrections, nor the samples."""
    given = samples()
    of = after(corrects, network(), _found(corrects))

    def kept() -> dict[str, Tensor]:
        return {**of.network, **of.calibration, **of.corrections, "x": given.x, "i": given.indices}

    before = {name: tensor.clone() for name, tensor in kept().items()}
    fit(corrects, of, given)
    _same(before, kept(), "changed")


def means_or_outputs_come_nearer_to_the_ann(corrects: Corrects) -> None:
    """On the samples, channels' mean outputs or all outputs are nearer to the ANN's activations.

    Distances are mean squares of errors in the mean over time, as shares of the activations' mean
    squares, added up over all sites.
    """
    before, now, given = [0.0, 0.0], [0.0, 0.0], samples()
    _, wanted = ann_values(network(), given)
    corrected_ = after(corrects, network(), _found(corrects))
    for each, errors in ((network(), before), (corrected_, now)):
        for name, values in outputs(each, given).items():
            error = values.mean(0) - wanted[name]
            scale = float(wanted[name].square().mean()) or 1.0
            errors[0] += float(channel_means(error).square().mean()) / scale
            errors[1] += float(error.square().mean()) / scale
    means, whole = (f"{b:.3g} before and {n:.3g} now" for b, n in zip(before, now, strict=True))
    nearer = now[0] < before[0] or now[1] < before[1]
    assert nearer, f"channels' means: {means}; all outputs: {whole}"


def _exact() -> tuple[Checkpoint, Samples]:
    """A network and samples of which neurons give the ANN's activation at every step."""
    layers = [nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            with torch.no_grad():
                layer.weight.copy_(torch.eye(4))
                layer.bias.zero_()
    given = torch.tensor([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    made = checkpoint(nn.Sequential(*layers), (1, 2, 2), theta=1.0, timesteps=STEPS)
    return made, Samples(given.reshape(1, 4, 1, 2, 2), torch.arange(4))


def what_is_right_already_stays(corrects: Corrects) -> None:
    """Neurons that give the ANN's activation at every step give it after the correction, too."""
    of, given = _exact()
    before = outputs(of, given)
    _same(before, ann_steps(of, given), "this law's own network is not exact")
    _same(before, outputs(after(corrects, of, fit(corrects, of, given)), given), "a spike")


def ann_steps(of: Checkpoint, given: Samples) -> dict[str, Tensor]:
    """The ANN's activations by site, once for each step."""
    _, values = ann_values(of, given)
    return {name: value.expand(STEPS, *value.shape) for name, value in values.items()}


def another_timesteps_runs_or_is_refused_by_name(corrects: Corrects) -> None:
    """What holds for one T is refused at another; everything else runs there."""
    made = after(corrects, network(), _found(corrects))
    try:
        T = timesteps(made, 2 * STEPS)
    except UsageError as error:
        assert corrects.kind.of_one_timesteps, str(error)
        assert corrects.kind.__name__ in error.problem, error.problem
        return
    assert not corrects.kind.of_one_timesteps
    given = samples()
    logits = simulate(spiking_network(made).eval(), given.x, given.indices, T, T)
    assert logits.isfinite().all()


def what_is_not_refused_can_be_corrected(corrects: Corrects) -> None:
    """Neurons of every kind are corrected, or refused by an error that says what to do."""
    for neuron in NEURONS.own():
        try:
            found = _found(corrects, neuron)
        except UsageError as error:
            assert error.remedy, f"{neuron}: refused without a remedy"
            continue
        except SnnconvError as error:
            raise AssertionError(f"{neuron}: not refused before data are read") from error
        given = samples()
        for name, values in outputs(after(corrects, network(neuron), found), given).items():
            assert values.isfinite().all(), f"{neuron}, {name}"


def corrections_follow_each_other(corrects: Corrects) -> None:
    """A corrected network can be corrected once more, and sees what was added before.

    What is added the second time is not what was added the first time.
    """
    first = _found(corrects)
    once = after(corrects, network(), first)
    second = fit(corrects, once, samples())
    for name, values in outputs(after(corrects, once, second), samples()).items():
        assert values.isfinite().all(), name
    changed = any(tensor.any() for tensor in first.values())
    same = first.keys() == second.keys() and all(
        torch.equal(tensor, second[place]) for place, tensor in first.items()
    )
    assert not (changed and same), "the second time adds the same once more"


def progress_counts_every_site(corrects: Corrects) -> None:
    """The user is told of each site that is done."""
    of, method, told = network(), corrects(), [0]
    method.fit(of, samples(), told.append)
    sites = len(of.graph.sites)
    assert sum(told) == sites, f"told of {sum(told)} of {sites} sites"


def _takes_if(corrects: Corrects) -> str:
    try:
        corrects().refuse(network(), spiking_network(network()))
    except UsageError as error:
        return f"it refuses IF neurons: {error.found}"
    return ""


def _needs_all_samples(corrects: Corrects) -> str:
    snn = spiking_network(network())
    divides = corrects().held(snn, STEPS) is not None
    return _takes_if(corrects) or ("" if divides else "it needs all samples at once")


_LAWS: tuple[Law[Corrects], ...] = (
    Law(every_parameter_has_a_default_and_a_description),
    Law(what_is_found_is_finite_and_can_be_kept_in_a_file, unless=_takes_if),
    Law(the_same_samples_give_the_same_tensors, unless=_takes_if),
    Law(the_division_of_the_samples_changes_nothing, unless=_needs_all_samples),
    Law(nothing_that_was_given_is_changed, unless=_takes_if),
    Law(means_or_outputs_come_nearer_to_the_ann, unless=_takes_if),
    Law(what_is_right_already_stays, unless=_takes_if),
    Law(another_timesteps_runs_or_is_refused_by_name, unless=_takes_if),
    Law(what_is_not_refused_can_be_corrected),
    Law(corrections_follow_each_other, unless=_takes_if),
    Law(progress_counts_every_site, unless=_takes_if),
)

KIND = Kind(CORRECTIONS, _LAWS, subjects)
