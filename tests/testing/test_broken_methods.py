"""Each law is broken by some method: what can't fail is no law."""

import pytest
import torch

from snnconv.calibration.histogram import Statistic
from snnconv.core.metadata import Parameters
from snnconv.metrics.base import Figures, Metric
from snnconv.neurons.base import NeuronParams
from snnconv.neurons.if_ import IF, Params, State
from snnconv.testing import check_metric, check_neuron, check_statistic, laws
from snnconv.testing import neurons as neuron_laws


class Described(NeuronParams):
    v0: float = 0.5


class Undescribed(IF):
    params_type = Described


class Restless(IF):
    """Depends on the number of the step in its chunk."""

    def run(self, currents, state, keep):
        return super().run(currents * (torch.arange(len(currents)) < 1).view(-1, 1, 1), state, keep)


class Sociable(IF):
    """Sees the other samples."""

    def step(self, current, state, keep):
        return super().step(current - current.mean(0), state, keep)


class Forgetful(IF):
    """Changes the state it was given."""

    def initial(self, sample):
        return State(super().initial(sample).potential.clone())

    def step(self, current, state, keep):
        count, value, after = super().step(current, state, keep)
        state.potential.add_(current)
        return count, value, after


class Halved(IF):
    """Counts halves."""

    def step(self, current, state, keep):
        count, value, after = super().step(current, state, keep)
        return count / 2, value, after


class Overrated(IF):
    """Says that a spike carries more than it does."""

    def amplitude(self):
        return 2 * self.threshold


class Coarse(IF):
    """Computes in float32 whatever it is given."""

    def step(self, current, state, keep):
        return super().step(current.float(), State(state.potential.float()), keep)


class Leaky(IF):
    """Leaks, and does not say so."""

    def step(self, current, state, keep):
        return super().step(current, State(0.75 * state.potential), keep)


class Unstoppable(IF):
    """Fires where it is not to."""

    def step(self, current, state, keep):
        return super().step(current, state, None)


class Detached(IF):
    """Lets no gradient pass through the reset."""

    def step(self, current, state, keep):
        count, value, _ = super().step(current, state, keep)
        return count, value, State(state.potential + current - value.detach())


class Explosive(IF):
    """Takes the exponential of a current."""

    def step(self, current, state, keep):
        return super().step(current + 0 * current.exp(), state, keep)


NEURONS = [
    (Undescribed, "every parameter has a default and a description"),
    (Restless, "chunks of time change nothing"),
    (Sociable, "samples do not see each other"),
    (Forgetful, "nothing is hidden and nothing given is changed"),
    (Halved, "counts are integers up to the levels"),
    (Overrated, "the amplitude times the count is the value"),
    (Coarse, "the type of the currents is kept"),
    (Leaky, "what a membrane is given it keeps or puts out"),
    (Unstoppable, "a suppressed spike neither propagates nor resets"),
    (Detached, "gradients stay bounded however long the run"),
    (Explosive, "extreme currents give finite values and gradients"),
]


def breaks(method, law):
    asked = [case for case in laws(method) if case.law.name == law]
    assert asked
    return any(case.broken() for case in asked)


@pytest.mark.parametrize(("kind", "law"), NEURONS, ids=str)
def test_a_broken_neuron_breaks_its_law(kind, law):
    assert breaks(kind, law)


def test_each_law_of_neurons_is_broken_here():
    missing = {law.name for law in neuron_laws.KIND.laws} - {law for _, law in NEURONS}
    assert missing == {"the engine fires what the neuron fires"}  # by the next test


def test_a_fast_path_that_fires_something_else(monkeypatch):
    def another(neuron, currents, state, keep, wants):
        return neuron_laws_fire(neuron, currents * 2, state, keep, wants)

    neuron_laws_fire = neuron_laws.fire
    monkeypatch.setattr(neuron_laws, "fire", another)
    assert breaks(IF, "the engine fires what the neuron fires")


