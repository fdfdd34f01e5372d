"""The guard: what no other place has words for ends without a traceback, and says where it was."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.commands import here, refused

from snnconv.config import ConvertConfig
from snnconv.core.progress import Quiet
from snnconv.errors import ExitCode, SnnconvError, UnforeseenError, UsageError, guarding
from snnconv.stages import convert
from snnconv.stages.advance import run_stage


def told(error):
    with pytest.raises(SnnconvError) as caught, guarding("`snnconv x`"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    "kind", [ValueError, RuntimeError, KeyError, RecursionError, AssertionError]
)
def test_an_error_without_words_names_the_work_and_the_place(kind):
    error = told(kind("odd"))
    assert type(error) is UnforeseenError
    assert error.code == ExitCode.UNFORESEEN
    assert "`snnconv x`" in error.problem
    assert kind.__name__ in error.found
    assert "test_guard.py" in error.found
    assert "--debug" in error.remedy


def test_a_path_that_the_system_refuses_is_named():
    error = told(OSError(errno.ENAMETOOLONG, "File name too long", "xxx.pt"))
    assert type(error) is UsageError
    assert "xxx.pt" in error.problem
    assert error.found == "File name too long"


def test_an_allocation_that_fails_has_a_next_step():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    for error in (
        caught.value,
        MemoryError("no room"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ):
        refusal = told(error)
        assert type(refusal) is UsageError
        assert "memory" in refusal.problem
        assert "--memory" in refusal.remedy


def test_an_error_with_words_stays_as_it_is():
    error = UsageError("a", "b", "c")
    with pytest.raises(UsageError) as caught, guarding("`snnconv x`"):
        raise error
    assert caught.value is error


def test_an_interruption_stays_one():
    with pytest.raises(KeyboardInterrupt), guarding("`snnconv x`"):
        raise KeyboardInterrupt


@pytest.fixture
def broken(monkeypatch):
    def run(config, progress):
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(convert, "run", run)


def test_a_command(broken, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["snnconv", "convert", "a b.safetensors"])
    result = here("convert", "a b.safetensors")
    refused(result, ExitCode.UNFORESEEN, "`snnconv convert 'a b.safetensors'`", "pipeline.py, line")
    with pytest.raises(UnforeseenError):
        here("convert", "--debug")


def test_a_stage_of_a_pipeline(broken):
    with pytest.raises(UnforeseenError, match="stage 'convert'"):
        run_stage("convert", ConvertConfig(), Quiet())


def test_standard_output_that_is_full(tmp_path):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "snnconv", "ls", "neurons"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == ExitCode.USAGE, result.stderr
    assert result.stderr.startswith("error: the report can't be printed")
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr
