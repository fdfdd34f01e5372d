import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import get_args

import pytest
import torch
from helpers.runs import calibrating, check_report, converting, evaluating, written
from pydantic import ValidationError

import snnconv
from snnconv.checkpoint import load, save, sha256
from snnconv.config import METRICS, Engine, EvaluateConfig
from snnconv.core import runtime
from snnconv.core.progress import Quiet
from snnconv.core.uncertainty import discordant, unpacked, wilson
from snnconv.data.dataset import load_dataset
from snnconv.data.split import subset
from snnconv.engine.event_conv.plan import event_driven
from snnconv.errors import CheckFailedError, CheckpointError, ExitCode, UsageError
from snnconv.frontends.ann_accuracy import accuracy
from snnconv.graph.network import Network
from snnconv.metrics.base import METRICS as ROOM
from snnconv.simulation import network as spiking
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate
from snnconv.stages import evaluate

KEYS = {
    *("samples", "timesteps", "accuracy", "ann_accuracy", "logits_relative_error"),
    *("firing_rate_mean", "sops_per_sample", "first_layer_macs_per_sample", "ann_macs_per_sample"),
    *("energy_synaptic_mj", "energy_total_mj", "energy_ann_mj", "layers", "seconds_per_sample"),
    "peak_memory_mib",
}
MEASURED = {"seconds", "seconds_per_sample", "peak_memory_mib", "config", "lineage"}
MEASURED |= {"samples_at_once", "steps_at_once", "memory_bound_mib", "memory_taken_mib"}


def figures(report):
    """What a report says of the network, without what it says of the machine."""
    return report.model_dump(exclude=MEASURED)


