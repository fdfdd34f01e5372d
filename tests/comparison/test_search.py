"""``convert --within``: the cheapest network that is close enough, chosen on held-out samples."""

import csv
import json
import shutil
from itertools import product

import numpy as np
import pytest
import torch
from helpers.commands import done as finished
from helpers.commands import here
from helpers.commands import refused as refuses

import snnconv
from snnconv.checkpoint import load
from snnconv.comparison.candidates import Candidates
from snnconv.comparison.held_out import Draw, HeldOut, draws, held_out, left
from snnconv.comparison.trial import measure
from snnconv.config import ConvertConfig
from snnconv.config.presets import CONVERSIONS
from snnconv.core.metadata import LineageStep
from snnconv.data.dataset import load_dataset
from snnconv.data.split import digest, subset
from snnconv.errors import ExitCode
from snnconv.stages.session import Session

METHODS = "percentile,qcfs-free,signed,signed-4,lm-ht-uniform,calibration-light"
SEARCH = ("--within", 1.5, "--methods", METHODS, "--held-out", 150, "--max-timesteps", 8)
CALIBRATED = 256


def done(*words):
    """The report of a command."""
    return json.loads(finished(*words, "--json").out)


def chosen(report):
    (row,) = [row for row in report["search"]["trials"] if row["outcome"] == "chosen"]
    return row


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    run = tmp_path_factory.mktemp("calibrated")
    done("calibrate", "--samples", CALIBRATED, "--run", run)
    return run / "calibrated.safetensors"


@pytest.fixture(scope="module")
def searched(calibrated, tmp_path_factory):
    """A folder, and the report of a search in it."""
    run = tmp_path_factory.mktemp("searched")
    return run, done("convert", calibrated, *SEARCH, "--run", run)


@pytest.fixture(scope="module")
def order():
    """The held-out samples of the search, by hand."""
    labels = load_dataset("digits").train.labels
    taken = set(subset(labels, CALIBRATED, 0).tolist())
    rest = torch.tensor([index for index in range(len(labels)) if index not in taken])
    return rest[subset(labels[rest], 150, 0)]


def test_the_report(searched, order):
    run, report = searched
    assert report == json.loads((run / "convert.json").read_text())
    found = report["search"]
    assert found["reached"]
    assert found["measured"] == "accuracy"
    assert (found["points"], found["cost"], found["samples"]) == (1.5, "energy", 150)
    assert found["samples_sha256"] == digest(order.sort().values)
    row = chosen(report)
    assert (found["method"], report["timesteps"]) == (row["method"], row["timesteps"])
    assert row["samples"] == 150
    assert row["points_below"] <= 1.5
    for each in found["trials"]:
        if each["samples"] == 150 and each["points_below"] <= 1.5:
            assert each["energy_total_mj"] >= row["energy_total_mj"]
            assert each["outcome"] in ("chosen", "within")
        if each["outcome"] == "dearer":
            assert each["energy_total_mj"] > row["energy_total_mj"]


def by_hand(calibrated, run, method, T):
    """A network of the search by the commands that a user would type."""
    recalibrate = {"percentile": ("--method", "percentile", "--granularity", "layer")}
    neuron = {
        "signed": ("--neuron", "signed"),
        "signed-4": ("--neuron", "signed", "--param", "spikes=4"),
        "lm-ht-uniform": ("--neuron", "lm-ht", "--param", "levels=2"),
    }
    if method in recalibrate:
        again = ("--samples", CALIBRATED, "--run", run)
        done("calibrate", *recalibrate[method], *again)
        calibrated = run / "calibrated.safetensors"
    done("convert", calibrated, *neuron.get(method, ()), "--timesteps", T, "--run", run)
    if method == "calibration-light":
        done("correct", "--run", run)
        return run / "corrected.safetensors"
    return run / "converted.safetensors"


def test_what_is_written_is_what_the_stages_give_by_hand(searched, calibrated, tmp_path):
    run, report = searched
    row = chosen(report)
    file = by_hand(calibrated, tmp_path, row["method"], row["timesteps"])
    hand, found = load(file), load(run / "converted.safetensors")
    assert found.kind == "converted"
    assert found.tensors().keys() == hand.tensors().keys()
    assert all(torch.equal(tensor, hand.tensors()[key]) for key, tensor in found.tensors().items())
    assert (found.spiking, found.calibrated) == (hand.spiking, hand.calibrated)
    assert [step.stage for step in found.lineage] == [step.stage for step in hand.lineage]


