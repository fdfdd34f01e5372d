"""Tasks other than classification through all stages, from npz files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import done, here
from helpers.runs import InterruptedAt, finetuning

import snnconv
from snnconv.core.scores import Score
from snnconv.data.dataset import load_dataset
from snnconv.errors import ExitCode

NETS = """
from torch import nn
def maps(): return nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
def rows(outputs=1): return nn.Sequential(
    nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, outputs))
"""
LABELS = {
    "segmentation": lambda x: (x[:, 0] > 0.4).astype(np.uint8),
    "regression": lambda x: 3 * x.mean((1, 2, 3)),
    "multi-label": lambda x: (x[:, 0, 2, 2:6] > 0.4).astype(np.int64),
    "ranking": lambda x: x[:, 0, 3].mean(1),
    "none": None,
}
MODELS = {"segmentation": "nets.py:maps", "multi-label": "nets.py:rows?outputs=4"}
HEAD = {
    "segmentation": "mean-iou",
    "regression": "rmse",
    "multi-label": "mean-average-precision",
    "ranking": "rank-correlation",
    "none": "agreement",
}


def words_of(kind):
    """Return what a score is called within a sentence."""
    return Score(**kind).words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The digits with labels of each task."""
    made = tmp_path_factory.mktemp("tasks")
    (made / "nets.py").write_text(NETS)
    digits = load_dataset("digits")
    parts = [
        (split.pixels[:n].numpy() / 16).astype(np.float32)
        for split, n in ((digits.train, 300), (digits.test, 120))
    ]
    for task, labels in LABELS.items():
        held = dict(zip(("x_train", "x_test"), parts, strict=True))
        if labels:
            held |= {f"y_{name[2:]}": labels(x) for name, x in held.items()}
            np.savez(made / f"{task}.npz", **held)
        else:
            np.savez(made / f"{task}.npz", x=np.concatenate(parts))
    return made


@pytest.fixture(params=["segmentation", "regression", "multi-label", "ranking"])
def trained(request, folder, monkeypatch):
    """A task, and the folder of its run, converted."""
    monkeypatch.chdir(folder)
    task = request.param
    run, data = folder / f"run-{task}", f"npz:{task}.npz"
    if not run.exists():
        said = ("--task", task) if task == "ranking" else ()
        model = MODELS.get(task, "nets.py:rows")
        words = ("--epochs", "3", "--lr", "0.05", "--batch-size", "32", "--run", run)
        done("train", model, "--data", data, *said, *words)
        done("calibrate", "--samples", "100", "--run", run)
        done("convert", "--neuron", "signed", "--timesteps", "4", "--run", run)
    return task, run


def test_every_stage_follows_the_task(trained):
    task, run = trained
    name = HEAD[task]
    train = json.loads((run / "train.json").read_text())
    assert (train["task"], train["headline"]["name"]) == (task, name)
    assert train["accuracy"] is None
    report = json.loads(done("evaluate", "--run", run, "--json").out)
    assert (report["task"], report["score_kinds"][0]["name"]) == (task, name)
    assert report["accuracy"] is None
    assert report["ann_scores"][name] == pytest.approx(train["score"], rel=1e-5)
    steps = report["scores"][name]
    assert len(steps) == 4
    assert abs(steps[-1] - train["score"]) < abs(steps[0] - train["score"]) + 0.05
    parts = report["headline_parts"]["steps"]["4"]
    assert np.std(parts, ddof=1) / len(parts) ** 0.5 == pytest.approx(
        report["headline_errors"]["4"]
    )
    said = done("evaluate", "--run", run).out
    assert words_of(report["score_kinds"][0]) in said
    assert "accurate" not in said.replace("as accurate", "")
    page = done("report", "--run", run).out
    assert words_of(report["score_kinds"][0]) in page
    assert (run / "report.html").exists()