def numbers(value, path=()):
    """Every number in nested figures, with its place."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*path, key))
    elif isinstance(value, int | float):
        yield path, value


def ann_accuracy(checkpoint, tensors, limit):
    data = load_dataset("digits")
    network = Network(checkpoint.graph, tensors)
    order = subset(data.test.labels, limit, 0)
    return accuracy(network, data.test, checkpoint.data, order, 30, torch.device("cpu"), Quiet())


def test_the_report(run):
    data = check_report(run, "evaluate", ["converted"], [])
    assert data.keys() >= KEYS
    assert (data["samples"], data["timesteps"], len(data["accuracy"])) == (40, 6, 6)
    names = [site.name for site in run.checkpoint("converted").graph.sites]
    assert [layer["name"] for layer in data["layers"]] == names
    for layer in data["layers"]:
        assert layer.keys() >= {"name", "threshold", "firing_rate", "sops_per_sample"}
    assert [h["name"] for h in data["histograms"]] == names
    assert {len(h["edges"]) - len(h["counts"]) for h in data["histograms"]} == {1}
    assert sum(layer["sops_per_sample"] for layer in data["layers"]) == pytest.approx(
        data["sops_per_sample"]
    )


def test_expected_accuracy(run, tmp_path):
    options = {"checkpoint": run.file("converted"), "metric": ("accuracy",)}
    good = evaluating(tmp_path, expect_accuracy=0.01, **options)
    assert (good.code(), good.warnings) == (ExitCode.DONE, [])
    bad = evaluating(tmp_path, expect_accuracy=1.0, **options)
    assert bad.code() == ExitCode.CHECK_FAILED
    assert "and 100.00% were expected" in bad.warnings[-1]
    assert bad.accuracy == good.accuracy
    assert json.loads((tmp_path / "evaluate.json").read_text())["warnings"] == bad.warnings
    with pytest.raises(UsageError, match="add --metric accuracy"):
        evaluating(tmp_path, expect_accuracy=0.5, **options | {"metric": ("firing-rate",)})


def test_the_anns_accuracy_is_the_anns(run):
    checkpoint = run.checkpoint("ann")
    expected = ann_accuracy(checkpoint, checkpoint.network, 40)
    assert run.reports["evaluate"].ann_accuracy == expected
    assert expected > 0.3


def test_a_fine_tuned_network_is_compared_with_the_ann_that_it_was(run, tmp_path):
    checkpoint = run.checkpoint("finetuned")
    report = evaluating(tmp_path, checkpoint=run.file("finetuned"), limit=None)
    ann = run.checkpoint("ann").network
    assert report.ann_accuracy == ann_accuracy(checkpoint, ann, None)
    assert report.ann_accuracy != ann_accuracy(checkpoint, checkpoint.network, None)


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"chunk": 1}, {"chunk": 4}])
def test_neither_batches_nor_chunks_change_a_figure(run, tmp_path, options):
    found = evaluating(tmp_path, checkpoint=run.file("converted"), **options)
    # real weights: sums in another order may move a spike (tests/metrics/test_laws.py is exact)
    expected = dict(numbers(figures(run.reports["evaluate"])))
    assert dict(numbers(figures(found))) == pytest.approx(expected, rel=0.01, abs=0.01)


def test_the_newest_spiking_checkpoint_is_taken(run, tmp_path):
    for age, kind in enumerate(("finetuned", "converted")):
        file = tmp_path / f"{kind}.safetensors"
        file.write_bytes(run.file(kind).read_bytes())
        os.utime(file, (1e9 + age, 1e9 + age))
    os.utime(tmp_path / "converted.safetensors", (2e9, 2e9))
    taken = evaluating(tmp_path, limit=1).lineage.inputs
    assert [file.sha256 for file in taken] == [sha256(run.file("converted"))]
    os.utime(tmp_path / "finetuned.safetensors", (3e9, 3e9))
    taken = evaluating(tmp_path, limit=1).lineage.inputs
    assert [file.sha256 for file in taken] == [sha256(run.file("finetuned"))]


def test_its_parents_report_is_named(run):
    lineage = run.reports["evaluate"].lineage
    assert lineage.parent_report_sha256 == sha256(run.folder / "convert.json")


def with_needs(metric):
    """A metric behind those that it is made of."""
    needs = ROOM.load(metric).needs
    return (*dict.fromkeys(name for need in needs for name in with_needs(need)), metric)


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_alone(run, tmp_path, metric):
    metrics = with_needs(metric)
    report = evaluating(tmp_path, checkpoint=run.file("converted"), metric=metrics, limit=5)
    whole = evaluating(tmp_path, checkpoint=run.file("converted"), limit=5)
    mine, everything = figures(report), figures(whole)
    found = {key for key, value in mine.items() if value not in (None, {}, [])}
    assert all(mine[key] == everything[key] for key in found - {"layers", "outcomes"})
    if report.outcomes is not None:  # those of the twin are there if a metric asks for it
        assert report.outcomes == whole.outcomes.model_copy(update={"twin": None})


def test_the_twin_is_measured_on_the_same_samples(run):
    report = run.reports["evaluate"]
    assert report.outcomes.twin is not None
    assert report.twin_accuracy is not None
    right = unpacked(report.outcomes.twin, report.samples).bit_count()
    assert report.twin_accuracy == right / report.samples
    alone, other = discordant(
        unpacked(report.outcomes.steps[report.timesteps], report.samples),
        unpacked(report.outcomes.twin, report.samples),
    )
    assert report.against_twin.only_this_right == alone
    assert report.against_twin.only_other_right == other


def test_all_that_a_metric_lacks_is_named_at_once(run, tmp_path):
    with pytest.raises(UsageError, match="add --metric synops --metric events"):
        evaluating(tmp_path, checkpoint=run.file("converted"), metric=("energy-twin",), limit=5)


@pytest.mark.compiled
@pytest.mark.parametrize("reader", [None, "sin"])
def test_counts_are_written_where_a_metric_reads_them(run, tmp_path, monkeypatch, reader):
    seen, inner = [], spiking.fire

    def spy(*args):
        found = inner(*args)
        seen.append(found[0])
        return found

    monkeypatch.setattr(spiking, "fire", spy)
    lean = ("accuracy", "firing-rate", "synops", "energy")
    metric = (*lean, reader) if reader else lean
    evaluating(tmp_path, checkpoint=run.file("converted"), metric=metric, limit=5)
    assert seen
    for output in seen:
        assert output.sums is not None
        assert (output.counts is not None) == bool(reader)


def test_energy_needs_operations_and_says_so(run, tmp_path):
    with pytest.raises(UsageError, match="add --metric synops"):
        evaluating(tmp_path, checkpoint=run.file("converted"), metric=("energy",), limit=5)


def test_confidence_is_in_the_report(run, tmp_path):
    options = {"confidence": "all", "confidence_samples": 20, "early": 2}
    converting(tmp_path, checkpoint=run.file("calibrated"), **options)
    report = evaluating(tmp_path, limit=5)
    assert report.early == 2
    assert report.confidence.keys() == {layer.name for layer in report.layers}
    assert "confidence" in report.label


def test_another_place_for_the_report(run, tmp_path):
    out = tmp_path / "elsewhere" / "mine.json"
    evaluating(tmp_path / "unused", checkpoint=run.file("converted"), limit=5, out=out)
    assert written(out.parent, "mine")["stage"] == "evaluate"
    assert not (tmp_path / "unused").exists()


def test_nothing_to_evaluate(tmp_path):
    with pytest.raises(UsageError) as caught:
        evaluating(tmp_path)
    assert caught.value.remedy == "snnconv convert"


def test_lm_ht_at_many_levels_is_the_ann(run, tmp_path):
    converting(
        tmp_path,
        checkpoint=run.file("calibrated"),
        neuron="lm-ht",
        timesteps=1,
        param={"levels": 4096},
    )
    report = evaluating(tmp_path, limit=None)
    assert report.agreement[-1] > 0.98
    assert report.layers[0].error_rounding < 1e-3
    assert report.layers[0].error_rest < 1e-3
    with pytest.raises(UsageError, match="they were made for T = 1"):
        evaluating(tmp_path, timesteps=3)


def test_learned_tensors_that_do_not_fit_their_neurons(run, tmp_path):
    converting(tmp_path, checkpoint=run.file("calibrated"), neuron="lm-ht", timesteps=2)
    checkpoint = load(tmp_path / "converted.safetensors")
    site = checkpoint.graph.sites[0].name
    wrong = {f"{site}/omega": torch.eye(3), f"{site}/alpha": torch.zeros(1)}
    with pytest.raises(CheckFailedError, match="not those of lm-ht neurons"):
        save(replace(checkpoint, neurons=wrong), tmp_path / "wrong.safetensors")
    assert not (tmp_path / "wrong.safetensors").exists()
    with pytest.raises(CheckpointError, match="not those of lm-ht neurons"):
        spiking_network(replace(checkpoint, neurons=wrong))


def test_every_engine_is_reported_as_it_ran(run, tmp_path):
    net = {"checkpoint": None, "limit": 30, "timesteps": 4}
    calibrating(tmp_path)  # the embedded CNN
    converting(tmp_path, confidence="last", engine="event", confidence_samples=20)
    found = {engine: evaluating(tmp_path, engine=engine, **net) for engine in get_args(Engine)}
    convolutions = {"event" if event_driven() else "dense"}
    assert set(found["dense"].engine.values()) == {"once", "dense"}
    assert set(list(found["event"].engine.values())[1:3]) == convolutions
    chosen = [name for name, way in found["auto"].engine.items() if way == "event"]
    assert {found["event"].engine[name] for name in chosen} <= {"event"}
    assert found["auto"].engine.keys() == found["event"].engine.keys()
    assert {tuple(report.accuracy) for report in found.values()} == {tuple(found["auto"].accuracy)}
    assert written(tmp_path, "evaluate")["engine"] == found["event"].engine


def test_little_memory_takes_smaller_portions_and_changes_nothing(run, tmp_path):
    given = {"checkpoint": run.file("converted"), "batch_size": 40, "chunk": 3}
    much = evaluating(tmp_path, memory="1GiB", **given)
    little = evaluating(tmp_path, memory="50kB", **given)
    assert (much.samples_at_once, much.steps_at_once) == (40, 3)
    assert 1 <= little.samples_at_once < 40
    one = evaluating(tmp_path, memory=1, **given)
    assert (one.samples_at_once, one.steps_at_once) == (1, 1)
    assert evaluating(tmp_path, **given).samples_at_once == 40
    assert little.accuracy == much.accuracy == one.accuracy
    assert little.memory_bound_mib == 50_000 / 2**20


class Listener(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def test_a_memory_that_is_too_small_is_said(run, tmp_path, monkeypatch):
    given = {"checkpoint": run.file("converted"), "run": tmp_path, "limit": 20}
    listener = Listener()
    evaluate.run(EvaluateConfig(memory="1GiB", **given), listener)
    assert not listener.lines
    peaks = iter([100.0])  # before it, in MiB
    monkeypatch.setattr(runtime, "resident_memory", lambda device: 90 * 2**20)
    monkeypatch.setattr(runtime, "peak_memory_mib", lambda device: next(peaks, 107.0))
    report = evaluate.run(EvaluateConfig(memory=1, **given), listener)
    before, after = listener.lines
    assert "1MiB are given" in before
    assert "one sample over 1 of the steps, may take up to 1MiB" in before
    assert "took 17MiB of memory, above its bound of 1MiB" in after
    assert (report.memory_bound_mib, report.memory_taken_mib) == (2**-20, 17)


@pytest.mark.parametrize("bad", ["much", "0", "-1GiB", "4 GX"])
def test_a_memory_that_is_no_size(bad):
    with pytest.raises(ValidationError, match="memory"):
        EvaluateConfig(memory=bad)


def test_a_network_that_needs_all_steps_has_one_answer(run, tmp_path):
    calibrated = run.file("calibrated")
    found = {}
    for omega in ("uniform", "identity"):
        out = tmp_path / f"{omega}.safetensors"
        options = {"neuron": "lm-ht", "timesteps": 4, "param": {"omega": omega}}
        converting(tmp_path, checkpoint=calibrated, out=out, **options)
        found[omega] = evaluating(tmp_path, checkpoint=out)
    late, every = found["uniform"], found["identity"]
    assert (late.first_answer_step, every.first_answer_step) == (4, 1)
    layers = len([row for row in late.layers if row.threshold is not None])  # one after the other
    assert (late.latency_steps, every.latency_steps) == (4 * layers, 4)
    assert late.accuracy[:3] == late.sops_per_sample_steps[:3] == [None] * 3
    assert late.accuracy[-1] is not None
    assert None not in [*every.accuracy, *every.agreement, *every.energy_total_mj_steps]
    assert set(late.steps_to_ann.values()) <= {4, None}
    written = snnconv.report(evaluations=[tmp_path / "evaluate.json"], run=tmp_path)
    assert written.runs[0].latency_steps in (4, 4 * layers)


def test_compilation_is_in_no_time(run, tmp_path, monkeypatch):
    seen = []

    def simulating(network, x, *rest):
        seen.append(x.shape[1])
        time.sleep(0.4 if len(seen) == 1 else 0)  # as if everything were compiled at the first call
        return simulate(network, x, *rest)

    monkeypatch.setattr(evaluate, "simulate", simulating)
    report = evaluating(tmp_path, checkpoint=run.file("converted"), limit=10, batch_size=10)
    assert seen == [1, 10]
    assert report.seconds_per_sample * 10 < 0.4
    assert report.samples == 10


@pytest.mark.long
def test_nothing_is_compiled_while_the_clock_runs(run, tmp_path):
    code = (
        "import sys, time; from numba.core import event; from snnconv.stages import evaluate\n"
        "from snnconv.config import EvaluateConfig\n"
        "calls, compiled, plain = [], [], evaluate.simulate\n"
        "class Listener(event.Listener):\n"
        "    def on_start(self, _): compiled.append(len(calls))\n"
        "    def on_end(self, _): pass\n"
        "event.register('numba:compile', Listener())\n"
        "def simulate(*given): calls.append(1); return plain(*given)\n"
        "evaluate.simulate = simulate\n"
        "evaluate.run(EvaluateConfig(checkpoint=sys.argv[1], run=sys.argv[2], limit=60, chunk=2))\n"
        "assert set(compiled) <= {0, 1} and 1 in compiled and len(calls) == 4, (compiled, calls)\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, run.file("converted"), tmp_path]
    subprocess.run(command, env=environment, check=True)


def test_runs_on_the_same_samples_know_it(run, tmp_path):
    one, two, other = (
        evaluating(tmp_path, checkpoint=run.file("converted"), limit=limit, batch_size=size)
        for limit, size in ((40, 40), (40, 7), (41, 40))
    )
    assert one.outcomes == two.outcomes
    assert one.outcomes.samples_sha256 != other.outcomes.samples_sha256
    for t, text in one.outcomes.steps.items():
        assert unpacked(text, 40).bit_count() == round(40 * one.accuracy[t - 1])
    assert unpacked(one.outcomes.ann, 40).bit_count() == round(40 * one.ann_accuracy)
    assert one.accuracy_interval[-1] == wilson(one.accuracy[-1], 40)
