"""The command line as people expect it: names, help, completion, talk, and one style of errors."""

import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import jsonschema
import numpy as np
import onnx
import pytest
from helpers.commands import done, environment, files, here, process, refused
from onnx import numpy_helper

from snnconv import config as configs
from snnconv.checkpoint import load
from snnconv.cli.commands import error_report, spelling
from snnconv.cli.options import completion, panel
from snnconv.errors import ExitCode, Interrupted, UsageError
from snnconv.reports import json_schema
from snnconv.stages import listing

ROOT = Path(__file__).parents[2]

# Names


def test_commands_options_and_names_take_any_case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("Calibrate", "--Method", "MAX", "--data", "Digits", "--batch_size", 50, "--run", "a")
    done("calibrate", "--method", "max", "--data", "digits", "--batch-size", 50, "--run", "b")
    done("convert", "--neuron", "Lm_Ht", "--run", "a")
    done("convert", "--neuron", "lm-ht", "--run", "b")
    for name in ("calibrated", "converted"):
        first, second = (tmp_path / run / f"{name}.safetensors" for run in "ab")
        assert first.read_bytes() == second.read_bytes()
    done("convert", "--neuron", "lm-ht", "--param", "Omega=Causal", "--run", "b")
    assert load(second).spiking.params["omega"] == "causal"
    words = ["--engine", "EVENT", "--metric", "Firing_Rate", "--limit", 5]
    config = json.loads(done("evaluate", "--run", "a", "--json", *words).out)["config"]
    assert (config["engine"], config["metric"]) == ("event", ["firing-rate"])


@pytest.mark.parametrize(
    ("typed", "means"),
    [("--Batch_Size", "--batch-size"), ("-V", "-v"), ("LS", "ls"), ("", ""), ("--", "--")],
)
def test_spelling(typed, means):
    assert spelling(typed) == means


def test_a_recipe_takes_any_case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text("[calibrate]\nMethod = 'MAX'\n")
    words = ["--set", "Convert.Neuron=MSAT", "--set", "CONVERT.Param.preset=VGG16", "--dry-run"]
    steps = json.loads(done("run", "r.toml", *words, "--json").out)["steps"]
    assert [step["stage"] for step in steps] == ["calibrate", "convert"]
    assert steps[0]["config"]["method"] == "max"
    assert steps[1]["config"]["neuron"] == "msat"


@pytest.mark.parametrize(
    ("words", "problem", "found", "remedy"),
    [
        (["convrt"], "no command of that name", "'convrt'", "did you mean 'convert'?"),
        (["convert", "--neurn", "if"], "convert has no such option", "'--neurn'", "'--neuron'?"),
        (["convert", "--timesteps"], "can't be read", "requires an argument", "snnconv convert -"),
        (["convert", "a", "b"], "can't be read", "unexpected extra argument", "snnconv convert -"),
        (["calibrate", "--samples", "many"], "option --samples", "'many'", "give a whole number"),
        (["train", "--lr", "fast"], "option --lr", "'fast'", "give a number"),
        (["convert", "--engine", "evnt"], "option --engine", "'evnt'", "did you mean 'event'?"),
        (["ls"], "can't be read", "missing argument", "snnconv ls --help"),
        (["ls", "neuron"], "nothing to list there", "'neuron'", "'neurons'?"),
        (["train", "resnet2"], "there is no network", "'resnet2'", "'resnet20'?"),
        (["train", "--data", "digit"], "there is no data set", "'digit'", "'digits'?"),
    ],
)  # fmt: skip
def test_usage_errors_look_like_all_errors(words, problem, found, remedy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(here(*words), ExitCode.USAGE, problem, found, remedy)
    assert files(tmp_path) == {}


# Errors as JSON, and remedies


@pytest.mark.parametrize(
    "words", [["convert"], ["convert", "--nonsense"], ["nonsense"], ["run", "no.toml"]]
)
def test_an_error_is_json_where_reports_are(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = here(*words, "--json")
    document = json.loads(result.out)
    jsonschema.Draft202012Validator(json_schema("error")).validate(document)
    assert document["schema"] == "snnconv.error/1"
    assert document["code"] == result.code == ExitCode.USAGE
    text = "error: {problem}\n  found: {found}\n  next:  {remedy}\n"
    assert result.err == text.format(**document)


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_remedy_keeps_the_run_folder(by, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if by == "variable":
        monkeypatch.setenv("SNNCONV_RUN", "my run")
    words = ["--run", "my run"] if by == "option" else []
    result = here("convert", *words)
    refused(result, ExitCode.USAGE, "in my run", "", "snnconv calibrate --run 'my run'")
    monkeypatch.delenv("SNNCONV_RUN", raising=False)
    assert "--run" not in here("convert").err


def test_commands_in_a_remedy_get_the_run_folder_once():
    text = "snnconv convert --neuron if, then `snnconv evaluate`; see snnconv ls neurons"
    kept = error_report(UsageError("a", "b", text), "x").remedy
    assert kept == (
        "snnconv convert --run x --neuron if, then `snnconv evaluate --run x`; "
        "see snnconv ls neurons"
    )
    assert error_report(UsageError("a", "b", kept), "y").remedy == kept


@pytest.mark.parametrize(("number", "name"), [(2, "SIGINT"), (15, "SIGTERM"), (1, "SIGHUP")])
def test_a_signal_is_told_even_if_foreign_code_made_another_exception_of_it(number, name):
    signalled = Interrupted(number)
    signalled.add_note("snnconv train --resume goes on")
    odd = UsageError("a", "b", "c")
    odd.__cause__ = ImportError("numpy")
    odd.__cause__.__context__ = signalled
    report = error_report(odd, "x")
    assert (report.code, report.problem) == (128 + number, f"interrupted by {name}")
    assert report.remedy == "snnconv train --run x --resume goes on"


# Help and completion


def test_h_is_help():
    assert done("convert", "-h").out == done("convert", "--help").out
    assert done("-h").out == done("--help").out
    nothing = here()
    assert (nothing.code, nothing.out.strip()) == (ExitCode.USAGE, done("-h").out.strip())


def test_options_stand_in_panels():
    model = configs.CalibrateConfig
    names = ["method", "data", "weights", "engine", "out", "run", "seed"]
    assert [panel(model, name) for name in names] == (
        ["Calibration", "Data", "Model", "Simulation", "Output", "Output", "Common"]
    )
    assert panel(configs.FinetuneConfig, "lr") == "Training"


def test_every_command_has_an_example_that_can_be_read():
    from snnconv.cli import app

    for command in app.registered_commands:
        head, _, line = str(command.epilog).partition(": ")
        assert head == "Example"
        assert line.startswith(f"snnconv {command.name}")


@pytest.mark.parametrize(
    ("model", "field", "typed", "names"),
    [
        (configs.ConvertConfig, "neuron", "lm", ["lm-h", "lm-ht"]),
        (configs.CalibrateConfig, "method", "P", ["percentile"]),
        (configs.EvaluateConfig, "metric", "s", ["scores", "sin", "synops"]),
        (configs.EvaluateConfig, "data", "fashion", ["fashion-mnist"]),
        (configs.EvaluateConfig, "engine", "", ["auto", "dense", "event"]),
    ],
)
def test_completion_of_names(model, field, typed, names):
    assert completion(model.model_fields[field])(typed) == names


def test_what_has_no_names_is_completed_by_the_shell():
    assert completion(configs.EvaluateConfig.model_fields["out"]) is None


def test_completion_in_a_shell_needs_no_torch(tmp_path):
    code = "import sys\nsys.modules['torch'] = sys.modules['numpy'] = None\n"
    code += "from snnconv.__main__ import main\nmain()"
    asked = {"_SNNCONV_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    asked["COMP_WORDS"] = "snnconv convert --neuron lm"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment() | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["lm-h", "lm-ht"], result.stderr
    script = process("--show-completion", cwd=tmp_path, env={"SHELL": "/bin/bash"})
    assert "_SNNCONV_COMPLETE" in script.out or "shell" in (script.out + script.err).lower()


# Quiet and verbose


def test_quiet_prints_errors_and_json_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert done("calibrate", "-q")[1:] == ("", "")
    assert done("train", "--epochs", 0, "--quiet", "--run", "x")[1:] == ("", "")
    assert json.loads(done("convert", "-q", "--json").out)["stage"] == "convert"
    refused(here("convert", "-q", "--timesteps", 0), ExitCode.USAGE, "option --timesteps")


def test_verbose_prints_options_files_and_versions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("calibrate", "-q")
    out = done("convert", "-v").out
    for part in ("timesteps", "snnconv-run/calibrated.safetensors", "torch", "seconds"):
        assert part in out
    assert "environment" not in done("convert").out


# Standard streams that nobody reads


def closed(stream):
    """Make a stream one whose reader has gone."""

    def prepare():
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, stream)

    return prepare


def full(stream):
    def prepare():
        os.dup2(os.open("/dev/full", os.O_WRONLY), stream)

    return prepare


@pytest.mark.parametrize("broken", [closed(2), full(2), lambda: os.close(2)])
def test_progress_that_nobody_reads_stops_no_training(broken, tmp_path):
    result = process("train", "mlp", "--epochs", 2, "--limit", 200, cwd=tmp_path, before=broken)
    assert result.code == ExitCode.DONE
    assert {"ann.safetensors", "train.json"} <= {
        f.name for f in (tmp_path / "snnconv-run").iterdir()
    }


def said(result):
    """The lines of standard error, but for the first look at the data."""
    return [line for line in result.err.splitlines() if not line.startswith("data: ")]


@pytest.mark.parametrize("words", [[], ["--json"], ["-v"]])
def test_a_reader_that_leaves_is_no_error(words, tmp_path):
    result = process("calibrate", *words, cwd=tmp_path, before=closed(1))
    assert (result.code, said(result)) == (ExitCode.DONE, [])
    assert (tmp_path / "snnconv-run" / "calibrate.json").is_file()


def test_a_result_without_room_is_an_error_and_the_work_is_saved(tmp_path):
    result = process("calibrate", "--json", cwd=tmp_path, before=full(1))
    assert result.code == ExitCode.USAGE
    saved = "snnconv-run/calibrated.safetensors"
    refused(result, ExitCode.USAGE, "the report can't be printed", "No space left", saved)
    assert (tmp_path / saved).is_file()


def test_standard_output_may_be_closed(tmp_path):
    result = process("calibrate", cwd=tmp_path, before=lambda: os.close(1))
    assert (result.code, said(result)) == (ExitCode.DONE, [])


# Documents, a recipe's result, and processes


def test_pages_can_be_read():
    names = [item["name"] for item in json.loads(done("docs", "--json").out)["items"]]
    assert {"quickstart", "guide/data", "reference/methods", "changelog"} <= set(names)
    page = (ROOT / "docs" / "guide" / "stages.md").read_text(encoding="utf-8")
    assert done("docs", "guide/stages").out == done("docs", "Stages").out == page
    refused(here("docs", "stges"), ExitCode.USAGE, "no page", "'stges'", "did you mean 'stages'?")
    refused(here("docs", "events"), ExitCode.USAGE, "several", "'events'", "tutorials/events")


def test_a_wheel_has_every_page():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["setuptools"]["data-files"]
    pages = [file.relative_to(ROOT) for file in (ROOT / "docs").rglob("*.md")]
    for page in pages:
        folder = page.parent.relative_to("docs")
        assert (
            f"{page.parent}/*.md"
            in shipped[(PurePosixPath("share/doc/snnconv") / folder).as_posix()]
        )


def test_pages_of_an_installed_wheel(tmp_path, monkeypatch):
    (tmp_path / "data.md").write_text("# Data\n")

    class File(PurePosixPath):
        def locate(self):
            return tmp_path / self.name

    files = [File("../../../share/doc/snnconv/guide/data.md"), File("snnconv/cli.py")]
    monkeypatch.setattr(listing, "__file__", str(tmp_path / "site" / "snnconv" / "listing.py"))
    monkeypatch.setattr(listing.importlib.metadata, "files", lambda name: files)
    assert [item.name for item in listing.documents().items] == ["guide/data"]
    assert listing.document("data").text == "# Data\n"


def test_a_recipe_ends_with_its_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = "[calibrate]\nsamples = 50\n[convert]\ntimesteps = 2\n"
    (tmp_path / "r.toml").write_text(f"{stages}[evaluate]\nlimit = 5\nmetric = ['accuracy']\n")
    out = done("run", "r.toml").out
    assert out.index("Recipe") < out.index("ANN accuracy")
    assert "ANN accuracy" not in done("run", "r.toml", "--dry-run").out


@pytest.mark.parametrize(
    ("sizes", "shape"), [((1, 3, 8, 8), [3, 8, 8]), ((None, 1, None), [1, 224])]
)
def test_inspect_of_an_onnx_file_needs_no_data(sizes, shape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    declared = [size or name for size, name in zip(sizes, "ncw?", strict=False)]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, declared)
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 5])
    features = math.prod(shape)
    weight = numpy_helper.from_array(np.ones((features, 5), np.float32) / features, "w")
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["a"]),
        onnx.helper.make_node("Flatten", ["a"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, "net.onnx")
    result = here("inspect", "net.onnx", "--json")
    report = json.loads(result.out)
    assert (report["data"]["spec"], report["data"]["shape"]) == ("none", shape)
    assert report["data"]["classes"] == ["0", "1", "2", "3", "4"]
    assert f"the input is taken as {shape}" in result.err
    assert report["converts"]


@pytest.mark.long
def test_torchrun_takes_a_run_folder_behind_two_dashes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["1", "-m", "--", "snnconv", "calibrate", "--samples", "50", "--run", "mine"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    assert (tmp_path / "mine" / "calibrated.safetensors").is_file()