@pytest.mark.parametrize("method", ["percentile", "signed-4", "lm-ht-uniform", "calibration-light"])
def test_shares_are_those_of_predictions(searched, calibrated, order, tmp_path, method):
    """By ``predict`` on the training split, sample by sample."""
    rows = [row for row in searched[1]["search"]["trials"] if row["method"] == method]
    row = max(rows, key=lambda row: row["samples"])
    file = by_hand(calibrated, tmp_path, method, row["timesteps"])
    done("predict", file, "--split", "train", "--run", tmp_path)
    table = list(csv.DictReader((tmp_path / "predict.csv").open()))
    random = order[torch.randperm(150, generator=torch.Generator().manual_seed(0))]
    of = [table[index] for index in random[: row["samples"]].tolist()]
    right = sum(each["label"] == each["prediction"] for each in of)
    assert row["share"] == pytest.approx(right / row["samples"], abs=1e-12)


def test_costs_are_those_of_an_evaluation(searched, calibrated, order, tmp_path):
    """Of a data set whose test samples are the held-out ones."""
    report = searched[1]
    row = chosen(report)
    data = load_dataset("digits")
    images, labels = data.train.images(order).numpy(), data.train.labels[order].numpy()
    norm = {"mean": np.array(data.info.mean), "std": np.array(data.info.std)}
    file = tmp_path / "held.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels, **norm)
    network = by_hand(calibrated, tmp_path, row["method"], row["timesteps"])
    found = done("evaluate", network, "--data", f"npz:{file}", "--run", tmp_path)
    assert found["accuracy"][-1] == pytest.approx(row["share"], abs=1e-12)
    assert found["energy_total_mj"] == pytest.approx(row["energy_total_mj"], rel=1e-9)
    assert found["energy_total_ratio"] == pytest.approx(row["energy_total_ratio"], rel=1e-9)
    assert found["spikes_per_sample"] == pytest.approx(row["spikes_per_sample"], rel=1e-9)


def test_no_network_of_the_grid_is_cheaper(searched, calibrated, tmp_path):
    """Every method at every T, measured whole: what was given up or left out could not win."""
    row = chosen(searched[1])
    config = ConvertConfig(within=1.5, held_out=150, run=tmp_path)
    ann, data = load(calibrated), load_dataset("digits")
    candidates = Candidates(config, calibrated, ann, tmp_path)
    order = left(data.train.labels, [Draw(CALIBRATED, 0)], 150, 0)
    held = held_out(ann, data, order, 100, torch.device("cpu"), lambda done: None)
    session = Session(config)
    found = []
    for name, T in product(METHODS.split(","), (1, 2, 4)):
        _, options = candidates.run_stages(name, CONVERSIONS.load(name), T)[-1]
        trial = measure(load(options.out), name, held, session, config, lambda *_: "")
        assert trial.samples == 150
        if trial.ann_right - trial.right <= 1.5 / 100 * 150:
            found.append(trial.costs.energy_mj)
    assert min(found) == pytest.approx(row["energy_total_mj"], rel=1e-12)


# The test split

MADE = """
import torch
from snnconv import ArraySplit, Dataset
from snnconv.data.dataset import load_dataset

class Shut:
    def __init__(self, labels):
        self.labels = labels
    def images(self, indices):
        raise AssertionError("somebody looked at the test split")

def make(test="same"):
    data = load_dataset("digits")
    found = {"same": data.test, "other": data.train, "shut": Shut(data.test.labels)}[test]
    if test == "other":
        n = len(data.train.labels)
        found = ArraySplit(torch.rand(n, 1, 8, 8), data.train.labels.flip(0), 1.0)
    return Dataset(data.info, data.train, found)
"""


