"""``snnconv trace``: what neurons do, as arrays that others read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import done, files, here, refused
from helpers.runs import evaluating

import snnconv
from snnconv.checkpoint import load
from snnconv.config import TraceConfig
from snnconv.data.dataset import load_dataset, normalise
from snnconv.errors import CheckpointError, ExitCode, UsageError
from snnconv.graph.network import ann_inputs
from snnconv.simulation.build import spiking_network
from snnconv.stages import trace
from snnconv.traces.arrays import Array
from snnconv.traces.reader import Trace
from snnconv.traces.store import refuse_too_large


def tracing(folder, **options):
    return trace.run(TraceConfig(run=folder, **{"limit": 6} | options))


@pytest.fixture(scope="module")
def traced(run, tmp_path_factory):
    """A folder with a trace of IF neurons, its report, and its arrays."""
    folder = tmp_path_factory.mktemp("traced")
    report = tracing(folder, checkpoint=run.file("converted"), record="spikes,thresholds,ann")
    return folder, report, dict(np.load(folder / "trace.npz", allow_pickle=False))


def test_its_spikes_are_those_that_evaluate_counts(run, traced):
    folder, report, arrays = traced
    counted = evaluating(folder, checkpoint=run.file("converted"), limit=6, metric=("firing-rate",))
    rates = {row.name: row.firing_rate for row in counted.layers}
    for site in report.sites:
        spikes = arrays[f"{site.name}/spikes"]
        assert spikes.shape == (6, report.timesteps, *site.shape)
        assert site.spikes == int(np.abs(spikes.astype(np.int64)).sum())
        assert site.firing_rate == pytest.approx(rates[site.name], rel=1e-12)
        assert site.silent_share == pytest.approx((spikes == 0).all(1).mean())
    assert counted.subset.sha256 == report.subset.sha256


def test_its_index_says_what_the_arrays_are(run, traced):
    _, report, arrays = traced
    index = json.loads(arrays.pop("index").item())
    assert set(index["arrays"]) == set(arrays)
    for name, array in arrays.items():
        assert len(index["arrays"][name]["axes"]) == array.ndim, name
    assert index["arrays"][f"{report.sites[0].name}/spikes"]["axes"][:2] == ["sample", "step"]
    assert [site["name"] for site in index["sites"]] == [site.name for site in report.sites]
    data, checkpoint = load_dataset("digits"), load(run.file("converted"))
    samples = torch.from_numpy(arrays["samples"])
    assert torch.equal(torch.from_numpy(arrays["labels"]), data.test.labels[samples])
    x = normalise(data.test.images(samples), data.info)
    logits, inputs = ann_inputs(spiking_network(checkpoint).network, x)
    for name, before in inputs.items():
        torch.testing.assert_close(torch.from_numpy(arrays[f"{name}/ann"]), before.relu())
    snn = snnconv.load_network(run.file("converted"))
    with torch.no_grad():
        every = snn(x, every_step=True, samples=samples).transpose(0, 1)
    torch.testing.assert_close(torch.from_numpy(arrays["logits"]), every, rtol=1e-5, atol=1e-5)
    assert logits.shape == every[:, -1].shape


def test_batches_and_chunks_change_no_spike(run, traced, tmp_path):
    _, _, arrays = traced
    out = tmp_path / "one.npz"
    words = ("--limit", 6, "--batch-size", 4, "--chunk", 2, "--record", "spikes,potentials")
    done("trace", run.file("converted"), *words, "--run", tmp_path, "--out", out, "--quiet")
    assert json.loads(out.with_suffix(".json").read_text())["stage"] == "trace"
    again = np.load(out)
    names = [name for name in again if name.endswith("/spikes")]
    assert len(names) >= 2
    assert all(np.array_equal(again[name], arrays[name]) for name in names)


def test_nirdata_is_read_by_nir(run, traced, tmp_path):
    nir = pytest.importorskip("nir")
    _, report, arrays = traced
    out = tmp_path / "digits.nir"
    first, last = report.sites[0].name, report.sites[-1].name
    options = {"checkpoint": run.file("converted"), "form": "nir", "out": out, "dt": 1e-3}
    for _ in range(2):  # its own it may replace
        tracing(tmp_path, record=("spikes", "ann"), sites=[first, last], **options)
    found = nir.read_data(out)
    assert len(found.nodes) == 2
    for name, node in zip((first, last), sorted(found.nodes), strict=True):
        spikes = found.nodes[node].observables["spikes"]
        assert (spikes.data.dtype, spikes.dt) == (bool, 1e-3)
        expected = arrays[f"{name}/spikes"].reshape(6, report.timesteps, -1)
        assert np.array_equal(spikes.data, expected != 0)
        assert spikes.to_event(report.timesteps * expected.shape[2]).n_samples == 6
        ann = found.nodes[node].observables["ann"]
        assert ann.shape == (6, 1, expected.shape[2])


def test_signed_spikes_in_the_recipe(run, tmp_path):
    """A recipe's trace is of what the recipe made; twice, it is skipped."""
    shutil.copy(run.file("calibrated"), tmp_path / "calibrated.safetensors")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'run = "{tmp_path}"\n[convert]\nneuron = "signed"\ntimesteps = 4\n'
        'param = { spikes = 2 }\n[trace]\nlimit = 3\nrecord = ["spikes", "currents"]\n'
    )
    done("run", recipe)
    found = np.load(tmp_path / "trace.npz")
    spikes = [found[name] for name in found if name.endswith("/spikes")]
    assert min(s.min() for s in spikes) < 0 < 1 < max(s.max() for s in spikes)
    again = json.loads(done("run", recipe, "--json").out)
    assert [step["outcome"] for step in again["steps"]] == ["skipped", "skipped"]


