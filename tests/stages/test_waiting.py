"""Stages on networks whose neurons wait: everything that IF can, or refused by name."""

import pytest
from helpers.runs import converting, evaluating, finetuning

import snnconv
from snnconv.errors import UsageError

T = 4


@pytest.mark.parametrize(("neuron", "param"), [("srp", {"tau": 2}), ("cos", {}), ("tpp", {})])
def test_confidence_evaluation_and_fine_tuning(run, tmp_path, neuron, param):
    file = tmp_path / "converted.safetensors"
    made = converting(
        tmp_path,
        checkpoint=run.file("calibrated"),
        out=file,
        neuron=neuron,
        param=param,
        timesteps=T,
        confidence="last",
        early=2,
    )
    assert 0 < next(iter(made.confidence.values())) <= 1
    found = evaluating(tmp_path, checkpoint=file)
    sites = len([row for row in found.layers if row.threshold is not None])
    waits = T + 2 if neuron == "srp" else sites * T
    assert found.latency_steps == made.latency_steps == waits
    assert found.first_answer_step == (1 if neuron == "srp" else T)
    assert finetuning(tmp_path, checkpoint=file, epochs=1).latency_steps == waits


def test_no_correction_looks_at_the_steps_before(run, tmp_path):
    file = tmp_path / "converted.safetensors"
    converting(tmp_path, checkpoint=run.file("calibrated"), out=file, neuron="srp", timesteps=T)
    with pytest.raises(UsageError, match="srp neurons can't be corrected"):
        snnconv.correct(file, run=tmp_path)
