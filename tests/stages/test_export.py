"""``snnconv export``: what is written, what it is held against, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.commands import done as finished
from helpers.commands import files, here
from helpers.commands import refused as refuses

from snnconv.checkpoint import load
from snnconv.core.runtime import host_kept
from snnconv.data.dataset import batches, load_dataset
from snnconv.data.split import strata, subset
from snnconv.errors import ExitCode
from snnconv.exports.parts.integer_network import unpacked
from snnconv.exports.parts.integer_run import run as simulated
from snnconv.reports import ExportReport, read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with a converted network of the digits."""
    run = tmp_path_factory.mktemp("exported")
    done("calibrate", "--samples", "100", "--run", run)
    done("convert", "--timesteps", "4", "--run", run)
    return run


def done(*words):
    """The report of a command."""
    return json.loads(finished(*words, "--json").out)


def refused(*words, code):
    """The error of a command."""
    result = here(*words, "--json")
    assert result.code == code, result.err
    refuses(result._replace(out=""), code, "")
    return json.loads(result.out)


def small(*arguments):
    return ("export", "--limit", "12", *arguments)


def test_the_files_and_the_report(folder):
    report = done(*small("--run", folder))
    assert report["difference"] == 0 == report["tolerance"]
    assert (report["samples"], report["steps"], report["timesteps"]) == (12, 4, 4)
    assert report["classes_equal"] == report["samples"] == report["subset"]["samples"]
    assert report["format"] == "torch"
    outputs = [entry["path"] for entry in report["lineage"]["outputs"]]
    stem = "torch_converted_if_mse_channel_T4"
    assert outputs == [f"{folder}/export/{stem}{suffix}" for suffix in (".py", ".safetensors")]
    own = folder / "export" / f"{stem}.json"
    assert own.read_bytes() == (folder / "export.json").read_bytes()
    assert read(own, ExportReport).schema_id == "snnconv.export/1"
    code = (
        f"import sys; sys.modules['snnconv'] = None; sys.path.insert(0, '{folder}/export'); "
        f"import torch, {stem} as m; n = m.load(); "
        "print(tuple(n(n.normalise(torch.rand(3, 1, 8, 8))).shape))"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert out == "(3, 10)\n"


def test_the_same_again_gives_the_same_bytes(folder, tmp_path):
    first, second = tmp_path / "a" / "net.py", tmp_path / "b" / "net.py"
    for file in (first, second, second):  # an export may replace its own files
        done(*small("--run", folder, "--out", file))
    for suffix in (".py", ".safetensors"):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()


def test_what_a_user_has_changed_is_kept(folder, tmp_path):
    file = tmp_path / "net.py"
    done(*small("--run", folder, "--out", file))
    file.write_text(file.read_text() + "\n# mine\n")
    before = files(tmp_path)
    error = refused(*small("--run", folder, "--out", file), code=ExitCode.USAGE)
    assert "changed since export wrote it" in error["found"]
    assert files(tmp_path) == before


@pytest.mark.parametrize("suffix", [".py", ".safetensors"])
def test_a_file_of_anothers_is_kept(folder, tmp_path, suffix):
    (tmp_path / f"net{suffix}").write_text("not an export's")
    before = files(tmp_path)
    error = refused(*small("--run", folder, "--out", tmp_path / "net.py"), code=ExitCode.USAGE)
    assert f"net{suffix} would be lost" in error["problem"]
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--to", "pickle"), ExitCode.USAGE, "there is no export format of that name"),
        (("--out", "net.onnx"), ExitCode.USAGE, "torch writes .py"),
        (("--param", "opset=3"), ExitCode.USAGE, "opset"),
        (("--limit", "0"), ExitCode.USAGE, "--limit"),
        (("--out", "/proc/nowhere/net.py"), ExitCode.USAGE, "can't be written"),
        (("calibrated.safetensors",), ExitCode.CHECKPOINT, "kind 'calibrated'"),
        (("--data", "cifar10", "--data-root", "nowhere"), ExitCode.USAGE, "cifar10"),
    ],
)
def test_bad_input(folder, arguments, code, words, monkeypatch):
    monkeypatch.chdir(folder)
    before = files(folder)
    error = refused(*small("--run", ".", *arguments), code=code)
    assert words in f"{error['problem']} {error['found']}"
    assert files(folder) == before


