"""The command line: what it prints where, what it writes, and how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jsonschema
import pytest
from helpers.commands import done, environment, files, here, process, refused

from snnconv.checkpoint import load
from snnconv.cli import app
from snnconv.config import STAGES, CalibrateConfig, DemoConfig, DoctorConfig, InspectConfig
from snnconv.errors import ExitCode
from snnconv.frontends.open import EMBEDDED
from snnconv.graph.remedies import ANALOG
from snnconv.reports import REPORTS, ListReport, json_schema

COMMANDS = (*STAGES, "compare", "inspect", "demo", "doctor", "run", "ls", "docs")
COMMON = {"schema", "stage", "config", "lineage", "environment", "seed", "seconds"}
KEYS = {
    "calibrate": {"sites", "samples", "method"},
    "convert": {"neuron", "params", "timesteps", "sites_converted", "non_spiking_share"},
    "finetune": {"accuracy_epoch0", "accuracy_best", "epochs"},
    "evaluate": {
        "samples",
        "timesteps",
        "accuracy",
        "ann_accuracy",
        "logits_relative_error",
        "firing_rate_mean",
        "sops_per_sample",
        "first_layer_macs_per_sample",
        "ann_macs_per_sample",
        "energy_synaptic_mj",
        "energy_total_mj",
        "energy_ann_mj",
        "layers",
        "seconds_per_sample",
        "peak_memory_mib",
    },
}
"""Stable from the first release (docs, design)."""


def validated(report, stage):
    """The document of a report, checked against its published schema and the stable keys."""
    document = json.loads(report)
    jsonschema.Draft202012Validator(json_schema(stage)).validate(document)
    assert KEYS.get(stage, set()) | COMMON <= set(document)
    assert document["stage"] == stage
    assert document["schema"] == f"snnconv.{stage}/1"
    return document


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """The four lines, in a folder that was empty, with what each put out."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lines = {
            "calibrate": ["calibrate"],
            "convert": ["convert", "--neuron", "msat"],
            "finetune": ["finetune", "--epochs", "1", "--limit", "300"],
            "report": ["report"],
        }
        return folder / "snnconv-run", {stage: done(*words) for stage, words in lines.items()}


# The four lines


def test_the_four_lines_write_the_files_of_the_design(four):
    assert set(files(four[0])) == {
        "calibrated-mse-channel.safetensors",
        "calibrated-mse-channel.json",
        "calibrated.safetensors",
        "calibrate.json",
        "converted-msat-mse-channel-T8.safetensors",
        "converted-msat-mse-channel-T8.json",
        "converted.safetensors",
        "convert.json",
        "finetuned-msat-mse-channel-T8.safetensors",
        "finetuned-msat-mse-channel-T8-last.safetensors",
        "finetuned-msat-mse-channel-T8.json",
        "finetuned.safetensors",
        "finetuned-last.safetensors",
        "finetune.json",
        "finetune.jsonl",
        "evaluate-msat-mse-channel-T8-n355.json",
        "evaluate-msat-mse-channel-finetuned-T8-n355.json",
        "evaluate.json",
        "report.html",
        "report.md",
        "report.json",
    }


@pytest.mark.parametrize("stage", ["calibrate", "convert", "finetune", "evaluate", "report"])
def test_a_report_keeps_to_its_schema(stage, four):
    validated((four[0] / f"{stage}.json").read_text(), stage)


def test_the_lists_of_a_report_keep_to_the_design(four):
    calibrate = json.loads((four[0] / "calibrate.json").read_text())
    assert all({"name", "threshold", "max"} <= set(site) for site in calibrate["sites"])
    evaluate = json.loads((four[0] / "evaluate.json").read_text())
    wanted = {"name", "threshold", "firing_rate", "sops_per_sample"}
    assert all(wanted <= set(layer) for layer in evaluate["layers"])
    assert len(evaluate["accuracy"]) == evaluate["timesteps"]
    assert 0.9 < evaluate["accuracy"][-1] <= 1
    (epoch,) = json.loads((four[0] / "finetune.json").read_text())["epochs"]
    assert {"epoch", "loss", "accuracy"} <= set(epoch)


