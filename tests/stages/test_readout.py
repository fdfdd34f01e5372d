"""Delayed readout and early exit of an evaluation, sample by sample by hand."""

import pytest
import torch
from helpers.runs import converting, evaluating

from snnconv import load_network
from snnconv.config import ReportConfig
from snnconv.data.dataset import batches, load_dataset
from snnconv.data.split import subset
from snnconv.errors import UsageError
from snnconv.render.terminal import Terminal
from snnconv.stages import report, run_folder

T = 6


@pytest.fixture(scope="module")
def logits(run):
    """The logits of 40 samples at each step, averaged from the first one on, and their labels."""
    checkpoint, data = run.checkpoint("converted"), load_dataset("digits")
    order = subset(data.test.labels, 40, 0)
    ((_, x, labels),) = batches(data.test, checkpoint.data, order, 40)
    with torch.no_grad():
        return load_network(checkpoint)(x, timesteps=T, every_step=True).double(), labels


@pytest.mark.parametrize("first", [2, 4, 6])
def test_a_delayed_readout_by_hand(run, tmp_path, logits, first):
    found = evaluating(tmp_path, checkpoint=run.file("converted"), readout_from=first)
    averages, labels = logits
    sums = averages * torch.arange(1, T + 1)[:, None, None]
    before = sums[first - 2]
    for t in range(1, T + 1):
        if t < first:
            assert found.accuracy[t - 1] is None
            assert found.energy_total_mj_steps[t - 1] is None
        else:
            said = (sums[t - 1] - before).argmax(1)
            assert found.accuracy[t - 1] == pytest.approx(float((said == labels).double().mean()))
    assert found.readout_from == first
    whole = run.reports["evaluate"]
    assert found.energy_total_mj == whole.energy_total_mj  # all steps run
    assert found.sops_per_sample == whole.sops_per_sample
    assert found.label.endswith(f"read from step {first}")


def test_a_readout_from_the_first_step_is_the_usual_one(run, tmp_path):
    one = evaluating(tmp_path / "one", checkpoint=run.file("converted"), readout_from=1)
    assert one.accuracy == run.reports["evaluate"].accuracy
    assert one.label == run.reports["evaluate"].label


@pytest.mark.parametrize("margin", [0.2, 0.6])
def test_early_exit_by_hand(run, tmp_path, logits, margin):
    found = evaluating(tmp_path, checkpoint=run.file("converted"), exit={"margin": margin})
    averages, labels = logits
    steps, right = [0] * T, 0
    for sample, label in enumerate(labels.tolist()):
        for t in range(T):
            probabilities = averages[t, sample].softmax(0).sort(descending=True)
            (first, second), name = probabilities.values[:2], int(probabilities.indices[0])
            if first - second >= margin or t == T - 1:
                steps[t] += 1
                right += name == label
                break
    early = found.early_exit
    assert early.samples_by_step == steps
    assert early.steps_mean == pytest.approx(sum(t * n for t, n in enumerate(steps, 1)) / 40)
    assert early.accuracy == right / 40
    by_step = found.energy_total_mj_steps
    assert by_step[0] <= early.energy_total_mj <= by_step[-1]
    assert 1 < early.steps_mean < T  # or it would show nothing
    assert found.accuracy == run.reports["evaluate"].accuracy


@pytest.mark.parametrize("options", [{"chunk": 1}, {"chunk": 4}, {"batch_size": 7}])
def test_neither_depends_on_chunks_or_batches(run, tmp_path, options):
    given = {"checkpoint": run.file("converted"), "exit": {"margin": 0.4}, "readout_from": 2}
    one = evaluating(tmp_path / "one", **given)
    other = evaluating(tmp_path / "other", **given, **options)
    assert other.early_exit == one.early_exit
    assert other.accuracy == one.accuracy
    assert one.early_exit.samples_by_step[0] == 0


def test_neurons_that_need_all_steps_are_refused(run, tmp_path):
    converting(
        tmp_path,
        checkpoint=run.file("calibrated"),
        neuron="lm-ht",
        param={"levels": 2},
        timesteps=4,
    )
    for options in ({"readout_from": 2}, {"exit": {"margin": 0.5}}):
        with pytest.raises(UsageError, match="lm-ht neurons can't be read before"):
            evaluating(tmp_path, **options)
    assert not list(tmp_path.glob("evaluate*"))


def test_a_readout_after_the_last_step(run, tmp_path):
    with pytest.raises(UsageError, match="from step 7 on"):
        evaluating(tmp_path, checkpoint=run.file("converted"), readout_from=7)


@pytest.mark.parametrize("given", [{"margin": 2}, {"margin": -0.1}, {"confidence": 0.5}])
def test_an_exit_that_can_not_be_taken(run, tmp_path, given):
    with pytest.raises(ValueError, match="margin=X"):
        evaluating(tmp_path, checkpoint=run.file("converted"), exit=given)


def test_another_readout_is_another_question(run, tmp_path):
    """Neither evaluation takes the other's file, and a report takes both."""
    checkpoint = run.file("converted")
    for options in ({}, {"readout_from": 3}, {"exit": {"margin": 0.5}}, {}):
        evaluating(tmp_path, checkpoint=checkpoint, **options)
    assert len(list(tmp_path.glob("evaluate-*.json"))) == 3
    kept = run_folder.fullest(run_folder.evaluations(tmp_path))
    assert sorted(report.readout_from for report in kept.values()) == [1, 3]


def test_pages_and_the_terminal_show_the_exits(run, tmp_path, capsys):
    found = evaluating(tmp_path, checkpoint=run.file("converted"), exit={"margin": 0.6})
    Terminal().show(found)
    said = capsys.readouterr().out
    assert "early exit at margin 0.6" in said
    assert "Samples that stop after step t" in said
    report.run(ReportConfig(run=tmp_path))
    page = (tmp_path / "report.html").read_text()
    section = page[page.index('<section id="s-exit"') :]
    section = section[: section.index("</section>")]
    for t, number in enumerate(found.early_exit.samples_by_step, start=1):
        if number:
            assert f"{100 * number / 40:.2f}" in section, t


def test_a_delayed_readout_is_said(run, tmp_path, capsys):
    found = evaluating(tmp_path, checkpoint=run.file("converted"), readout_from=3)
    Terminal().show(found)
    assert "from step 3 on" in capsys.readouterr().out
    report.run(ReportConfig(run=tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "has an answer from step 3." in page