def test_a_sound_neuron_from_outside():
    class Own(IF):
        params_type = Params

    check_neuron(Own)


class NoParams(Parameters):
    pass


class Silent(Parameters):
    share: float = 1.0


def largest(histogram, params):
    return histogram.maximum.double()


STATISTICS = [
    (Statistic(Silent, largest), "every parameter has a default and a description"),
    (
        Statistic(NoParams, lambda h, p: 2 * largest(h, p)),
        "thresholds are positive and at most the maximum",
    ),
    (
        Statistic(NoParams, lambda h, p: largest(h, p).sqrt()),
        "a scaled site has a scaled threshold",
    ),
    (
        Statistic(NoParams, lambda h, p: largest(h, p) * torch.rand(len(h.maximum))),
        "the order of activations does not matter",
    ),
    (
        Statistic(NoParams, lambda h, p: largest(h, p).min().expand(len(h.maximum))),
        "channels do not see each other",
    ),
    (
        Statistic(NoParams, lambda h, p: largest(h, p).clamp(min=1e-3)),
        "a dead channel has no threshold",
    ),
    (
        Statistic(NoParams, lambda h, p: h.quantile(0.5, zeros=False), exact=True),
        "what is exact does not hang on bins",
    ),
]


@pytest.mark.parametrize(("statistic", "law"), STATISTICS, ids=[law for _, law in STATISTICS])
def test_a_broken_statistic_breaks_its_law(statistic, law):
    assert breaks(statistic, law)


class Counting(Metric):
    """The package's contract, kept: spikes of each layer."""

    added = ("spikes",)

    def __init__(self, setup):
        super().__init__(setup)
        self.spikes = 0.0

    def observe(self, name, start, output):
        self.spikes += float(output.counts.sum())

    def figures(self, found):
        return Figures({"spikes": self.spikes / self.samples})


class Infinite(Counting):
    def figures(self, found):
        return Figures({"spikes": float("inf")})


class Batched(Counting):
    """Divides by batches."""

    def __init__(self, setup):
        super().__init__(setup)
        self.batches = 0

    def begin(self, batch):
        super().begin(batch)
        self.batches += 1

    def figures(self, found):
        return Figures({"spikes": self.spikes / self.batches})


class Calls(Counting):
    """Counts how often it is called for each sample."""

    def observe(self, name, start, output):
        self.spikes += output.counts.shape[1]


class First(Counting):
    """Takes the first sample of all for something special."""

    def begin(self, batch):
        if not self.samples:
            self.spikes = float(batch.labels[0])
        super().begin(batch)

    def observe(self, name, start, output):
        pass


class Layout(Counting):
    """Depends on where values lie."""

    def observe(self, name, start, output):
        self.spikes += output.counts.stride(-1) * output.counts.shape[1]


class Boolean(Counting):
    """Takes a count of any size for one, at the last step of a chunk."""

    def observe(self, name, start, output):
        last = output.counts[-1] if (output.counts > 1).any() else output.counts
        self.spikes += float(last.sum())


class Lopsided(Counting):
    """Says that it needs sums only, and looks whether there are counts."""

    counted = False

    def observe(self, name, start, output):
        self.spikes += output.counts is not None


METRICS = [
    (Infinite, "figures are finite and can be written"),
    (Batched, "batches change no figure"),
    (Calls, "chunks of time change no figure"),
    (First, "the order of samples changes no figure"),
    (Layout, "the memory layout changes no figure"),
    (Boolean, "batches and chunks change no figure of neurons with levels"),
    (Lopsided, "figures are the same of sums and of counts"),
]


@pytest.mark.parametrize(("metric", "law"), METRICS, ids=str)
def test_a_broken_metric_breaks_its_law(metric, law):
    assert breaks(metric, law)


def test_a_sound_statistic_and_metric_from_outside():
    check_statistic(Statistic(NoParams, largest, exact=True))
    check_metric(Counting)
