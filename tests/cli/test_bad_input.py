"""Bad input: one clear error with its exit code, and every file as it was.

What the checkpoint and the data sets refuse in detail is tested beside them; here it is what the
user of a command sees.
"""

import resource
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.checkpoints import rewritten
from helpers.commands import done, files, here, process, refused
from torch import nn

from snnconv.checkpoint import FORMAT, load, save
from snnconv.core.names import file_name
from snnconv.data.dataset import load_dataset
from snnconv.errors import ExitCode
from snnconv.frontends.open import EMBEDDED, from_module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder with a checkpoint and a report of each of the first stages."""
    folder = tmp_path_factory.mktemp("made")
    done("calibrate", "--samples", 64, "--run", folder)
    done("convert", "--timesteps", 2, "--run", folder)
    done("evaluate", "--limit", 10, "--run", folder)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """The folder the commands of a test run in, with a run folder."""
    shutil.copytree(made, tmp_path / "snnconv-run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def unchanged(folder, *words):
    """Run a command; what was there stays byte for byte, and nothing comes beside it."""
    before = files(folder)
    result = here(*words)
    assert files(folder) == before
    return result


# Checkpoints


def damaged(what, file):
    """Put something in a checkpoint's place."""
    content = file.read_bytes()
    match what:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "text":
            file.write_text("no checkpoint, but a text that is long enough for a header")
        case "foreign":
            safetensors.torch.save_file({"fc.weight": torch.ones(2)}, file)
        case "pickle":
            torch.save({"fc.weight": torch.ones(2)}, file)
        case "folder":
            file.unlink()
            file.mkdir()


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("missing", "no such file"),
        ("empty", "an empty file"),
        ("truncated", "no whole safetensors file"),
        ("text", "no whole safetensors file"),
        ("foreign", "no snnconv checkpoint"),
        ("pickle", "no whole safetensors file"),
        ("folder", "a folder"),
    ],
)
def test_a_damaged_checkpoint(what, found, folder):
    run = Path("snnconv-run")
    for stage, kind in (
        ("convert", "calibrated"),
        ("finetune", "converted"),
        ("evaluate", "converted"),
        ("inspect", "converted"),
    ):
        file = run / file_name(kind)
        damaged(what, file)
        refused(unchanged(folder, stage, file), ExitCode.CHECKPOINT, str(file), found)
        if file.is_dir():
            file.rmdir()
        shutil.copy(EMBEDDED, file)  # something to damage for the next