def test_a_step_run_t_times_is_what_evaluate_reports(folder, tmp_path):
    """By torch alone: the accuracy after every step, and every layer's spikes."""
    file, metrics = tmp_path / "net.pt2", ("--metric", "accuracy", "--metric", "firing-rate")
    done(*small("--to", "pt2", "--run", folder, "--out", file))
    out = ("--run", folder, "--out", tmp_path / "evaluated.json")
    reported = done("evaluate", "--limit", "12", *metrics, *out)
    test, info = load_dataset("digits").test, load(folder / "converted.safetensors").data
    ((_, x, labels),) = batches(test, info, subset(strata(test), 12, 0), 12)
    program = torch.export.load(file)
    run_step, ((_, _, states), _) = program.module(), program.example_inputs
    states = [torch.zeros(12, *each.shape[1:]) for each in states]
    total, right, spikes = 0, [], []
    for step in range(reported["timesteps"]):
        currents, states, fired = run_step(x, torch.tensor(step), states)
        total = total + currents.double()
        right.append(int((total.argmax(1) == labels).sum()))
        spikes.append([int((values != 0).sum()) for values in fired])
    assert right == [round(12 * accuracy) for accuracy in reported["accuracy"]]
    layers = [layer for layer in reported["layers"] if layer["firing_rate"] is not None]
    places = [layer["neurons"] * 12 * reported["timesteps"] for layer in layers]
    rates = [layer["firing_rate"] for layer in layers]
    assert torch.tensor(spikes).sum(0).tolist() == [
        round(rate * number) for rate, number in zip(rates, places, strict=True)
    ]
    assert all(rates)


def test_a_file_that_an_older_nir_can_not_read_is_not_written(folder, tmp_path, monkeypatch):
    nir = pytest.importorskip("nir")
    done("convert", f"{folder}/calibrated.safetensors", "--param", "v0=0", "--run", tmp_path)

    def old(*given):
        raise ValueError("unknown node SumPool2d")

    monkeypatch.setattr(nir, "read", old)
    words = ("--to", "nir", "--out", tmp_path / "out" / "net.nir", "--run", tmp_path)
    error = refused(*small(*words), code=ExitCode.CHECK_FAILED)
    assert "can't be read back by nir" in error["problem"]
    assert "unknown node SumPool2d" in error["found"]
    assert "pip install --upgrade nir" in error["remedy"]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_c_program_finds_the_classes_of_the_digits(folder, tmp_path):
    file = tmp_path / "digits.snni"
    done(*small("--to", "integer", "--run", folder, "--out", file))
    program = [str(tmp_path / "snni"), str(file)]
    source = Path(__file__).parents[2] / "docs" / "guide" / "snni.c"
    subprocess.run(["cc", "-O2", "-o", program[0], str(source), "-lm"], check=True, timeout=60)
    info = load(folder / "converted.safetensors").data
    ((_, x, _),) = batches(load_dataset("digits").test, info, torch.arange(60), 60)
    found = subprocess.run(program, input=x.numpy().tobytes(), capture_output=True, check=True)
    network = unpacked(file.read_bytes())
    wanted = simulated(network, x[None].double().numpy(), 4, 4).outputs.sum(0).argmax(1)
    assert [int(each) for each in found.stdout.split()] == wanted.tolist()
    assert len(set(wanted.tolist())) == 10


def test_corrected_biases_bring_whole_numbers_nearer(folder, tmp_path):
    """On test samples, of which the correction has seen none."""
    options = {"bits": "3", "bias_correction": "true", "samples": "200"}
    whole = ("export", "--to", "integer", "--run", folder, "--limit", "200")
    found = []
    for more in ({}, options):
        words = [f"--param={name}={value}" for name, value in ({"bits": "3"} | more).items()]
        found.append(done(*whole, *words, "--out", tmp_path / "net.snni"))
    before, after = found
    assert after["params"]["samples"] == 200
    assert after["spikes_differing"] < before["spikes_differing"]
    assert after["difference"] < before["difference"]
    words = [f"--integer={name}={value}" for name, value in options.items()]
    measured = done("evaluate", *words, "--run", folder, "--limit", "200", "--metric", "accuracy")
    assert measured["integer"]["accuracy"][-1] == after["accuracy"]
    assert measured["integer"]["same_class"] == after["classes_equal"]


def test_more_samples_to_correct_biases_than_memory_holds(folder, tmp_path):
    words = ("evaluate", "--integer", "bias_correction=true", "--limit", "5", "--run", folder)
    error = refused(*words, "--memory", "1MiB", code=ExitCode.USAGE)
    assert error["problem"] == "memory does not hold 128 samples over 4 steps"
    few = int(error["remedy"].removeprefix("correct biases on fewer: samples="))
    assert 1 <= few < 128
    done(*words, "--memory", "1MiB", "--integer", f"samples={few}", "--metric", "accuracy")
    error = refused(*words, "--memory", "1KiB", code=ExitCode.USAGE)
    assert error["remedy"] == "leave bias_correction out, or give more memory"