def test_it_never_looks_at_the_test_split(calibrated, tmp_path):
    (tmp_path / "made.py").write_text(MADE)
    words = ("--within", 1.5, "--methods", "percentile,signed-4,calibration-light")
    words += ("--held-out", 60, "--max-timesteps", 2)
    reports = []
    for test in ("same", "other", "shut"):
        run = tmp_path / test
        data = f"{tmp_path / 'made.py'}:make?test={test}"
        reports.append(done("convert", calibrated, *words, "--data", data, "--run", run))
    one, *others = reports
    content = load(tmp_path / "same" / "converted.safetensors").tensors()
    for other, name in zip(others, ("other", "shut"), strict=True):
        assert other["search"] == one["search"]
        found = load(tmp_path / name / "converted.safetensors").tensors()
        assert all(torch.equal(tensor, content[key]) for key, tensor in found.items())


# What is asked for


def test_none_is_close_enough(calibrated, tmp_path):
    words = ("--within", 0, "--methods", "rmp,percentile", "--max-timesteps", 2)
    result = here("convert", calibrated, *words, "--held-out", 60, "--run", tmp_path, "--json")
    assert result.code == ExitCode.CHECK_FAILED
    report = json.loads(result.out)
    found = report["search"]
    assert not found["reached"]
    whole = [row for row in found["trials"] if row["samples"] == 60]
    assert chosen(report)["share"] == max(row["share"] for row in whole)
    assert "no network is within 0 points" in report["warnings"][0]
    assert "snnconv finetune" in report["warnings"][0]
    assert load(tmp_path / "converted.safetensors").spiking.timesteps == report["timesteps"]


def test_least_latency(calibrated, tmp_path):
    words = (*SEARCH, "--cost", "latency", "--run", tmp_path)
    report = done("convert", calibrated, *words)
    near = [row for row in report["search"]["trials"] if row["outcome"] in ("chosen", "within")]
    assert chosen(report)["latency_steps"] == min(row["latency_steps"] for row in near)
    assert (
        max(row["timesteps"] for row in report["search"]["trials"])
        == (chosen(report)["latency_steps"])
    )


@pytest.mark.parametrize(
    ("allow", "methods"),
    [
        ("none", {"percentile", "qcfs-free", "calibration-light"}),
        ("signed", {"percentile", "qcfs-free", "calibration-light", "signed"}),
        ("levels,signed", {"percentile", "qcfs-free", "calibration-light", "signed", "signed-4"}),
    ],
)
def test_only_what_is_allowed_is_tried(calibrated, tmp_path, allow, methods):
    words = ("--within", 0.5, "--methods", METHODS, "--held-out", 60, "--max-timesteps", 2)
    result = here("convert", calibrated, *words, "--allow", allow, "--run", tmp_path, "--json")
    found = json.loads(result.out)["search"]
    tried = {row["method"] for row in found["trials"]}
    assert tried - {"lm-ht-uniform"} <= methods
    if allow == "levels,signed":  # at one step it waits for nothing
        assert {r["timesteps"] for r in found["trials"] if r["method"] == "lm-ht-uniform"} == {1}
    else:
        assert found["left_out"]["signed-4"].endswith("is not allowed")


def test_without_labels_the_ann_is_the_measure(tmp_path):
    file = tmp_path / "plain.npz"
    x = load_dataset("digits").train.images(torch.arange(400)).numpy()
    zeros = np.zeros(len(x), dtype=int)
    names = np.array([str(n) for n in range(10)])
    np.savez(file, x_train=x, y_train=zeros, x_test=x, y_test=zeros, classes=names)
    done("calibrate", "--data", f"npz:{file}", "--samples", 200, "--run", tmp_path)
    words = ("--within", 5, "--methods", "signed-4,percentile", "--held-out", 100)
    report = done("convert", *words, "--run", tmp_path)
    found = report["search"]
    assert found["measured"] == "agreement"
    assert found["why_agreement"] == "all samples have one label"
    assert found["ann_accuracy"] is None
    assert "agrees with its ANN" in report["warnings"][0]
    row = chosen(report)
    assert row["points_below"] == pytest.approx(100 * (1 - row["share"]))
    assert row["share"] >= 0.95