def test_predictions_have_the_tasks_columns(trained, tmp_path):
    task, run = trained
    out = tmp_path / "found.csv"
    report = json.loads(done("predict", "--run", run, "--limit", "9", "--out", out, "--json").out)
    table = list(csv.DictReader(out.read_text().splitlines()))
    assert (len(table), report["task"]) == (9, task)
    if task == "segmentation":
        with np.load(out.with_suffix(".npz")) as arrays:
            assert arrays["answers"].shape == (9, 8, 8)
        mean = np.mean([float(row["pixel-accuracy"]) for row in table])
        assert report["scores"]["pixel-accuracy"] == pytest.approx(mean)
    elif task == "regression":
        errors = [float(row["output 0"]) - float(row["label 0"]) for row in table]
        assert report["scores"]["rmse"] == pytest.approx(np.mean(np.square(errors)) ** 0.5)
    other = tmp_path / "unlabelled.csv"
    done("predict", "--data", "npz:none.npz", "--run", run, "--limit", "9", "--out", other)
    for row in csv.DictReader(other.read_text().splitlines()):
        assert row.keys() == {"sample"} if task == "segmentation" else row.keys() == table[0].keys()
        assert not any(value for name, value in row.items() if name.startswith("label"))


def test_finetuning_keeps_the_best_score(trained, tmp_path):
    _, run = trained
    words = ("--epochs", "2", "--lr", "0.01", "--out", tmp_path / "fine.safetensors")
    report = json.loads(done("finetune", "--run", run, *words, "--json").out)
    higher = report["headline"]["higher"]
    scores = [report["score_epoch0"], *(row["score"] for row in report["epochs"])]
    assert report["score_best"] == (max if higher else min)(scores)
    assert report["accuracy_best"] is None


