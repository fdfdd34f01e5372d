import json
from contextlib import contextmanager
from typing import get_args

import pytest
import torch
from helpers.runs import (
    calibrating,
    check_report,
    converting,
    evaluating,
    finetuning,
    same_bytes,
    written,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from snnconv.checkpoint import load, sha256
from snnconv.config import FinetuneConfig
from snnconv.config.base import Engine
from snnconv.core.progress import Quiet
from snnconv.data.dataset import batches, load_dataset
from snnconv.engine.event_conv.plan import event_driven
from snnconv.errors import CheckpointError, UsageError
from snnconv.neurons.base import NEURONS
from snnconv.simulation.build import learned, spiking_network
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.simulate import simulate
from snnconv.stages import finetune
from snnconv.training.loop import hold_out

STAGES = ("converted", "finetuned")
EVERY = [(name, coding) for name in NEURONS.own() for coding in CODINGS.own()]


def right(checkpoint, timesteps):
    """Which of the samples held out are right, from the checkpoint alone."""
    data = load_dataset("digits")
    order = hold_out(data.train, 0.1, 300, 0).validation
    snn = spiking_network(checkpoint, folded=False).eval()
    found = []
    for indices, x, labels in batches(data.train, checkpoint.data, order, 50):
        logits = simulate(snn, x[None], indices, timesteps, timesteps)[-1]
        found.append(logits.argmax(1) == labels)
    return torch.cat(found)


def validated(checkpoint, timesteps):
    """Accuracy on the samples held out."""
    found = right(checkpoint, timesteps)
    return int(found.sum()) / len(found)


def test_the_report(run):
    data = check_report(run, "finetune", ["converted"], ["finetuned", "finetuned-last"])
    assert [row["epoch"] for row in data["epochs"]] == [1, 2]
    assert data["timesteps"] == 4
    by_epoch = [data["accuracy_epoch0"], *[row["accuracy"] for row in data["epochs"]]]
    assert data["accuracy_best"] == max(by_epoch) == by_epoch[data["epoch_best"]]
    assert data["accuracy_last"] == by_epoch[-1]


def test_the_best_epoch_is_what_is_kept(run):
    report = run.reports["finetune"]
    assert validated(run.checkpoint("converted"), 4) == report.accuracy_epoch0
    assert validated(run.checkpoint("finetuned"), 4) == report.accuracy_best


def test_the_ann_is_kept_beside_it(run):
    before, after = run.checkpoint("converted"), run.checkpoint("finetuned")
    assert all(before.network[name].equal(tensor) for name, tensor in after.reference.items())
    assert after.reference.keys() == after.network.keys()
    assert not all(after.network[name].equal(t) for name, t in after.reference.items())
    assert after.spiking.timesteps == 4


def test_the_lineage_grows(run):
    past = run.checkpoint("finetuned").lineage
    assert [step.stage for step in past] == ["train", "calibrate", "convert", "finetune"]
    assert past[-1].parent == sha256(run.file("converted"))


@pytest.mark.parametrize("loss", ["mean", "tet"])
def test_the_same_work_gives_the_same_bytes(run, tmp_path, loss):
    options = {"checkpoint": run.file("converted"), "epochs": 1, "loss": loss}
    same_bytes(tmp_path, finetuning, "finetuned", **options)


def test_a_training_that_only_harms_keeps_what_came(run, tmp_path):
    report = finetuning(tmp_path, checkpoint=run.file("finetuned"), lr=10.0, epochs=2)
    assert report.accuracy_last < report.accuracy_epoch0
    assert report.epoch_best == 0
    after, before = load(tmp_path / "finetuned.safetensors"), run.checkpoint("finetuned")
    assert all(before.network[name].equal(tensor) for name, tensor in after.network.items())


def test_fine_tuning_again_keeps_the_first_ann(run, tmp_path):
    finetuning(tmp_path, checkpoint=run.file("finetuned"), epochs=1)
    again, ann = load(tmp_path / "finetuned.safetensors"), run.checkpoint("ann")
    assert all(torch.equal(ann.network[name], t) for name, t in again.reference.items())


def test_one_sample_is_too_few(run, tmp_path):
    with pytest.raises(UsageError, match="--limit 2"):
        finetuning(tmp_path, checkpoint=run.file("converted"), limit=1)


def test_nothing_to_fine_tune(tmp_path):
    with pytest.raises(UsageError) as caught:
        finetuning(tmp_path)
    assert caught.value.remedy == "snnconv convert"


def test_lm_ht_learns_its_matrix_and_its_leak(run, tmp_path):
    converting(
        tmp_path,
        checkpoint=run.file("calibrated"),
        neuron="lm-ht",
        timesteps=2,
        param={"levels": 2},
    )
    report = finetuning(tmp_path, timesteps=None)
    assert report.timesteps == 2
    after = load(tmp_path / "finetuned.safetensors")
    assert sorted({name.partition("/")[2] for name in after.neurons}) == ["alpha", "omega"]
    assert all(tensor.isfinite().all() for tensor in after.neurons.values())
    moved = [tensor for name, tensor in after.neurons.items() if name.endswith("/omega")]
    assert any((tensor - 0.5).abs().max() > 1e-5 for tensor in moved)
    with pytest.raises(UsageError, match="lm-ht neurons can't run for T = 4"):
        finetuning(tmp_path, checkpoint=tmp_path / "converted.safetensors", timesteps=4)


def test_lm_h_scores_as_if_does_before_it_learns(run, tmp_path):
    source = {"checkpoint": run.file("calibrated"), "timesteps": 4}
    starts = {}
    for neuron in ("if", "lm-h"):
        converting(tmp_path / neuron, neuron=neuron, **source)
        starts[neuron] = finetuning(tmp_path / neuron, epochs=0).accuracy_epoch0
    assert starts["lm-h"] == starts["if"]


@pytest.mark.parametrize("scalars", ["layer", "step"])
def test_lm_h_learns_its_scalars(run, tmp_path, scalars):
    source = {"checkpoint": run.file("calibrated"), "timesteps": 3}
    converting(tmp_path, neuron="lm-h", param={"scalars": scalars}, **source)
    finetuning(tmp_path, checkpoint=tmp_path / "converted.safetensors", timesteps=None, epochs=1)
    after = load(tmp_path / "finetuned-last.safetensors")
    names = sorted({name.partition("/")[2] for name in after.neurons})
    assert names == ["lambda_d", "lambda_s", "mu_d", "mu_s"]
    assert {tuple(tensor.shape) for tensor in after.neurons.values()} == {
        (3,) if scalars == "step" else (1,)
    }
    assert all(tensor.abs().max() > 0 for name, tensor in after.neurons.items() if "_d" in name)
    evaluating(tmp_path, checkpoint=tmp_path / "finetuned.safetensors")
    if scalars == "step":
        with pytest.raises(UsageError, match="lm-h neurons can't run for T = 4"):
            finetuning(tmp_path, checkpoint=tmp_path / "converted.safetensors", timesteps=4)
    else:
        evaluating(tmp_path, checkpoint=tmp_path / "finetuned.safetensors", timesteps=7)


@pytest.mark.parametrize(("neuron", "param"), [("lm-h", {}), ("lm-ht", {"omega": "identity"})])
def test_what_neurons_learn_may_be_released_later(run, tmp_path, neuron, param):
    source = {"checkpoint": run.file("calibrated"), "timesteps": 2, "param": param}
    converting(tmp_path, neuron=neuron, **source)
    start = learned(spiking_network(load(tmp_path / "converted.safetensors")))
    moved = {}
    for release in (0, 1, 2):
        given = {"checkpoint": tmp_path / "converted.safetensors", "timesteps": None, "lr": 0.02}
        finetuning(tmp_path, release=release, **given)
        # the last epoch, not the best: the validation accuracy of few samples picks that
        last = load(tmp_path / "finetuned-last.safetensors")
        moved[release] = max((last.neurons[name] - t).abs().max() for name, t in start.items())
    assert moved[0] > moved[1] > 0 == moved[2]


# What is left behind, and how it goes on


class Killed(Quiet):
    """Interrupts a stage: at a line that it says, or after so many samples of an epoch."""

    def __init__(self, line=None, epoch=None, samples=0):
        self.line, self.epoch, self.samples = line, epoch, samples

    def say(self, line):
        if self.line and line.startswith(self.line):
            raise KeyboardInterrupt

    @contextmanager
    def task(self, label, total):
        done = 0

        def advance(count):
            nonlocal done
            done += count
            if self.epoch and label.startswith(self.epoch) and done > self.samples:
                raise KeyboardInterrupt

        yield advance


def killed(folder, progress, **options):
    config = FinetuneConfig(run=folder, **options)
    with pytest.raises(KeyboardInterrupt):
        finetune.run(config, progress)


OPTIONS = {
    "epochs": 3,
    "limit": 300,
    "timesteps": 2,
    "lr": 0.05,
    "augment": ("crop",),
    "mix": ("mixup", "cutmix"),
    "clip_gradient": 1.0,
    "accumulate": 2,
}


@pytest.fixture(scope="module")
def uninterrupted(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, finetuning(folder, checkpoint=run.file("converted"), **OPTIONS)


@pytest.mark.parametrize(
    "kills",
    [
        [Killed(line="epoch   1")],
        [Killed(epoch="epoch 3", samples=100)],
        [Killed(epoch="epoch 1"), Killed(line="epoch   2"), Killed(epoch="epoch 3")],
    ],
)
def test_a_killed_training_goes_on_to_the_same_bytes(run, uninterrupted, tmp_path, kills):
    given = {"checkpoint": run.file("converted"), **OPTIONS}
    given["tensorboard"] = tmp_path / "board"
    for count, kill in enumerate(kills):
        killed(tmp_path, kill, resume=count > 0, **given)
    assert not (tmp_path / "finetuned.safetensors").exists()
    report = finetuning(tmp_path, resume=True, **given)
    shown = EventAccumulator(str(tmp_path / "board")).Reload()
    for tag, get in (("loss", "loss"), ("score", "measured"), ("learning_rate", "learning_rate")):
        events = [(each.step, each.value) for each in shown.Scalars(tag) if each.step > 0]
        assert events == [(row.epoch, pytest.approx(getattr(row, get))) for row in report.epochs]
    for name in ("finetuned.safetensors", "finetuned-last.safetensors"):
        assert (tmp_path / name).read_bytes() == (uninterrupted[0] / name).read_bytes()
    assert not (tmp_path / "finetune.resume.safetensors").exists()
    assert report.resumed_after >= 1
    timed = {"seconds", "step_seconds", "step_cpu_seconds"}
    rows = [row.model_dump(exclude=timed) for row in report.epochs]
    assert rows == [row.model_dump(exclude=timed) for row in uninterrupted[1].epochs]


@pytest.mark.parametrize(("neuron", "coding"), EVERY)
def test_every_neuron_learns_and_goes_on_to_the_same_bytes(run, tmp_path, neuron, coding):
    """Killed in its second epoch; a neuron that can't have the coding is refused by name."""
    few = {"epochs": 2, "limit": 60, "timesteps": None, "lr": 0.05, "batch_size": 30}
    given = {"checkpoint": tmp_path / "converted.safetensors", **few}
    try:
        converting(
            tmp_path, checkpoint=run.file("calibrated"), neuron=neuron, coding=coding, timesteps=2
        )
    except UsageError as error:
        assert coding == "differential"
        assert "neurons, which are neither" in error.found
        assert error.remedy
        return
    report = finetuning(tmp_path / "whole", **given)
    assert len(report.epochs) == 2
    killed(tmp_path / "killed", Killed(epoch="epoch 2"), **given)
    assert finetuning(tmp_path / "killed", resume=True, **given).resumed_after == 1
    for name in ("finetuned.safetensors", "finetuned-last.safetensors"):
        whole, resumed = (tmp_path / folder / name for folder in ("whole", "killed"))
        assert whole.read_bytes() == resumed.read_bytes()
    last, start = load(tmp_path / "whole" / "finetuned-last.safetensors"), load(given["checkpoint"])
    assert any(not torch.equal(t, start.network[name]) for name, t in last.network.items())


def test_what_never_stopped_was_not_taken_up(uninterrupted):
    assert uninterrupted[1].resumed_after is None


def test_other_options_are_refused_by_name(run, tmp_path):
    given = {"checkpoint": run.file("converted"), **OPTIONS}
    killed(tmp_path, Killed(line="epoch   1"), **given)
    with pytest.raises(UsageError, match="other options") as caught:
        finetuning(tmp_path, resume=True, **given | {"lr": 0.1, "epochs": 4})
    assert caught.value.found == "epochs: 3 then, 4 now; lr: 0.05 then, 0.1 now"
    other = tmp_path / "converted.safetensors"
    other.write_bytes(run.file("finetuned").read_bytes())
    with pytest.raises(UsageError, match="content of converted"):
        finetuning(tmp_path, resume=True, **given | {"checkpoint": other})


def test_a_broken_file_is_not_gone_on_from(run, tmp_path):
    file = tmp_path / "finetune.resume.safetensors"
    for content in (b"", b"\0" * 100, run.file("finetuned").read_bytes()):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="without --resume"):
            finetuning(tmp_path, checkpoint=run.file("converted"), resume=True)


def test_the_log_has_a_row_an_epoch(uninterrupted):
    folder, report = uninterrupted
    rows = [json.loads(line) for line in (folder / "finetune.jsonl").read_text().splitlines()]
    assert rows == [row.model_dump(mode="json") for row in report.epochs]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(0 < row["firing_rate"] < 1 for row in rows)
    assert report.firing_rate_epoch0 > 0


def test_the_last_epoch_is_kept_beside_the_best(uninterrupted):
    folder, report = uninterrupted
    for name, accuracy in (
        ("finetuned", report.accuracy_best),
        ("finetuned-last", report.accuracy_last),
    ):
        assert validated(load(folder / f"{name}.safetensors"), 2) == accuracy


def test_rows_tell_what_neurons_learn(run, tmp_path):
    made = run.file("calibrated")
    converting(tmp_path, checkpoint=made, neuron="lm-ht", timesteps=2, param={"levels": 2})
    report = finetuning(tmp_path, timesteps=None, epochs=1)
    after = load(tmp_path / "finetuned-last.safetensors").neurons
    found = report.epochs[0].neuron_parameters
    assert found.keys() == {"Omega", "lambda"}  # as in the equations, not what is behind them
    for key, name, of_raw in (
        ("Omega", "omega", lambda raw: raw),
        ("lambda", "alpha", lambda raw: torch.sigmoid(raw) + 0.5),
    ):
        values = [of_raw(t.flatten()) for at, t in after.items() if at.endswith(f"/{name}")]
        assert found[key] == pytest.approx(float(torch.cat(values).mean()), abs=1e-6)


# Slices of time


def test_online_training_in_slices(run, tmp_path):
    given = {"checkpoint": run.file("converted"), "timesteps": 5, "epochs": 1}
    found = {}
    for k in (None, 2, 5):
        finetuning(tmp_path / str(k), slice=k, **given)
        found[k] = load(tmp_path / str(k) / "finetuned-last.safetensors").network
    for name, tensor in found[None].items():
        assert torch.equal(tensor, found[5][name])
    assert not all(torch.equal(tensor, found[2][name]) for name, tensor in found[None].items())


def test_what_sees_all_steps_at_once_has_no_slices(run, tmp_path):
    given = {"checkpoint": run.file("calibrated"), "neuron": "lm-ht", "timesteps": 4}
    converting(tmp_path, **given)
    with pytest.raises(UsageError, match="slices of time") as caught:
        finetuning(tmp_path, timesteps=None, slice=2)
    assert "omega=causal" in caught.value.remedy
    converting(tmp_path, **given, param={"omega": "causal"})
    assert finetuning(tmp_path, timesteps=None, slice=2, epochs=1).epochs[0].loss > 0


def test_every_engine_trains_as_it_is_reported(tmp_path):
    """The same rows but for rounding; what bfloat16 computes is dense."""
    calibrating(tmp_path)  # the embedded CNN
    converting(tmp_path, neuron="if", timesteps=4)
    given = {"timesteps": None, "epochs": 1, "limit": 60, "batch_size": 30}
    found = {
        name: finetuning(tmp_path, engine=engine, bf16=bf16, **given)
        for name, engine, bf16 in [(e, e, False) for e in get_args(Engine)] + [("bf16", "event", 1)]
    }
    ways = {name: set(report.engine.values()) for name, report in found.items()}
    assert ways["dense"] == ways["bf16"] == {"once", "dense"}
    if event_driven():
        assert ways["event"] == {"once", "event", "dense"}  # its linear layers
    losses = [found[engine].epochs[0].loss for engine in get_args(Engine)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-2)
    assert written(tmp_path, "finetune")["engine"] == found["bf16"].engine


@pytest.mark.parametrize("param", [{}, {"spikes": 4}, {"preset": "burst"}])
def test_signed_neurons_learn_through_their_memory(run, tmp_path, param):
    converting(tmp_path, checkpoint=run.file("calibrated"), neuron="signed", param=param)
    report = finetuning(tmp_path, slice=2)
    assert report.accuracy_best >= report.accuracy_epoch0
    assert report.epochs[-1].loss < report.epochs[0].loss


def test_what_was_kept_is_tested_against_the_start(run):
    report = run.reports["finetune"]
    test, n = report.before_and_after, report.held_out.samples
    assert test.only_other_right - test.only_this_right == round(
        (report.accuracy_best - report.accuracy_epoch0) * n
    )
    assert 0 <= test.p <= 1
    before, after = (right(run.checkpoint(kind), report.timesteps) for kind in STAGES)
    assert (test.only_this_right, test.only_other_right) == (
        int((before & ~after).sum()),
        int((after & ~before).sum()),
    )