@pytest.mark.parametrize("stage", ["convert", "finetune", "evaluate"])
def test_nothing_to_work_on(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    remedy = {"convert": "snnconv calibrate"}.get(stage, "snnconv convert")
    refused(
        unchanged(tmp_path, stage),
        ExitCode.USAGE,
        "no checkpoint to work on in snnconv-run",
        ".safetensors",
        remedy,
    )
    refused(unchanged(tmp_path, "report"), ExitCode.USAGE, "nothing to report", "evaluate*.json")


@pytest.mark.parametrize(
    ("stage", "kind", "remedy"),
    [
        ("calibrate", "converted", "snnconv train"),
        ("convert", "converted", "snnconv calibrate"),
        ("finetune", "calibrated", "snnconv convert"),
        ("evaluate", "calibrated", "snnconv convert"),
    ],
)
def test_the_wrong_stage(stage, kind, remedy, folder):
    result = unchanged(folder, stage, Path("snnconv-run") / file_name(kind))
    refused(result, ExitCode.CHECKPOINT, file_name(kind), f"of kind '{kind}'", remedy)


@pytest.mark.parametrize("stage", ["calibrate", "inspect"])
def test_an_unknown_operation(stage, folder):
    def exotic(document, tensors):
        document["graph"]["nodes"][2]["op"] = "warp"

    file = rewritten(folder / "net.safetensors", load(EMBEDDED), exotic)
    result = unchanged(folder, stage, file)
    refused(result, ExitCode.CHECKPOINT, "", "", "")
    assert "'warp'" in result.err
    assert str(file) in result.err


@pytest.mark.parametrize("stage", ["calibrate", "inspect"])
def test_a_later_format(stage, folder):
    def later(document, tensors):
        document["format"] = FORMAT + 1

    file = rewritten(folder / "net.safetensors", load(EMBEDDED), later)
    found = f"format {FORMAT + 1}"
    refused(unchanged(folder, stage, file), ExitCode.CHECKPOINT, str(file), found, "--upgrade")


def test_a_report_of_a_later_schema(folder):
    file = Path("snnconv-run/evaluate.json")
    file.write_text(file.read_text().replace("snnconv.evaluate/1", "snnconv.evaluate/2"))
    refused(unchanged(folder, "report"), ExitCode.CHECKPOINT, str(file), "snnconv.evaluate/2")
    file.write_text(file.read_text()[:100])
    refused(unchanged(folder, "report", file), ExitCode.CHECKPOINT, str(file))
    refused(unchanged(folder, "report", "lost.json"), ExitCode.CHECKPOINT, "lost.json")
    file = Path("snnconv-run/calibrate.json")
    refused(unchanged(folder, "report", file), ExitCode.CHECKPOINT, str(file), "calibrate/1")


# Data


def npz(file, images, classes=10, **changed):
    """A data set of a few images."""
    n = len(images)
    arrays = {
        "x_train": images,
        "y_train": np.arange(n) % classes,
        "x_test": images,
        "y_test": np.arange(n) % classes,
    }
    np.savez(file, **arrays | changed)
    return f"npz:{file}"


@pytest.mark.parametrize("stage", ["calibrate", "finetune", "evaluate"])
@pytest.mark.parametrize(
    ("shape", "classes", "found"),
    [
        ((20, 12, 12), 10, "sample shape [1, 12, 12], where the network has [1, 8, 8]"),
        ((20, 3, 8, 8), 10, "sample shape [3, 8, 8], where the network has [1, 8, 8]"),
        ((20, 8, 8), 7, "number of classes 7, where the network has 10"),
    ],
)
def test_data_that_do_not_fit(stage, shape, classes, found, folder):
    data = npz(folder / "data.npz", np.zeros(shape, np.uint8), classes)
    words = [EMBEDDED] if stage == "calibrate" else []
    result = unchanged(folder, stage, *words, "--data", data)
    refused(result, ExitCode.UNSUPPORTED, "does not fit the network", found, "--data digits")


def test_data_that_is_not_there(folder):
    result = unchanged(folder, "calibrate", "--data", "cifar10", "--data-root", "nowhere")
    refused(result, ExitCode.USAGE, "'cifar10' is not here", "nowhere", "--download")
    result = unchanged(folder, "calibrate", "--data", "digit")
    refused(result, ExitCode.USAGE, "no data set", "'digit'", "did you mean 'digits'")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("stage", ["calibrate", "finetune", "evaluate"])
def test_data_that_is_not_finite(stage, bad, folder):
    images = np.zeros((20, 8, 8), np.float32)
    images[-1, 3, 3] = bad
    data = npz(folder / "data.npz", images)
    result = unchanged(folder, stage, "--data", data)
    refused(result, ExitCode.UNSUPPORTED, "data.npz", "NaN or Inf", "")


# Numbers


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("calibrate", "ann"),
        ("convert", "calibrated"),
        ("finetune", "converted"),
        ("evaluate", "converted"),
        ("inspect", "converted"),
    ],
)
def test_weights_that_are_not_finite(stage, kind, bad, folder):
    source = EMBEDDED if kind == "ann" else Path("snnconv-run") / file_name(kind)
    checkpoint = load(source)
    name = sorted(checkpoint.network)[-1]

    def spoil(document, tensors):
        tensors[f"network/{name}"].view(-1)[0] = bad

    rewritten(folder / "bad.safetensors", checkpoint, spoil)
    result = unchanged(folder, stage, "bad.safetensors")
    refused(result, ExitCode.CHECKPOINT, "bad.safetensors", f"NaN or Inf in tensor '{name}'")