@pytest.mark.parametrize(
    ("words", "problem", "found"),
    [
        (("--sites", "nowhere"), "there is no such site", "'nowhere'"),
        (("--record", "voltage"), "--record can't be used", "voltage"),
        (("--out", "trace.csv"), "--out can't be used", "trace.csv"),
        (("--form", "nir", "--out", "a.npz"), "--out can't be used", "a.npz"),
        (("--memory", "1KiB"), "does not fit into the given memory", "for one sample"),
    ],
)
def test_what_can_not_be_traced(run, tmp_path, words, problem, found):
    result = here("trace", run.file("converted"), "--run", tmp_path, *words)
    refused(result, ExitCode.USAGE, problem, found)
    assert not files(tmp_path)


def test_a_file_that_is_kept(run, tmp_path):
    out = tmp_path / "mine.npz"
    np.savez(out, a=np.zeros(3))
    before = files(tmp_path)
    result = here("trace", run.file("converted"), "--run", tmp_path, "--out", out)
    refused(result, ExitCode.USAGE, "mine.npz would be lost", "not a trace")
    assert files(tmp_path) == before


def test_a_trace_too_large_for_the_disk_is_refused_before_any_work(tmp_path):
    arrays = [Array("a/spikes", ("sample",), (2**60,), "|i1")]
    with pytest.raises(UsageError, match="too large for the disk") as caught:
        refuse_too_large(arrays, tmp_path / "not yet")
    assert "--sites, --limit" in caught.value.remedy


def test_a_damaged_trace_is_an_error(traced, tmp_path):
    folder, _, _ = traced
    content = (folder / "trace.npz").read_bytes()
    file = tmp_path / "trace.npz"
    for broken in (b"", content[: len(content) // 2], b"PK" + content[2:-40]):
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match="can't be read as a trace"):
            list(Trace(file).samples("2/spikes"))


def test_the_report_draws_it(run, tmp_path):
    network = run.file("converted")
    evaluating(tmp_path, checkpoint=network, metric=("accuracy", "firing-rate"))
    tracing(tmp_path, checkpoint=network, limit=2)
    paper = tmp_path / "paper"
    paper.write_text("mine\n")
    result = here("report", "--run", tmp_path, "--figures", paper)
    refused(result, ExitCode.USAGE, "the figures can't be written", "no folder")
    paper.unlink()
    paper.mkdir()
    (paper / "mine.txt").write_text("mine\n")
    page = done("report", "--run", tmp_path, "--figures", paper)
    written = json.loads((tmp_path / "report.json").read_text())["figures"]
    assert {Path(file).name for file in written} | {"mine.txt"} == {f.name for f in paper.iterdir()}
    assert {"trace-0-raster.pdf", "trace-0-scatter.svg", "rates.pdf"} <= set(files(paper))
    assert "Inside the neurons" in (tmp_path / "report.html").read_text("utf-8"), page.err
    with (tmp_path / "trace.npz").open("ab") as handle:  # no longer what was traced
        handle.write(b"more")
    done("report", "--run", tmp_path)
    assert "Inside the neurons" not in (tmp_path / "report.html").read_text("utf-8")