def goes_on(checkpoint, data, folder):
    """Fine-tune whole, and cut short in the second epoch of two: the same bytes and scores."""
    whole, cut = folder / "whole", folder / "cut"
    given = {"checkpoint": checkpoint, "data": data, "epochs": 2, "limit": 90, "timesteps": None}
    given |= {"lr": 0.01, "batch_size": 30}
    wanted = finetuning(whole, **given)
    with pytest.raises(KeyboardInterrupt):
        finetuning(cut, InterruptedAt("epoch 2/2"), **given)
    found = finetuning(cut, resume=True, **given)
    assert (wanted.resumed_after, found.resumed_after) == (None, 1)
    for name in ("finetuned.safetensors", "finetuned-last.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    for name in ("task", "headline", "score_epoch0", "score_best", "scores_best"):
        assert getattr(found, name) == getattr(wanted, name)
    assert [row.score for row in found.epochs] == [row.score for row in wanted.epochs]
    return found


def test_a_training_that_was_cut_short_goes_on(trained, tmp_path):
    task, run = trained
    found = goes_on(run / "converted.safetensors", f"npz:{task}.npz", tmp_path)
    assert (found.task, found.headline.name) == (task, HEAD[task])


def test_a_training_without_labels_that_was_cut_short_goes_on(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    done("calibrate", "--data", "npz:none.npz", "--run", tmp_path, "--samples", "100")
    done("convert", "--neuron", "signed", "--timesteps", "1", "--run", tmp_path)
    found = goes_on(tmp_path / "converted.safetensors", "npz:none.npz", tmp_path)
    assert (found.task, found.headline.name) == ("none", "agreement")


def test_what_has_no_meaning_is_refused_by_name(trained):
    task, run = trained
    for words, found in (
        (("evaluate", "--metric", "accuracy"), "accuracy"),
        (("evaluate", "--expect-accuracy", "0.5"), "--expect-accuracy"),
        (("finetune", "--label-smoothing", "0.1"), "--label-smoothing"),
    ):
        result = here(*words, "--run", run)
        assert result.code == ExitCode.USAGE, result.err
        assert found in result.err
        assert f"'{task}'" in result.err
    if task in ("regression", "ranking"):
        result = here("convert", "--confidence", "last", "--run", run)
        assert result.code == ExitCode.USAGE
        assert "spike confidence" in result.err


def test_early_exit_follows_the_task(trained):
    """At its ends it is the simulation itself; numbers without a probability have none."""
    task, run = trained
    result = here("evaluate", "--run", run, "--exit", "margin=1", "--json")
    if task in ("regression", "ranking"):
        assert result.code == ExitCode.USAGE
        assert f"the task '{task}' has no early exit" in result.err
        assert "search for them with snnconv convert" in result.err
        return
    report = json.loads(result.out)
    found = report["early_exit"]
    assert found["samples_by_step"] == [0, 0, 0, report["samples"]]
    last = {name: steps[-1] for name, steps in report["scores"].items()}
    assert found["scores"] == pytest.approx(last)
    assert found["accuracy"] is None
    assert found["energy_total_mj"] == pytest.approx(report["energy_total_mj"])
    words = ("--exit", "margin=0", "--readout-from", "2")
    said = done("evaluate", "--run", run, *words).out
    assert words_of(report["score_kinds"][0]) in said


@pytest.mark.parametrize("trained", ["segmentation", "regression"], indirect=True)
def test_reparameterization_is_compared_by_the_tasks_score(trained, tmp_path):
    task, run = trained
    levels, single = tmp_path / "levels.safetensors", tmp_path / "single.safetensors"
    words = ("--neuron", "lm-ht", "--param", "levels=2", "--timesteps", "2", "--run", run)
    done("convert", *words, "--out", levels)
    words = (levels, "--run", run, "--limit", "80", "--out", single)
    report = json.loads(done("reparameterize", *words, "--json").out)
    assert (report["task"], report["headline"]["name"]) == (task, HEAD[task])
    assert report["score_after"] == pytest.approx(report["score_before"], rel=0.005)
    assert 0 <= report["before_against_after"] <= 1
    assert report["accuracy_before"] is report["before_and_after"] is None
    assert f"{words_of(report['headline'])}, 80 samples" in done("reparameterize", *words).out
    again = done("evaluate", single, "--run", run, "--limit", "80", "--json").out
    assert report["score_after"] == pytest.approx(json.loads(again)["scores"][HEAD[task]][-1])


@pytest.mark.parametrize("trained", ["segmentation", "regression"], indirect=True)
def test_a_comparison_follows_the_tasks_score(trained):
    task, run = trained
    words = ("--methods", "signed,percentile", "--timesteps", "2,4", "--limit", "60", "--run", run)
    report = json.loads(done("compare", *words, "--samples", "64", "--json").out)
    kind = report["headline"]
    assert (report["task"], kind["name"], report["ann_accuracy"]) == (task, HEAD[task], None)
    cells = [cell for row in report["methods"] for cell in row["cells"]]
    sign = 1 if kind["higher"] else -1
    places = [(sign * cell["score"], -cell["energy_total_mj"]) for cell in cells]
    for cell, (score, cost) in zip(cells, places, strict=True):
        beaten = any(s >= score and c >= cost and (s, c) != (score, cost) for s, c in places)
        assert cell["on_energy_front"] is not beaten
    allowed = 0.01 * (report["ann_score"] if kind["relative"] else 1)
    for row in report["methods"]:
        worse = [sign * (report["ann_score"] - cell["score"]) for cell in row["cells"]]
        near = [T for T, lost in zip((2, 4), worse, strict=True) if lost <= allowed]
        assert row["within_1_point"] == (near or [None])[0]
    done("report", "--run", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"{kind['title']} against energy" in page
    assert f"{kind['title']} by T" in page
    listed = json.loads(done("ls", "runs", "--run", run, "--json").out)["evaluations"]
    assert all(row["headline"]["name"] == HEAD[task] for row in listed)
    assert words_of(kind) in done("ls", "runs", "--run", run).out.replace("\n", " ")


def test_the_cheapest_network_within_a_percent_of_the_error(trained):
    task, run = trained
    words = ("--within", "5", "--methods", "signed", "--max-timesteps", "8", "--run", run)
    result = here("convert", *words, "--out", run / "found.safetensors", "--json")
    report = json.loads(result.out)
    search = report["search"]
    assert search["measured"] == HEAD[task]
    chosen = next(row for row in search["trials"] if row["outcome"] == "chosen")
    assert (chosen["points_below"] <= 5 + 1e-6) is search["reached"]


def test_without_labels_the_ann_is_the_measure(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    done("calibrate", "--data", "npz:none.npz", "--run", tmp_path, "--samples", "100")
    done("convert", "--neuron", "signed", "--timesteps", "16", "--run", tmp_path)
    words = ("--data", "npz:none.npz", "--run", tmp_path)
    report = json.loads(done("evaluate", *words, "--exit", "margin=1", "--json").out)
    assert report["early_exit"]["scores"]["agreement"] == report["scores"]["agreement"][-1]
    assert report["task"] == "none"
    assert report["ann_scores"] == {"agreement": 1.0, "relative-error": 0.0}
    assert report["ann_largest_class_share"] < 0.5
    assert not report["warnings"]
    assert report["scores"]["agreement"][-1] > 0.9
    assert report["scores"]["relative-error"][-1] == pytest.approx(report["logits_relative_error"])
    done("convert", "--neuron", "lm-ht", "--param", "levels=2", "--timesteps", "2", *words[2:])
    report = json.loads(done("reparameterize", *words, "--json").out)
    assert (report["headline"]["name"], report["score_before"]) == ("agreement", 1)
    assert report["score_after"] > 0.99


def test_fine_tuning_without_labels_learns_from_the_ann(folder, monkeypatch, tmp_path):
    """Validation is what evaluate says of the same samples, and a resumed training goes on."""
    monkeypatch.chdir(folder)
    words = ("--run", tmp_path)
    done("calibrate", "--data", "npz:none.npz", *words, "--samples", "100")
    done("convert", "--neuron", "signed", "--timesteps", "1", *words)
    found = []
    for loss in ("mean", "distill"):
        more = ("--loss", loss, "--epochs", "3", "--batch-size", "32", "--augment", "crop")
        result = here(
            "finetune", *words, *more, "--out", tmp_path / f"{loss}.safetensors", "--json"
        )
        report = json.loads(result.out)
        assert (report["task"], report["headline"]["name"]) == ("none", "agreement")
        assert "validation agreement with the ANN" in result.err
        assert report["accuracy_best"] is report["epochs"][0]["accuracy"] is None
        scores = [report["score_epoch0"], *(row["score"] for row in report["epochs"])]
        assert report["score_best"] == max(scores) == report["scores_best"]["agreement"]
        assert report["scores_best"]["relative-error"] < report["scores_epoch0"]["relative-error"]
        assert report["before_and_after"] is not None
        found.append(report["score_best"] - report["score_epoch0"])
    assert max(found) > 0.05
    with np.load("none.npz") as arrays:
        report = snnconv.finetune(data=arrays["x"][:100], run=tmp_path, epochs=1)
    assert (report.task, report.data.train_samples) == ("none", 100)
    evaluated = [
        json.loads(done("evaluate", tmp_path / f"{name}.safetensors", *words, "--json").out)
        for name in ("converted", "mean")
    ]
    agreement = [report["scores"]["agreement"][-1] for report in evaluated]
    assert agreement[1] > agreement[0]


def test_an_ann_that_knows_one_class_only_is_called_so(folder, monkeypatch, tmp_path):
    """Whatever is compared with it "agrees"."""
    monkeypatch.chdir(folder)
    Path("constant.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def one():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))\n"
        "    nn.init.constant_(net[3].weight, 0.01)\n"
        "    net[3].bias.data = torch.tensor([0.0, 9.0, 0.0, 0.0])\n"
        "    return net\n"
    )
    words = ("--data", "npz:none.npz", "--run", tmp_path)
    done("calibrate", "constant.py:one", *words, "--samples", "100")
    done("convert", "--neuron", "signed", "--timesteps", "1", "--run", tmp_path)
    report = json.loads(done("evaluate", *words, "--limit", "50", "--json").out)
    assert report["ann_largest_class_share"] == 1.0
    search = ("--within", "5", "--methods", "signed", "--max-timesteps", "1", "--json")
    searched = json.loads(done("convert", *search, "--run", tmp_path).out)
    grid = ("--methods", "signed", "--timesteps", "1", "--limit", "50", "--json")
    compared = json.loads(done("compare", *words, *grid).out)
    for each in (report, searched, compared):
        assert any("100.00% of these samples the same class" in text for text in each["warnings"])


def test_labels_that_do_not_fit(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    x = np.zeros((40, 1, 8, 8), np.float32)
    np.savez("nan.npz", x=x, y=np.where(np.arange(40) == 7, np.nan, 0.5))
    np.savez("twenty.npz", x=x, y=np.arange(40) % 20)
    for model, data, options, found in (
        ("nets.py:rows?outputs=3", "multi-label", (), "one number for each output"),
        ("nets.py:maps", "multi-label", (), "one number for each output"),
        ("nets.py:rows", "segmentation", (), "each place of the output"),
        ("nets.py:maps", "regression", (), "one number for each output"),
        ("nets.py:rows", "regression", ("--task", "classification"), ""),
        ("nets.py:rows", "none", ("--task", "regression"), "needs labels"),
        ("nets.py:rows", "nan", (), "NaN or Inf in 1 labels of y, the first at index 7"),
        ("nets.py:rows?outputs=10", "twenty", (), "10 outputs for 20 classes"),
        ("nets.py:rows", "regression", ("--task", "regresion"), "did you mean 'regression'"),
    ):
        words = ("--data", f"npz:{data}.npz", "--run", tmp_path, *options)
        result = here("calibrate", model, *words)
        assert result.code in (ExitCode.USAGE, ExitCode.UNSUPPORTED), result.err
        assert found in result.err
        assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("regression", np.arange(40) % 5 * 3 - 2),
        ("ranking", np.arange(40) % 7 * 10.0),
        ("multi-label", np.arange(40) % 2),
        ("none", np.arange(40) % 4 * 9),
    ],
)
def test_whole_numbers_that_are_no_classes(task, labels, folder, monkeypatch, tmp_path):
    """In a file and from Python, with a network of one output, through all that reads labels."""
    monkeypatch.chdir(folder)
    x = np.random.default_rng(0).random((40, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "whole.npz", x=x, y=labels)
    words = ("--data", f"npz:{tmp_path}/whole.npz", "--task", task, "--run", tmp_path)
    done("calibrate", "nets.py:rows", *words, "--samples", "20")
    done("convert", "--neuron", "signed", "--timesteps", "2", *words[4:])
    report = json.loads(done("evaluate", *words[4:], "--json").out)
    assert (report["task"], set(report["scores"]) >= set(report["ann_scores"])) == (task, True)
    table = json.loads(done("predict", *words[4:], "--json").out)
    assert table["scores"].keys() == (report["scores"].keys() if task != "none" else set())
    # samples to calibrate on need no labels that fit
    other = ("--data", "npz:regression.npz", "--calibration-data", words[1], *words[4:])
    done("calibrate", "nets.py:rows", *other, "--samples", "20")
    snnconv.calibrate("nets.py:rows", data=(x, labels), task=task, run=tmp_path / "python")
    snnconv.convert(neuron="signed", timesteps=1, run=tmp_path / "python")
    assert snnconv.evaluate(run=tmp_path / "python").task == task


def test_a_network_is_compared_with_itself_whatever_its_labels_are(folder, monkeypatch):
    """``--task none`` stays, though the labels of the same data look like another task's."""
    monkeypatch.chdir(folder)
    words = ("--data", "npz:regression.npz", "--task", "none", "--run", folder / "run-any")
    done("calibrate", "nets.py:rows?outputs=4", *words, "--samples", "50")
    done("convert", "--neuron", "signed", "--timesteps", "4", "--run", folder / "run-any")
    report = json.loads(done("evaluate", "--run", folder / "run-any", "--json").out)
    assert (report["task"], report["score_kinds"][0]["name"]) == ("none", "agreement")