def test_the_four_lines_are_plain_text(four):
    for result in four[1].values():
        assert not re.search(r"[\x1b\r\b]", result.out + result.err)


def test_a_report_names_what_was_read_and_what_was_written(four):
    folder, _ = four
    calibrate, convert = (
        json.loads((folder / f"{stage}.json").read_text()) for stage in ("calibrate", "convert")
    )
    assert convert["lineage"]["inputs"][0]["sha256"] == calibrate["lineage"]["outputs"][0]["sha256"]
    assert calibrate["config"]["samples"] == CalibrateConfig.model_fields["samples"].default


def test_a_report_that_has_all_its_evaluations_makes_none(four, monkeypatch):
    monkeypatch.chdir(four[0].parent)
    before = files(four[0])
    assert "evaluate" not in done("report").err
    changed = {name for name, content in files(four[0]).items() if before[name] != content}
    assert changed <= {"report.json", "report.html", "report.md"}


# What goes where


def test_json_is_all_there_is_on_stdout(tmp_path):
    result = process("calibrate", "--samples", 100, "--json", cwd=tmp_path)
    assert result.code == ExitCode.DONE
    document = validated(result.out, "calibrate")
    assert document["data"]["spec"] == "digits"
    assert not re.search(r"[\x1b\r\b]", result.out + result.err)
    assert json.loads((tmp_path / "snnconv-run" / "calibrate.json").read_text()) == document


def test_what_goes_on_meanwhile_is_on_stderr(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = done("train", "--epochs", 1, "--limit", 100, "--json")
    validated(result.out, "train")
    assert "epoch   1" in result.err
    assert not re.search(r"[\x1b\r\b]", result.out + result.err)


def test_json_of_what_only_looks(four, monkeypatch):
    monkeypatch.chdir(four[0].parent)
    assert validated(done("inspect", "--json").out, "inspect")["kind"] == "finetuned"
    assert validated(done("doctor", "--json").out, "doctor")["checks"]
    assert not any((four[0] / name).exists() for name in ("inspect.json", "doctor.json"))


def test_colour_is_not_forced_by_a_pipe(tmp_path):
    result = process("ls", "nowhere", cwd=tmp_path, env={"TERM": "xterm-256color"})
    refused(result, ExitCode.USAGE, "there is nothing to list there", "'nowhere'", "datasets")
    assert "\x1b" not in result.err


def test_every_schema_is_one():
    for stage in REPORTS:
        schema = json_schema(stage)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert set(schema["required"]) >= COMMON - {"schema_id"}


# Help, without torch


LIGHT = """
import sys
for name in ("torch", "torchvision", "numpy", "sklearn", "safetensors"):
    sys.modules[name] = None  # an import of it fails
"""


@pytest.mark.parametrize("words", [["--help"], ["convert", "--help"], ["--version"]])
def test_help_needs_no_torch(words, tmp_path):
    code = f"{LIGHT}\nsys.argv = ['snnconv', *{words!r}]\nfrom snnconv.cli import main\nmain()"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_of_torch_wait_for_a_while_unless_told(given, spins, tmp_path):
    """Read when torch is loaded, so set before a stage loads it."""
    code = """
import os, sys
sys.argv = ["snnconv", "--version"]
from snnconv.cli import main
assert "torch" not in sys.modules
try:
    main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"))
"""
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {k: v for k, v in os.environ.items() if k not in ours} | given
    command = [sys.executable, "-c", code]
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    result = subprocess.run(command, check=True, **options)
    assert result.stdout.split()[-1] == spins


def test_help_names_every_command():
    text = done("--help").out
    assert {name for name in COMMANDS if not re.search(rf"^│ {name}\b", text, re.M)} == set()
    assert {command.name for command in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize(
    ("name", "model"),
    [*STAGES.items(), ("inspect", InspectConfig), ("demo", DemoConfig), ("doctor", DoctorConfig)],
)
def test_help_is_the_configuration(name, model):
    squeezed = re.sub(r"[\s│╭╮╰╯─]", "", done(name, "-h").out)
    assert f"Example:{model.example}".replace(" ", "") in squeezed
    assert model.__doc__.replace(" ", "") in squeezed
    for key, field in model.model_fields.items():
        assert field.description, f"{name}: {key} has no description"
        assert field.description.replace(" ", "") in squeezed, key
        default = field.default
        if isinstance(default, str | int | float) and not isinstance(default, bool):
            assert f"default:{default}".replace(" ", "") in squeezed


# How it ends


def test_a_usage_error_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["convert", "--nonsense"], ["nonsense"], ["calibrate", "--samples", "many"]):
        result = here(*words)
        assert result.code == ExitCode.USAGE
        assert "Traceback" not in result.err
    assert "--timesteps" in here("convert", "--timestep", "4").err
    assert files(tmp_path) == {}


def test_what_is_not_supported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch.nn as nn\n"
        "def gelu(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.GELU())\n"
    )
    result = here("calibrate", "net.py:gelu")
    refused(result, ExitCode.UNSUPPORTED, "", "", "")
    assert "GELU" in result.err or "gelu" in result.err


