"""Folders for a while: gone at the end, and what a killed process left goes with the next write."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.commands import environment

from snnconv.core.files import scratch, sweep, write_atomically
from snnconv.errors import UsageError

KILLED = """
import os, pathlib, signal, sys
from snnconv.core.files import scratch
with scratch(pathlib.Path(sys.argv[1])) as made:
    (made / "large.bin").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_for_a_while(tmp_path):
    with scratch(tmp_path / "run") as made:
        (made / "file").write_text("x")
        sweep(tmp_path / "run")  # another command in the folder
        assert (made / "file").exists()
    assert not list((tmp_path / "run").iterdir())
    with pytest.raises(ZeroDivisionError), scratch(tmp_path / "run"):
        raise ZeroDivisionError
    assert not list((tmp_path / "run").iterdir())


def test_what_a_killed_process_left_is_swept(tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    env = environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(words, env=env, check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "large.bin").exists()
    write_atomically(tmp_path / "report.json", b"{}")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_that_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--run"), scratch(tmp_path / "file"):
        pass