def net(last=1.0, first=1.0, bias=0.0):
    """Two convolution-free layers with weights of a given size, made for the digits."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    with torch.no_grad():
        module[1].weight *= first
        module[1].bias.fill_(bias)
        module[3].weight *= last
    return from_module(module.eval(), load_dataset("digits").info).network


def test_activations_that_are_not_finite(folder):
    huge = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)
    )
    ann = from_module(huge.eval(), load_dataset("digits").info).network
    for name in ("1.weight", "3.weight"):
        ann.network[name] *= 1e30
    save(ann, folder / "huge.safetensors")
    refused(
        unchanged(folder, "calibrate", "huge.safetensors"),
        ExitCode.UNSUPPORTED,
        "site '4' can't be calibrated",
        "NaN or Inf among its activations",
    )


def spiking(folder, ann):
    """Calibrate and convert a network; its spiking checkpoint."""
    save(ann, folder / "ann.safetensors")
    done("calibrate", "ann.safetensors", "--run", "other", "--samples", 50)
    done("convert", "--timesteps", 4, "--run", "other")
    return folder / "other" / "converted.safetensors"


@pytest.mark.parametrize("stage", ["evaluate", "finetune"])
def test_a_simulation_that_is_not_finite(stage, folder):
    file = spiking(folder, net())
    checkpoint = load(file)
    for name in ("1.weight", "3.weight"):
        checkpoint.network[name] *= 1e38
    save(checkpoint, file)
    result = unchanged(folder, stage, file)
    refused(result, ExitCode.CHECK_FAILED, "", "", "")
    assert "nan" in result.err.lower() or "inf" in result.err.lower()


def test_a_dead_layer(folder):
    save(net(bias=-1e6), folder / "dead.safetensors")
    refused(
        unchanged(folder, "calibrate", "dead.safetensors"),
        ExitCode.UNSUPPORTED,
        "1 site(s) can't be calibrated",
        "activations that are all zero at 2",
        "--samples",
    )


def test_a_network_without_a_site(folder):
    (folder / "net.py").write_text(
        "from torch import nn\ndef flat(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    result = unchanged(folder, "calibrate", "net.py:flat")
    refused(result, ExitCode.UNSUPPORTED, "net.py:flat", "no ReLU")


def test_weights_of_another_network(folder):
    torch.save({"fc.weight": torch.ones(2)}, folder / "w.pt")
    result = unchanged(folder, "calibrate", "cnn", "--weights", "w.pt")
    refused(result, ExitCode.CHECKPOINT, "w.pt")
    result = unchanged(folder, "calibrate", "cnn", "--weights", "lost.pt")
    refused(result, ExitCode.CHECKPOINT, "lost.pt")


# Options


@pytest.mark.parametrize(
    ("words", "problem", "found", "remedy"),
    [
        (
            "convert --timesteps 0",
            "option --timesteps",
            "0",
            "give 1 or more (T, the time steps of",
        ),
        (
            "finetune --timesteps 0",
            "option --timesteps",
            "0",
            "give 1 or more (T, the time steps to train at",
        ),
        ("evaluate --timesteps -3", "option --timesteps", "-3", "give 1 or more (T, the"),
        ("demo --timesteps 0", "option --timesteps", "0", "give 1 or more"),
        ("calibrate --samples 0", "option --samples", "0", "give 1 or more"),
        ("calibrate --batch-size 0", "option --batch-size", "0", "give 1 or more"),
        ("train --lr 0", "option --lr", "0", "give more than 0"),
        ("train --momentum 1", "option --momentum", "1", "give less than 1"),
        ("train --validation 1", "option --validation", "1", "give less than 1"),
        ("train --augment flop", "augment", "'flop'", "flip"),
        ("train resnet21", "no network of that name", "'resnet21'", "resnet20"),
        ("calibrate vgg16", "no trained weights", "", "snnconv train vgg16"),
        ("calibrate --method mex", "no statistic of that name", "'mex'", "max, mse"),
        ("calibrate --param percentile", "can't be read", "'percentile'", "NAME=VALUE"),
        (
            "calibrate --method percentile --param percentil=9",
            "no such parameter",
            "'percentil'",
            "'percentile'",
        ),
        (
            "calibrate --method percentile --param percentile=200",
            "percentile of statistic",
            "200",
            "100",
        ),
        ("calibrate --device tpu9", "no device 'tpu9'", "", "--device cpu"),
        ("convert --neuron iff", "no neuron of that name", "'iff'", "'if'"),
        ("convert --confidence 99", "can't be used there", "'99'", "13"),
        ("evaluate --metric acuracy", "no metric of that name", "'acuracy'", "'accuracy'"),
        ("evaluate --metric energy", "energy", "", "synops"),
        ("calibrate --out theta.json", "option --out", "theta.json", ".safetensors"),
        ("evaluate --out result", "option --out", "result", ".json"),
        ("report --out report.md", "option --out", "report.md", ".html"),
    ],
)
def test_an_option_out_of_range(words, problem, found, remedy, folder):
    refused(unchanged(folder, *words.split()), ExitCode.USAGE, problem, found, remedy)


# Places


COMMANDS = {
    "train": ["train", "--epochs", 0, "--limit", 60],
    "calibrate": ["calibrate", "--samples", 64],
    "convert": ["convert", "--timesteps", 3],
    "finetune": ["finetune", "--epochs", 0, "--limit", 60],
    "evaluate": ["evaluate", "--limit", 10],
    "report": ["report", "snnconv-run/evaluate.json"],
}


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_folder_that_can_not_be_made(stage, folder):
    (folder / "file").write_text("no folder")
    suffix = {"report": ".html", "evaluate": ".json"}.get(stage, ".safetensors")
    result = unchanged(folder, *COMMANDS[stage], "--out", f"file/below/out{suffix}")
    refused(result, ExitCode.USAGE, "can't be written", "file", "--run DIR or --out FILE")


def test_a_run_folder_that_is_a_file(folder):
    (folder / "file").write_text("no folder")
    for words in (["calibrate", "--samples", 64], ["demo"]):
        result = unchanged(folder, *words, "--run", "file")
        refused(result, ExitCode.USAGE, "can't be written", "file", "--run DIR")
    for stage in ("convert", "finetune", "evaluate", "report"):
        result = unchanged(folder, stage, "--run", "file/below")
        refused(result, ExitCode.USAGE, "", "", "")


def mount(folder, *options):
    """Mount a tmpfs; false where tests may not."""
    command = ["mount", *options, str(folder)]
    tool = shutil.which("mount") is not None
    return tool and subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def read_only(folder):
    """The run folder, read only: by a mount of its own, or where tests may not, by its mode."""
    place = folder / "snnconv-run"
    mounted = mount(place, "--bind", str(place)) and mount(place, "-o", "remount,bind,ro")
    if not mounted:
        place.chmod(0o555)
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
    place.chmod(0o755)


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_folder_that_may_not_be_written(stage, read_only):
    result = unchanged(read_only.parent, *COMMANDS[stage])
    refused(result, ExitCode.USAGE, "can't be written", "snnconv-run", "--run DIR")


@pytest.fixture
def full(folder):
    """A run folder without room: a small disk, or where tests may not mount, a limit on a file."""
    room, place = 4 * 1024 * 1024, folder / "small"
    place.mkdir()
    mounted = mount(place, "-t", "tmpfs", "-o", f"size={room}", "tmpfs")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for file in (folder / "snnconv-run").iterdir():
            shutil.copy(file, place)
        if mounted:
            left = shutil.disk_usage(place).free
            (place / "ballast").write_bytes(b"x" * left)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        yield place
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def test_what_only_looks_needs_no_room(full):
    for words in (["inspect", EMBEDDED], ["doctor"]):
        assert unchanged(full, *words, "--run", full).code == ExitCode.DONE


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_full_disk(stage, full):
    words = (
        ["report", full / "evaluate.json"] if stage == "report" else COMMANDS.get(stage, [stage])
    )
    result = unchanged(full, *words, "--run", full)
    refused(result, ExitCode.USAGE, "can't be written", "", "with room")
    assert "No space left" in result.err or "File too large" in result.err


def test_a_full_disk_for_a_process(folder):
    """As users meet it, by a limit on the size of a file."""
    place = folder / "snnconv-run"
    before = files(folder)
    limit = 50_000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = process("convert", "--timesteps", 9, cwd=folder, before=limited)
    refused(result, ExitCode.USAGE, "-T9.safetensors can't be written", "File too large")
    assert files(folder) == before
    assert not [file for file in place.iterdir() if file.name.startswith(".")]


def test_nothing_is_begun_where_the_report_can_not_be_written(folder):
    (folder / "out.json").mkdir()
    result = unchanged(folder, "calibrate", "--samples", 64, "--out", "out.safetensors")
    refused(result, ExitCode.USAGE, "out.json")


def test_the_embedded_network_is_whole():
    checkpoint = load(EMBEDDED, ["ann"])
    assert replace(checkpoint, lineage=()).data.spec == "digits"
