"""Each law is broken by some method: what can't fail is no law."""

import copy

import pytest
import torch

from snnconv.calibration.histogram import Statistic
from snnconv.core.metadata import DataInfo, Parameters
from snnconv.corrections.base import SiteCorrection, channel_means
from snnconv.data.dataset import Dataset
from snnconv.data.split import ArraySplit
from snnconv.errors import CheckFailedError, Obstacle
from snnconv.exports.base import Export, RunResult
from snnconv.metrics.base import Figures, Metric
from snnconv.neurons.base import NeuronParams
from snnconv.neurons.if_ import IF, Params, State
from snnconv.simulation.simulate import simulate
from snnconv.testing import (
    check_correction,
    check_dataset,
    check_export,
    check_metric,
    check_neuron,
    check_statistic,
    laws,
)
from snnconv.testing import corrections as correction_laws
from snnconv.testing import datasets as dataset_laws
from snnconv.testing import exports as export_laws
from snnconv.testing import metrics as metric_laws
from snnconv.testing import neurons as neuron_laws
from snnconv.testing import statistics as statistic_laws


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
        "what is exact does not depend on bins",
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


class Share(SiteCorrection):
    """The package's contract, kept: a share of what channels' means lack."""

    params_type = NoParams

    def at(self, site):
        return {"current": (channel_means(site.ann) - channel_means(site.output({}))) / 2}


class SilentShare(Share):
    params_type = Silent


class Divided(Share):
    """Divides zero by zero."""

    def at(self, site):
        return {"current": super().at(site)["current"] / 0}


class Drawn(Share):
    """Depends on torch's random state."""

    def at(self, site):
        return {"current": super().at(site)["current"] * torch.rand(1)}


class Batched(Share):
    """Looks at the samples that are simulated first."""

    def at(self, site):
        return super().at(site.of(slice(site.at_once or None)))


class Doubling(Share):
    """Changes the samples it was given."""

    def fit(self, checkpoint, samples, advance):
        samples.x.mul_(2)
        return super().fit(checkpoint, samples, advance)


class Opposite(Share):
    """Adds where something is to be taken off."""

    def at(self, site):
        return {"current": -4 * super().at(site)["current"]}


class Everywhere(SiteCorrection):
    """Adds the same to everything."""

    params_type = NoParams

    def at(self, site):
        return {"current": torch.ones(site.ann.shape[1]) / 2}


class ForAll(Share):
    """Says that currents of single steps hold for any number of steps."""

    of_one_timesteps = False

    def at(self, site):
        return {"current": super().at(site)["current"].expand(site.timesteps, -1)}


class Early(Share):
    """Takes it that all neurons can be given one step alone."""

    def at(self, site):
        if not site.neuron.causal:
            raise CheckFailedError("it can't be done", "a neuron that waits", "take another")
        return super().at(site)


class Mute(Share):
    """Tells nobody of its progress."""

    def fit(self, checkpoint, samples, advance):
        return super().fit(checkpoint, samples, lambda sites: None)


CORRECTIONS = [
    (SilentShare, "every parameter has a default and a description"),
    (Divided, "what is found is finite and can be kept in a file"),
    (Drawn, "the same samples give the same tensors"),
    (Batched, "the division of the samples changes nothing"),
    (Doubling, "nothing that was given is changed"),
    (Opposite, "means or outputs come nearer to the ann"),
    (Everywhere, "what is right already stays"),
    (ForAll, "another timesteps runs or is refused by name"),
    (Early, "what is not refused can be corrected"),
    (Everywhere, "corrections follow each other"),
    (Mute, "progress counts every site"),
]


@pytest.mark.parametrize(("kind", "law"), CORRECTIONS, ids=str)
def test_a_broken_correction_breaks_its_law(kind, law):
    assert breaks(kind, law)


class Thetas(Export):
    """The package's contract, kept: a table of thresholds, with which the referee simulates."""

    suffix = ".csv"
    referee = "this tool, with the thresholds of the file"

    def obstacles(self, subject):
        return []

    def files(self, subject, stem):
        neurons = subject.network.neurons.items()
        return {".csv": "".join(f"{n},{float(x.threshold)}\n" for n, x in neurons).encode()}

    def run(self, file, subject, x, samples, timesteps, chunk):
        rows = dict(line.split(",") for line in file.read_text().splitlines() if "," in line)
        if rows.keys() != subject.network.neurons.keys():
            raise CheckFailedError("the table can't be read", "sites are missing", "export again")
        network = copy.deepcopy(subject.network)
        for name, neuron in network.neurons.items():
            neuron.threshold.fill_(float(rows[name]))
        return RunResult(simulate(network, x, samples, timesteps, chunk), {})


