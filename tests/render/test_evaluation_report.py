"""What an evaluation's file may hold, and what an older one is read as."""

import pytest
from helpers import examples

from snnconv.errors import CheckpointError
from snnconv.reports import EvaluateReport, canonical, read
from snnconv.reports.evaluation import answered, with_latency

BY_STEP = [0.5, 0.75, 0.8]
STAGES = ("train", "calibrate", "convert")


def content(omega="uniform", stages=STAGES, **changes):
    return {
        "params": {"omega": omega},
        "history": [{"stage": stage} for stage in stages],
        "timesteps": 3,
        "accuracy": BY_STEP,
        "ann_accuracy": 0.805,
        "energy_total_mj_steps": [1.0, 2.0, 3.0],
        "firing_rate_steps": BY_STEP,
        "steps_to_ann": {"1.0": 2, "0.1": 3},
    } | changes


@pytest.mark.parametrize(
    ("omega", "stages"),
    [
        ("uniform", STAGES),
        ("bounded", STAGES),
        ("identity", (*STAGES, "finetune")),  # what it has learned nobody says
        ("identity", ("train",)),  # with its neurons
        ("identity", (*STAGES, "reparameterize")),
    ],
)
def test_an_older_file_of_neurons_that_need_all_steps_has_one_point(omega, stages):
    found = answered(content(omega, stages))
    assert found["accuracy"] == [None, None, 0.8]
    assert found["energy_total_mj_steps"] == [None, None, 3.0]
    assert found["firing_rate_steps"] == BY_STEP  # a rate of a step is no answer
    assert found["steps_to_ann"] == {"1.0": 3, "0.1": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"omega": "identity"},
        {"omega": "causal", "stages": (*STAGES, "finetune")},
        {"params": {"v0": 0.5}},
        {"latency_steps": 1},  # no older file: what it says it says
        {"params": None},
    ],
)
def test_other_files_are_read_as_they_are(changes):
    given = content(**changes)
    assert answered(given) == given


def test_an_older_file_calls_the_first_answer_its_latency():
    found = with_latency({"timesteps": 8, "latency_steps": 1})
    assert (found["latency_steps"], found["first_answer_step"]) == (8, 1)
    found = with_latency({"timesteps": 8, "latency_steps": 8})
    assert (found["latency_steps"], found["first_answer_step"]) == (None, 8)
    new = {"timesteps": 8, "latency_steps": 12, "first_answer_step": 1}
    assert with_latency(new) == new
    assert with_latency({"timesteps": 8}) == {"timesteps": 8}


@pytest.mark.parametrize("odd", [None, {}, [], "x", ["x"], [None], [[]], 3, [{}], True, 10**400])
@pytest.mark.parametrize("key", ["accuracy", "ann_accuracy", "steps_to_ann", "history"])
def test_an_older_file_may_hold_anything(key, odd):
    answered(content(**{key: odd}))
    answered(content(steps_to_ann={"x": 1}))
    answered(content(params={"omega": odd}))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "evaluate.json"


def test_a_report_comes_back(file):
    report = examples.right_on([0, 2], 3, "x")
    file.write_text(canonical(report))
    again = read(file, EvaluateReport)
    assert again == report
    assert canonical(again) == canonical(report)


@pytest.mark.parametrize("bits", ["", "kA==", "gAA=", "no base64", "\u00e9"])
def test_bits_of_other_samples_are_refused(file, bits):
    text = canonical(examples.right_on([0], 3, "x"))
    assert '"1": "gA=="' in text
    file.write_text(text.replace('"1": "gA=="', f'"1": "{bits}"'), encoding="utf-8")
    with pytest.raises(CheckpointError, match="snnconv evaluate"):
        read(file, EvaluateReport)
