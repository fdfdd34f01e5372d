"""Signals while a command starts, works and writes: old files or new ones, and nothing else."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from helpers.commands import done, environment, files

from snnconv.checkpoint import load
from snnconv.errors import ExitCode

INJECTION = """
import os, signal
number, name = int(os.environ["SIGNAL"]), os.environ["AT"]
real = getattr(os, name)
def stop(*given):
    os.kill(os.getpid(), number)
    return real(*given)
setattr(os, name, stop)
"""


def deaf_to_nothing():
    """A shell that runs tests in the background has SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def started(*words, cwd, env=None):
    return subprocess.Popen(
        [sys.executable, "-m", "snnconv", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | (env or {}),
        preexec_fn=deaf_to_nothing,  # noqa: PLW1509
    )


@pytest.fixture
def calibrated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("calibrate", "--samples", 50)
    (tmp_path / "inject").mkdir()
    (tmp_path / "inject" / "sitecustomize.py").write_text(INJECTION)
    return tmp_path


@pytest.mark.parametrize("at", ["fsync", "replace"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_in_the_middle_of_a_write(name, at, calibrated):
    number = getattr(signal, name)
    before = files(calibrated / "snnconv-run")
    path = os.pathsep.join([str(calibrated / "inject"), os.environ.get("PYTHONPATH", "")])
    env = {"PYTHONPATH": path, "SIGNAL": str(int(number)), "AT": at}
    running = started("convert", cwd=calibrated, env=env)
    out, err = running.communicate(timeout=120)
    after = files(calibrated / "snnconv-run")
    left = {file: content for file, content in after.items() if file.startswith(".snnconv-")}
    if name == "SIGKILL":
        assert (running.returncode, len(left)) == (-number, 1)
        done("convert")
        now = files(calibrated / "snnconv-run")
        assert {*before, "converted.safetensors", "convert.json"} <= set(now)
        assert not any(file.startswith(".") for file in now)
    else:
        assert running.returncode == 128 + number, err
        assert err.startswith(f"error: interrupted by {name}\n")
        assert "Traceback" not in err
        assert out == ""
        assert after == before


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGHUP, ExitCode.HANGUP)],
)
def test_a_training_that_is_ended_says_how_to_go_on(number, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = started("train", "mlp", "--epochs", "1000", "--limit", "100", cwd=tmp_path)
    try:
        assert "epoch   1" in running.stderr.readline()
        running.send_signal(number)
        out, err = running.communicate(timeout=120)
    finally:
        running.kill()
    assert (running.returncode, out) == (code, "")
    assert "--resume" in err.splitlines()[-1]
    assert "snnconv-run/train.resume.safetensors holds " in err
    assert set(files(tmp_path / "snnconv-run")) == {"train.jsonl", "train.resume.safetensors"}


def test_a_signal_while_torch_is_imported(tmp_path):
    """Nothing is written yet: the command leaves at once, without a traceback."""
    (tmp_path / "torch.py").write_text("import time\nprint('there', flush=True)\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for number in (signal.SIGINT, signal.SIGTERM):
        running = started("calibrate", cwd=tmp_path, env={"PYTHONPATH": path})
        try:
            assert running.stdout.readline() == "there\n"
            running.send_signal(number)
            _, err = running.communicate(timeout=30)
        finally:
            running.kill()
        assert running.returncode == 128 + number
        assert err == f"interrupted by {number.name}\n"
    assert set(files(tmp_path)) == {"torch.py"}


def test_an_ignored_hangup_stays_ignored(tmp_path):
    """Under nohup."""
    code = "import os, signal\nfrom snnconv.core import interruption\ninterruption.at_start()\n"
    code += "interruption.at_work()\nos.kill(os.getpid(), signal.SIGHUP)\nprint('there', flush=1)\n"
    code += "os.kill(os.getpid(), signal.SIGTERM)\n"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert ended.stdout == "there\n"
    assert ended.stderr.endswith(f"Interrupted: {signal.SIGTERM:d}\n")


def test_signals_at_any_time_leave_whole_files(calibrated):
    """Random times, the same at every run: what is there can be read, and the next run sweeps."""
    draw = random.Random(0)
    numbers = [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT]
    for number in numbers:
        running = started("train", "mlp", "--epochs", "500", "--limit", "60", cwd=calibrated)
        try:
            running.stderr.readline()  # the first epoch
            time.sleep(draw.uniform(0, 0.3))
            running.send_signal(number)
            running.communicate(timeout=120)
        finally:
            running.kill()
        wanted = -number if number is signal.SIGKILL else 128 + number
        assert running.returncode == wanted
        load(calibrated / "snnconv-run" / "calibrated.safetensors")
    done("train", "mlp", "--epochs", 1, "--limit", 60)
    assert not list((calibrated / "snnconv-run").glob(".*"))