class SilentThetas(Thetas):
    params_type = Silent


class Misnamed(Thetas):
    suffix = ".table"


class Counted(Thetas):
    """Says in the file how many it has written."""

    written = 0

    def files(self, subject, stem):
        Counted.written += 1
        return {".csv": super().files(subject, stem)[".csv"] + f"# {self.written}\n".encode()}


class Rounded(Thetas):
    """Says half of what it is given."""

    def run(self, *given):
        return RunResult(super().run(*given).logits / 2, {})


class Sham(Thetas):
    """Has a referee that never looks at the file."""

    def run(self, file, subject, x, samples, timesteps, chunk):
        return RunResult(simulate(subject.network, x, samples, timesteps, chunk), {})


class Wordless(Thetas):
    """Says that something is in the way, and not what to do."""

    def obstacles(self, subject):
        return [Obstacle("neuron", "it waits", "")] if not subject.network.causal else []


EXPORTS = [
    (SilentThetas, "every parameter has a default and a description"),
    (Misnamed, "the named file comes first"),
    (Counted, "equal networks give equal bytes"),
    (Rounded, "the referee finds the same logits"),
    (Sham, "the referee reads what was written"),
    (Wordless, "what is no obstacle is written"),
]


@pytest.mark.parametrize(("kind", "law"), EXPORTS, ids=str)
def test_a_broken_export_breaks_its_law(kind, law):
    assert breaks(kind, law)


class Stripes(ArraySplit):
    """Five samples of two classes."""

    def __init__(self, labels=(0, 1, 0, 1, 1), tokens=False):
        grid = torch.arange(5 * 2 * 3).reshape(5, 2, 3)
        super().__init__(grid % 4 if tokens else grid, torch.tensor(labels), 1 if tokens else 30)


def stripes(split=Stripes, **changes):
    facts = {"spec": "stripes", "shape": (2, 3), "classes": ("a", "b"), "mean": (0,), "std": (1,)}
    return Dataset(DataInfo(**facts | changes), split(), split())


def texts(*words):
    return stripes(lambda: Stripes(tokens=True), vocabulary=words)


class Chance(Stripes):
    """Noise that nobody has seeded."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "pixels", torch.rand(5, 2, 3))


class Neighbours(Stripes):
    """Scales a batch by its own largest value."""

    def images(self, indices):
        x = super().images(indices)
        return x / x.amax()


class Handed(Stripes):
    """Hands out the memory that it reads from."""

    def images(self, indices):
        return self.pixels.float().copy_(self.pixels / 30) if len(indices) != 5 else self.whole

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "whole", self.pixels / 30)


DATASETS = [
    (lambda: stripes(Chance), "reading again gives the same"),
    (lambda: stripes(shape=(3, 2)), "samples are as the metadata say"),
    (lambda: stripes(Neighbours), "a sample does not depend on the others"),
    (lambda: stripes(Handed), "samples can be overwritten"),
    (lambda: stripes(lambda: Stripes((0, 1, 2, 1, 0))), "classes have names"),
    (
        lambda: stripes(lambda: Stripes(tokens=True), vocabulary=("a",)),
        "tokens are numbers of words",
    ),
]


@pytest.mark.parametrize(("read", "law"), DATASETS, ids=[law for _, law in DATASETS])
def test_a_broken_data_set_breaks_its_law(read, law):
    assert breaks(read, law)


def test_a_sound_data_set_from_outside():
    check_dataset(stripes)
    check_dataset(lambda: texts("a", "b"))


def test_a_sound_correction_and_export_from_outside():
    check_correction(Share)
    check_export(Thetas)


@pytest.mark.parametrize(
    ("room", "broken"),
    [
        (statistic_laws, STATISTICS),
        (correction_laws, CORRECTIONS),
        (metric_laws, METRICS),
        (export_laws, EXPORTS),
        (dataset_laws, DATASETS),
    ],
)
def test_each_law_of_a_room_is_broken_here(room, broken):
    assert {law.name for law in room.KIND.laws} == {law for _, law in broken}