def test_a_failed_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = here("train", "--lr", "1e20", "--epochs", 2, "--limit", 600)
    refused(result, ExitCode.CHECK_FAILED, "training diverged", "loss", "--lr 1e+19")
    assert files(tmp_path) == {}


def test_a_checkpoint_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = here("convert", "lost.safetensors")
    refused(result, ExitCode.CHECKPOINT, "lost.safetensors", "no such file")


def test_a_traceback_is_for_who_asks(tmp_path):
    result = process("convert", "--timesteps", 0, "--debug", cwd=tmp_path)
    assert result.code != ExitCode.DONE
    assert "Traceback" in result.err
    assert "option --timesteps" in result.err
    refused(
        process("convert", "--timesteps", 0, cwd=tmp_path),
        ExitCode.USAGE,
        "option --timesteps can't be used",
        "0",
        "give 1 or more (T, the time steps of the simulation)",
    )


def test_an_interrupt_leaves_files_as_they_were(tmp_path):
    folder = tmp_path / "snnconv-run"
    folder.mkdir()
    shutil.copy(EMBEDDED, folder / "ann.safetensors")
    before = files(tmp_path)
    running = subprocess.Popen(
        [sys.executable, "-m", "snnconv", "train", "--epochs", "1000", "--limit", "200"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        # a shell that runs tests in the background has it ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        assert "epoch" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in err
    assert "interrupted" in err
    assert out == ""
    after = files(tmp_path)
    # what --resume goes on from, and the log
    added = {f"snnconv-run/train.{suffix}" for suffix in ("jsonl", "resume.safetensors")}
    assert set(after) - set(before) == added
    assert {name: after[name] for name in before} == before


# Looking around


@pytest.mark.parametrize(
    ("room", "has"),
    [
        (
            "models",
            {"cnn", "m5", "mlp", "vgg11", "vgg13", "vgg16", "resnet18", "resnet19", "resnet20"},
        ),
        (
            "datasets",
            {"digits", "fashion-mnist", "cifar10", "cifar100", "folder", "npz", "speech-commands"}
            | {"imdb", "textfolder"},
        ),
        ("neurons", {"if", "msat"}),
        ("statistics", {"max", "percentile", "mse"}),
        ("metrics", {"accuracy", "firing-rate", "synops", "energy", "sin", "conversion-error"}),
        ("operations", {"conv", "linear", "relu"}),
    ],
)
def test_ls(room, has):
    document = json.loads(done("ls", room, "--json").out)
    jsonschema.validate(document, ListReport.model_json_schema(by_alias=True))
    items = {item["name"]: item["summary"] for item in document["items"]}
    assert has <= set(items)
    assert all(items.values())
    assert all(name in done("ls", room).out for name in items)


def test_ls_of_no_room():
    refused(here("ls", "neuron"), ExitCode.USAGE, "nothing to list", "'neuron'", "'neurons'?")


def test_doctor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "IF spike counts" in done("doctor").out
    (tmp_path / "file").touch()
    result = here("doctor", "--run", "file/run")
    assert result.code == ExitCode.CHECK_FAILED
    assert "run folder" in result.out


def test_inspect_of_every_kind(four, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("train", "--epochs", 0, "--limit", 100)
    for file in (
        tmp_path / "snnconv-run" / "ann.safetensors",
        *(four[0] / f"{kind}.safetensors" for kind in ("calibrated", "converted", "finetuned")),
    ):
        document = json.loads(done("inspect", file, "--json").out)
        assert document["kind"] == file.stem
        assert {node["name"] for node in document["nodes"] if node["op"] == "relu"} >= {"2", "6"}
        assert file.stem in done("inspect", file).out


NETWORK = """
from torch import nn
def make(last=nn.ReLU):
    layers = nn.Flatten(), nn.Linear(64, 8), nn.SiLU(), nn.Linear(8, 8), last(), nn.Linear(8, 10)
    return nn.Sequential(*layers)
def odd():
    return make(nn.Hardshrink)
def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def twice():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.SiLU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 10)
    )
"""


def test_inspect_of_a_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    silu = {"place": "2", "found": "module SiLU", "remedy": ANALOG}

    def inspected(*words):
        result = here("inspect", *words, "--json")
        report = json.loads(result.out)
        assert result.code == (ExitCode.DONE if report["converts"] else ExitCode.UNSUPPORTED)
        return report

    report = inspected("net.py:make")
    assert (report["converts"], report["obstacles"]) == (False, [silu])
    assert [node["role"] for node in report["nodes"]] == (
        ["linear", "synapse", "analog", "synapse", "site", "synapse"]
    )  # with what it would be under --non-relu analog
    assert report["imported"]["referee"] == "torch"
    assert report["lineage"]["inputs"][0]["path"] == "net.py"

    report = inspected("net.py:make", "--non-relu", "analog")
    assert (report["converts"], report["obstacles"], len(report["nodes"])) == (True, [], 6)

    report = inspected("net.py:odd")
    assert [obstacle["place"] for obstacle in report["obstacles"]] == ["2", "4"]
    assert report["obstacles"][0] == silu
    assert (report["nodes"], report["macs"], report["data"]) == ([], None, None)

    assert inspected("net.py:flat")["obstacles"][0]["found"] == "no ReLU in it"
    assert inspected("resnet20?width=0.25")["converts"]
    shown = here("inspect", "net.py:odd").out
    assert "module Hardshrink" in shown
    shown = here("inspect", "net.py:twice").out.split("Obstacles", 1)[1]
    assert (shown.count("module SiLU"), shown.count(ANALOG)) == (1, 1)
    assert re.search(r" 2  2, 4$", shown, re.M)
    assert "--non-relu analog" in shown
    assert not (tmp_path / "snnconv-run").exists()


def test_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = done("demo", "--timesteps", 2)
    last = result.out.split()[-1]
    assert last.endswith(".html")
    assert (tmp_path / last).is_file()
    assert "MSAT mse channel" in result.out


# The same work gives the same bytes


def test_two_runs_give_the_same_checkpoint(four, tmp_path, monkeypatch):
    """In another folder, and with another number of samples a batch."""
    monkeypatch.chdir(tmp_path)
    done("calibrate", "--run", "other", "--out", "deep/theta.safetensors", "--seed", 0)
    file = tmp_path / "deep" / "theta.safetensors"
    assert file.read_bytes() == (four[0] / "calibrated.safetensors").read_bytes()
    done("convert", file, "--neuron", "msat")
    converted = tmp_path / "snnconv-run" / "converted.safetensors"
    assert converted.read_bytes() == (four[0] / "converted.safetensors").read_bytes()
    assert (tmp_path / "deep" / "theta.json").is_file()


def test_training_gives_the_same_bytes_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        words = ["--epochs", 1, "--limit", 200, "--augment", "flip", "--augment", "crop"]
        done("train", *words, "--run", name)
    a, b = (tmp_path / name / "ann.safetensors" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    assert load(a).lineage[0].config["augment"] == ["flip", "crop"]
