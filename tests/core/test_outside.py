"""Methods from outside the package: from a file, from a module, from an installed distribution."""

import json
import sys

import pytest
from helpers.commands import done

import snnconv
from snnconv.core.names import network_name
from snnconv.core.registry import CONSENT
from snnconv.data.dataset import DATASETS
from snnconv.errors import CheckpointError, ExitCode, UsageError
from snnconv.metrics.base import METRICS
from snnconv.neurons.base import NEURONS
from snnconv.stages.listing import listing

MINE = '''
from snnconv.calibration.histogram import Statistic
from snnconv.core.metadata import Parameters
from snnconv.metrics.base import Figures, Metric
from snnconv.neurons.if_ import IF


class Mine(IF):
    """IF neurons under another name."""


class None_(Parameters):
    """No parameters."""


HALF = Statistic(None_, lambda histogram, params: histogram.maximum.double() / 2)


class Total(Metric):
    """All spikes of a sample."""

    total = 0.0

    def observe(self, name, start, spikes):
        self.total += float(spikes.counts.sum())

    def figures(self, found):
        return Figures({"spikes_seen_per_sample": self.total / self.samples})


class Unfinished(Metric):
    """Without figures."""


NUMBER = 3
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a user's methods, in which nothing was named yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.delenv(CONSENT, raising=False)
    NEURONS.named.clear()
    yield tmp_path
    NEURONS.named.clear()
    METRICS.named.clear()
    DATASETS.named.clear()


@pytest.fixture
def converted(folder):
    snnconv.calibrate(method="mine.py:HALF", samples=32)
    snnconv.convert(neuron="mine.py:Mine", timesteps=4)
    return folder / "snnconv-run" / "converted.safetensors"


def test_a_users_methods_go_from_calibration_to_evaluation(converted):
    assert converted.with_name("calibrated-HALF-channel.safetensors").exists()
    assert converted.with_name("converted-Mine-HALF-channel-T4.safetensors").exists()
    report = snnconv.evaluate(limit=20, metric=("accuracy", "firing-rate", "mine.py:Total"))
    assert report.neuron == "mine.py:Mine"
    assert report.label == "MINE HALF channel"
    assert report.model_extra["spikes_seen_per_sample"] == pytest.approx(report.spikes_per_sample)
    assert {"mine.py"} <= {entry.path for entry in report.lineage.inputs}
    snnconv.convert(neuron="if", timesteps=4)
    again = snnconv.evaluate(limit=20, metric=("accuracy", "firing-rate"))
    assert (again.accuracy, again.spikes_per_sample) == (report.accuracy, report.spikes_per_sample)


def test_a_checkpoint_runs_no_code_unless_the_user_names_it(converted, monkeypatch):
    NEURONS.named.clear()  # as in another process
    (converted.parents[1] / "mine.py").write_text("raise SystemExit('this code was run')")
    with pytest.raises(CheckpointError) as caught:
        snnconv.load(converted)
    assert "mine.py:Mine" in caught.value.problem
    assert f"export {CONSENT}='mine.py:Mine'" in caught.value.remedy
    monkeypatch.setenv(CONSENT, "other.py:Mine,mine.py:Mine")
    with pytest.raises(CheckpointError, match="this code was run"):
        snnconv.load(converted)
    (converted.parents[1] / "mine.py").write_text(MINE)
    assert snnconv.load(converted).spiking.neuron == "mine.py:Mine"


SETS = """
from pathlib import Path

import torch

from snnconv import ArraySplit, DataInfo, Dataset

Path("run.txt").write_text("this code was run")


def stripes(size=6):
    labels = torch.arange(40) % 2
    lines = (torch.arange(size) % 2).float().expand(size, size)
    images = torch.stack([lines if label else lines.T for label in labels])[:, None]
    info = DataInfo(
        spec="stripes", shape=(1, size, size), classes=("a", "b"), mean=(0.5,), std=(0.5,)
    )
    return Dataset(info, ArraySplit(images, labels, 1.0), ArraySplit(images, labels, 1.0))
"""


def test_a_checkpoint_runs_no_code_of_its_data_unless_the_user_names_it(folder, monkeypatch):
    (folder / "sets.py").write_text(SETS)
    spec, options = "sets.py:stripes?size=8", {"run": folder / "r"}
    snnconv.train("mlp", data=spec, epochs=1, batch_size=8, **options)
    snnconv.calibrate(samples=8, **options)  # named in this process
    snnconv.convert(timesteps=2, **options)
    DATASETS.named.clear()  # as in another process
    ran = folder / "run.txt"
    ran.unlink()
    with pytest.raises(CheckpointError, match="needs the code of data set") as caught:
        snnconv.evaluate(**options)
    assert caught.value.code == ExitCode.CHECKPOINT
    assert f"give --data '{spec}', or export {CONSENT}='sets.py:stripes'" in caught.value.remedy
    assert not ran.exists()
    assert snnconv.inspect(**options).data["spec"] == spec  # reads no samples
    assert not ran.exists()
    monkeypatch.setenv(CONSENT, "sets.py:stripes")
    allowed = snnconv.evaluate(**options)
    monkeypatch.delenv(CONSENT)
    DATASETS.named.clear()
    assert snnconv.evaluate(data=spec, **options).accuracy == allowed.accuracy


def test_a_recipe_that_skips_a_conversion_still_names_its_neuron_and_its_data(folder):
    (folder / "sets.py").write_text(
        "from snnconv.data.dataset import load_dataset\n\n\n"
        "def digits():\n    return load_dataset('digits')\n"
    )
    (folder / "recipe.toml").write_text(
        "[calibrate]\nsamples = 32\ndata = 'sets.py:digits'\n"
        "[convert]\nneuron = 'mine.py:Mine'\ntimesteps = 4\n"
        "[evaluate]\nlimit = 20\nmetric = ['accuracy']\n"
    )
    outcomes = []
    for extra in ([], ["--set", "evaluate.limit=10"]):
        NEURONS.named.clear(), DATASETS.named.clear()  # as in another process
        report = json.loads(done("run", "recipe.toml", "--json", *extra).out)
        outcomes.append([step["outcome"] for step in report["steps"]])
    assert outcomes == [["run"] * 3, ["skipped", "skipped", "run"]]


@pytest.mark.parametrize(
    ("registry", "name", "said"),
    [
        (NEURONS, "mine.py:Min", "mine.py has no neuron 'Min'"),
        (NEURONS, "mine.py:NUMBER", "3, which is no subclass of snnconv.neurons.base.Neuron"),
        (NEURONS, "mine.py:HALF", "which is no subclass of snnconv.neurons.base.Neuron"),
        (NEURONS, "yours.py:Mine", "no such file"),
        (NEURONS, "no.module:Mine", "can't be imported"),
        (METRICS, "mine.py:Unfinished", "a class without figures"),
        (METRICS, "broken.py:Total", "SyntaxError"),
    ],
)
def test_what_can_not_be_used_says_why(folder, registry, name, said):
    (folder / "broken.py").write_text("class")
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        registry.load(name)
    assert name not in registry.named


@pytest.fixture
def installed(folder, monkeypatch):
    """A distribution with entry points, as pip would install it."""
    site = folder / "site"
    info = site / "theirs-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[snnconv.neurons]\nMy_Own = theirs_neurons:Mine\nif = theirs_neurons:Mine\n"
    )
    (site / "theirs_neurons.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("theirs_neurons", None)


def test_an_installed_package_adds_methods_and_replaces_none(installed):
    rows = {item.name: item.summary for item in listing("neurons").items}
    assert rows["my-own"] == "theirs_neurons:Mine, installed with theirs 1.2"
    assert rows["if"] == "Integrate-and-fire neuron with soft reset."
    assert "theirs_neurons" not in sys.modules
    assert NEURONS.load("if").__module__ == "snnconv.neurons.if_"
    assert NEURONS.recall("my-own").__name__ == "Mine"


def test_one_name_of_two_packages_is_refused(installed, folder):
    info = folder / "site" / "others-3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 3\n")
    (info / "entry_points.txt").write_text("[snnconv.neurons]\nmy-own = others:Mine\n")
    with pytest.raises(UsageError, match="means more than one"):
        NEURONS.load("my-own")


def test_labels_and_files_have_the_short_name():
    name = network_name(
        "models/mine.py:Mine", {"method": "stats.own:HALF", "params": {}}, ["convert"]
    )
    assert name.label == "MINE HALF"
    assert name.stem("converted", 4) == "converted-Mine-HALF-T4"