def test_an_ann_near_chance_is_the_measure_too(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n    torch.manual_seed(0)\n"
        "    layers = nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)\n"
        "    return nn.Sequential(*layers)\n"
    )
    words = ("--data", "digits", "--samples", 200, "--run", tmp_path)
    done("calibrate", f"{file}:make", *words)
    report = done("convert", "--within", 20, "--methods", "signed-4", "--run", tmp_path)
    assert report["search"]["measured"] == "agreement"
    assert "near chance" in report["search"]["why_agreement"]


def test_thresholds_that_were_trained_stay(tmp_path):
    train = ("train", "mlp?width=0.25", "--activation", "qcfs", "--levels", 4, "--epochs", 3)
    done(*train, "--run", tmp_path)
    words = ("--within", 3, "--methods", "qcfs-free,percentile,signed", "--max-timesteps", 8)
    report = json.loads(here("convert", *words, "--run", tmp_path, "--json").out)
    assert report["thresholds"] == "trained"
    assert report["search"]["left_out"]["percentile"] == "gives the same network as qcfs-free"


def test_in_a_recipe(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'run = "{tmp_path / "run"}"\n[calibrate]\nsamples = 200\n[convert]\nwithin = 3\n'
        'methods = "signed-4,calibration-light"\nheld_out = 60\n'
        "[evaluate]\nlimit = 40\n"
    )
    first = done("run", recipe)
    assert [step["outcome"] for step in first["steps"]] == ["run"] * 3
    again = done("run", recipe)
    assert [step["outcome"] for step in again["steps"]] == ["skipped"] * 3
    found = json.loads((tmp_path / "run" / "convert.json").read_text())
    evaluated = json.loads((tmp_path / "run" / "evaluate.json").read_text())
    assert evaluated["timesteps"] == found["timesteps"]
    failing = done("run", recipe, "--set", "convert.within=100")
    assert [step["outcome"] for step in failing["steps"]][:2] == ["skipped", "run"]


def test_a_recipe_ends_where_no_network_is_close_enough(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'run = "{tmp_path / "run"}"\n[calibrate]\nsamples = 200\n[convert]\nwithin = 0\n'
        'methods = "rmp"\nheld_out = 60\nmax_timesteps = 1\n[evaluate]\nlimit = 40\n'
    )
    result = here("run", recipe)
    assert result.code == ExitCode.CHECK_FAILED
    assert "no network is within 0 points" in result.err
    assert not (tmp_path / "run" / "evaluate.json").exists()


def test_in_python(calibrated, tmp_path):
    report = snnconv.convert(
        calibrated,
        within=3,
        methods="signed-4",
        held_out=60,
        allow=["signed", "levels"],
        run=tmp_path,
    )
    assert report.search.reached
    assert report.search.method == "signed-4"
    assert snnconv.load(tmp_path / "converted.safetensors").spiking.neuron == "signed"


def test_a_network_with_corrections_is_a_converted_one(calibrated, tmp_path):
    words = ("--within", 30, "--methods", "calibration-light", "--held-out", 60)
    report = done("convert", calibrated, *words, "--run", tmp_path)
    assert [made["method"] for made in report["corrections"]] == ["bias"]
    checkpoint = load(tmp_path / "converted.safetensors")
    assert checkpoint.kind == "converted"
    assert [made.method for made in checkpoint.corrected] == ["bias"]
    found = done("evaluate", "--limit", 40, "--run", tmp_path)
    assert [made["method"] for made in found["corrections"]] == ["bias"]


def test_nothing_is_left_beside_it(searched):
    run, _ = searched
    assert not [file for file in run.iterdir() if file.name.startswith(".")]


# What can't be used


@pytest.mark.parametrize(
    ("words", "found", "remedy"),
    [
        (("--cost", "latency"), "latency", "--within"),
        (("--max-timesteps", 4), "4", "--within"),
        (("--within", 1, "--neuron", "msat"), "msat", "--within"),
        (("--within", 1, "--timesteps", 4), "4", "--within"),
        (("--within", 1, "--coding", "differential"), "differential", "--within"),
        (("--within", 1, "--allow", "negative"), "negative", "signed, levels, waiting"),
        (("--within", -1), "-1", "0 or more"),
        (("--within", 1, "--max-timesteps", 0), "0", "1 or more"),
        (("--within", 1, "--methods", "singed"), "singed", "signed"),
    ],
)
def test_options_that_can_not_be_taken(calibrated, tmp_path, words, found, remedy):
    run = tmp_path / "run"
    refuses(here("convert", calibrated, *words, "--run", run), ExitCode.USAGE, "", found, remedy)
    assert not list(run.glob("*"))


