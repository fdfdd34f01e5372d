"""The benchmarks' programs run, and what they write has a shape; no time is judged here."""

import importlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
TINY = ["--data", "digits", "--timesteps", "2", "--batch", "2", "--rounds", "2", "--peers"]
TINY += ["--no-memory", "--threads", "1"]


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Runs a program in this process, and gives what it wrote."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        module = importlib.import_module(f"tests.benchmarks.{name}")
        out = tmp_path / f"{name}.json"
        threads = torch.get_num_threads()
        report = module.main([*TINY, *arguments, "--out", str(out)])
        assert torch.get_num_threads() == threads
        assert json.loads(out.read_text()) == json.loads(json.dumps(report))
        return report

    return run


def well_formed(report, names):
    assert set(report["times"]) == {"1"}
    times = report["times"]["1"]
    assert set(names) <= set(times)
    for row in times.values():
        assert len(row["rounds"]) == 2
        assert all(seconds["wall"] > 0 and seconds["cpu"] > 0 for seconds in row["rounds"])
        assert set(row["against"]) == set(report["against"])
    for name in report["against"]:
        assert times[name]["against"][name] == {"wall": 1, "cpu": 1}
    assert 0 < report["rate"] < 1
    assert {"torch", "processor_name", "cores", "load"} <= set(report["machine"])


def test_simulate_in_portions(program):
    report = program("simulate", "--network", "cnn", "--memory", "1")
    well_formed(report, ["snnconv auto", "snnconv event", "snnconv dense"])
    assert report["counts"]["snnconv dense"]["differing_share"] == 0


@pytest.mark.parametrize("neuron", ["if", "msat", "lm-ht"])
def test_simulate(program, neuron):
    report = program("simulate", "--network", "cnn", "--neuron", neuron)
    well_formed(report, ["snnconv auto", "snnconv event", "snnconv dense"])
    assert [name.rpartition(" ")[0] for name in report["against"]] == ["T x ANN"]
    assert report["synaptic_operations"] > 0
    assert "event" in report["facts"]["snnconv event"]["paths"].values()
    assert "event" not in report["facts"]["snnconv dense"]["paths"].values()
    for found in report["counts"].values():
        assert found["differing_share"] < 0.01
        assert found["spikes"] > 0


def test_train(program):
    report = program("train", "--network", "cnn", "--neuron", "lm-ht")
    names = ["snnconv fused", "snnconv autograd", "snnconv bfloat16", "ANN of T*B"]
    well_formed(report, names)
    assert report["counts"]["snnconv fused"]["differing_share"] == 0


def test_calibrate(program):
    report = program("calibrate", "--network", "cnn")
    rows = report["times"]["1"]
    assert set(rows) == {"forward pass", "one a layer", "one a channel"}
    assert all(row["against"]["forward pass"]["cpu"] > 0 for row in rows.values())


def test_sweep(program):
    report = program("sweep", "--network", "cnn")
    for kind in ("by_timesteps", "by_rate"):
        for row in report[kind].values():
            assert 0 < row["rate"] < 1
            assert 0 < row["operations_per_second"] < report["peak_additions_per_second"]
    longer = [row["synaptic_operations"] for row in report["by_timesteps"].values()]
    assert longer == sorted(longer)
    more = [row["rate"] for row in report["by_rate"].values()]
    assert more == sorted(more)


@pytest.mark.parametrize("name", ["simulate", "train"])
@pytest.mark.parametrize("pool", ["mlp", "cnn"])
def test_a_peer_gives_our_spikes(program, name, pool):
    """SpikingJelly is installed with the tests; its neuron can state all of ours."""
    report = program(name, "--network", pool, "--peers", "spikingjelly")
    (mode,) = [mode for mode in report["counts"] if "multi-step" in mode]
    assert report["counts"][mode]["differing_share"] < 1e-3
    assert any(other.startswith("spikingjelly") for other in report["against"])


def test_a_peer_without_such_a_neuron_is_left_out_and_said(program, capsys):
    report = program("simulate", "--network", "mlp", "--neuron", "msat", "--peers", "spikingjelly")
    assert set(report["skipped"]) == {"spikingjelly multi-step", "spikingjelly single-step"}
    assert "no msat neuron" in capsys.readouterr().out


def test_the_theta_of_a_peer_is_in_the_weights_behind(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    peers = importlib.import_module("tests.benchmarks._peers")
    from helpers.networks import captured, residual

    graph, tensors = captured(residual())
    first, inner, last = (site.name for site in graph.sites)
    changed, left = peers.absorbed(graph, tensors, {first: 2.0, inner: 3.0, last: 5.0})
    assert left == {first: 2.0}  # a residual add reads it
    factors = sorted({float((changed[name] / tensors[name]).nanmedian()) for name in tensors})
    assert factors == [1.0, 3.0, 5.0]


PEAK = """
import torch
from tests.benchmarks._common import peak_of
print(peak_of(lambda: torch.ones(64 * 2**18).sum().item()))
"""


def test_memory_of_a_run_is_its_peak():
    """In a process of its own: this one may have freed memory to take it from."""
    run = [sys.executable, "-c", PEAK]
    peak = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    if peak == "None":
        pytest.skip("this system tells no peak")
    assert 60 < float(peak) < 80


def test_the_table_of_the_page_is_that_of_the_files():
    table = runpy.run_path(str(ROOT / "docs" / "performance" / "table.py"))
    page = table["PAGE"].read_text(encoding="utf-8")
    assert table["filled"]() == page, "run: python docs/performance/table.py"