def test_a_file_that_would_be_lost_is_named_before_a_long_correction(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("snnconv.stages.export.training_samples", None)  # is not reached
    (tmp_path / "net.snni").write_text("mine")
    words = ("--to", "integer", "--param", "bias_correction=true", "--out", tmp_path / "net.snni")
    error = refused(*small("--run", folder, *words), code=ExitCode.USAGE)
    assert "net.snni would be lost" in error["problem"]
    assert (tmp_path / "net.snni").read_text() == "mine"


WRONG = '''
from snnconv.exports.torch import TorchModule


class Wrong(TorchModule):
    """Files that compute something else."""

    def run(self, *given):
        found = super().run(*given)
        found.logits[-1, 0, 0] += 1e-6
        return found
'''


def test_files_that_compute_something_else_are_not_written(folder, tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    out = tmp_path / "out" / "net.py"
    to = ("--to", f"{tmp_path}/wrong.py:Wrong", "--out", out)
    error = refused(*small("--run", folder, *to), code=ExitCode.CHECK_FAILED)
    assert "differs from it" in error["problem"]
    assert "0 is allowed" in error["found"]
    assert not out.parent.exists()


STRAY = '''
from snnconv.exports.torch import TorchModule


class Stray(TorchModule):
    """Files that are off by a spike in the first samples of each run."""

    tolerance = 1e-3

    def run(self, file, subject, x, samples, *given):
        found = super().run(file, subject, x, samples, *given)
        found.logits[:, : len(samples) // 20 + MORE] += 1.0
        return found
'''


def test_one_sample_in_twenty_may_be_moved_by_a_spike_within_rounding(folder, tmp_path):
    for more in (0, 1):
        (tmp_path / f"stray{more}.py").write_text(STRAY.replace("MORE", str(more)))
    same = ("--run", folder, "--limit", "40", "--batch-size", "40", "--out", tmp_path / "net.py")
    found = done("export", *same, "--to", f"{tmp_path}/stray0.py:Stray")
    assert found["samples_beyond"] == 2
    assert found["difference"] > found["tolerance"] == 1e-3
    to = ("--to", f"{tmp_path}/stray1.py:Stray")
    error = refused("export", *same, *to, code=ExitCode.CHECK_FAILED)
    assert error["found"].startswith("3 of 40 samples have logits that differ by up to ")


FORMAT = '''
from snnconv.errors import Obstacle
from snnconv.exports.base import Export


class Nothing(Export):
    """A format without words."""

    suffix = ".nothing"
    referee = "nobody"

    def obstacles(self, subject):
        nodes = subject.network.network.graph.nodes
        return [Obstacle(node.name, f"a {node.op}", "leave it out") for node in nodes]

    def files(self, subject, stem):
        raise AssertionError

    def run(self, *given):
        raise AssertionError
'''


def test_a_users_format_and_all_that_it_has_no_words_for(folder, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FORMAT)
    error = refused(*small("--run", folder, "--to", f"{file}:Nothing"), code=ExitCode.UNSUPPORTED)
    assert error["problem"].startswith("12 parts of ")
    assert error["problem"].endswith(f"can't be exported to {file}:Nothing")
    assert "0, 4, 7: a conv; 2, 6, 9, 13: a relu; " in error["found"]
    assert error["remedy"] == "leave it out"
    file.write_text("Nothing = int\n")
    error = refused(*small("--run", folder, "--to", f"{file}:Nothing"), code=ExitCode.USAGE)
    assert "no subclass of snnconv.exports.base.Export" in error["found"]


def test_it_is_a_stage_of_a_recipe(folder, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'run = "{tmp_path}"\n[export]\ncheckpoint = "{folder}/converted.safetensors"\nlimit = 5\n'
    )
    outcomes = [done("run", recipe)["steps"][0]["outcome"] for _ in range(2)]
    assert outcomes == ["run", "skipped"]
    assert json.loads((tmp_path / "export.json").read_text())["samples"] == 5


def test_threads_do_not_matter(folder, tmp_path):
    with host_kept():
        report = done(*small("--run", folder, "--threads", "2", "--out", tmp_path / "net.py"))
    assert report["difference"] == 0