def test_no_samples_are_left(tmp_path):
    done("calibrate", "--samples", 5000, "--run", tmp_path)
    result = here("convert", "--within", 1, "--run", tmp_path)
    refuses(
        result,
        ExitCode.USAGE,
        "no training samples are left",
        "all 1442 were calibrated on",
        "--samples",
    )


def test_a_preset_that_can_not_be_used_is_left_out(calibrated, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        "title = 'x'\nreference = 'y'\n[convert]\nneuron = 'msat'\nconfidence = 'nowhere'\n"
    )
    words = ("--within", 3, "--held-out", 60, "--run", tmp_path)
    report = done("convert", calibrated, "--methods", f"{own},signed-4", *words)
    assert "nowhere" in report["search"]["left_out"]["own"]
    result = here("convert", calibrated, "--methods", own, *words)
    refuses(result, ExitCode.UNSUPPORTED, "no method can be tried", "own", "--methods")


# Which samples


def test_what_stages_drew():
    def step(stage, **config):
        return LineageStep(stage=stage, parent=None, config=config)

    steps = [
        step("train", samples=5, seed=1),
        step("calibrate", samples=100, seed=3, data=None),
        step("calibrate", samples=50, seed=3, data="other"),
        step("convert", confidence="off", confidence_samples=7, seed=4),
        step("convert", confidence="last", confidence_samples=7, seed=4),
        step("correct", samples=9, seed=5),
    ]
    assert draws(steps, "own", "own") == [Draw(100, 3), Draw(7, 4), Draw(9, 5)]
    assert draws(steps, "other", "own") == [Draw(50, 3)]


def test_what_is_left_was_drawn_by_nobody():
    labels = torch.arange(300) % 7
    found = left(labels, [Draw(60, 0), Draw(40, 9)], 120, 5)
    taken = {*subset(labels, 60, 0).tolist(), *subset(labels, 40, 9).tolist()}
    assert len(found) == len(set(found.tolist())) == 120
    assert not taken & set(found.tolist())
    assert len(left(labels, [Draw(60, 0)], 1000, 5)) == 240


@pytest.mark.parametrize(
    ("right", "points", "needed"), [(100, 1, 99), (97, 0.5, 97), (97, 1, 96), (3, 50, 0)]
)
def test_how_many_are_needed(right, points, needed):
    n = torch.arange(100)
    held = HeldOut(None, n, n, n < right, "accuracy")
    assert held.needed(points) == needed


def test_the_page_says_what_was_tried(searched, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(searched[0], run)
    done("evaluate", "--limit", 40, "--run", run)
    done("report", "--run", run)
    page = (run / "report.html").read_text()
    section = page[page.index('<section id="s-search"') :]
    assert "within 1.5 points" in section
    for row in searched[1]["search"]["trials"]:
        assert f"{100 * row['share']:.2f}" in section


def test_the_terminal_says_what_was_tried(calibrated, tmp_path):
    words = ("--within", 30, "--methods", "signed-4,rmp", "--held-out", 60, "--run", tmp_path)
    said = finished("convert", calibrated, *words).out
    assert "signed-4 at T = 1" in said
    assert "within 30 points of the ANN" in said
    assert "on 60 held-out training samples" in said
    assert "too far below" in said


def test_what_trains_is_tried_if_it_is_named(calibrated, tmp_path):
    words = ("--within", 90, "--held-out", 60, "--max-timesteps", 1, "--allow", "none")
    found = done("convert", calibrated, *words, "--run", tmp_path / "all")["search"]
    assert "name it by --methods" in found["left_out"]["calibration-weights"]
    words += ("--methods", "calibration-weights,qcfs-free")
    found = done("convert", calibrated, *words, "--run", tmp_path / "named")["search"]
    assert {row["method"] for row in found["trials"]} == {"calibration-weights", "qcfs-free"}
