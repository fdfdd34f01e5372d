"""The command line, for tests: in this process, which is quick, or as a process of its own."""

import functools
import os
import re
import subprocess
import sys
from typing import NamedTuple

from typer.main import get_command
from typer.testing import CliRunner

from snnconv.cli import app
from snnconv.errors import ExitCode


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@functools.cache
def command_line():
    """The parser of all commands, made once and not for each command."""
    return get_command(app)


def here(*words):
    """Run a command in this process; anything but an exit is the test's failure."""
    code = 0
    with CliRunner().isolation() as (out, err, _):
        try:
            command_line().main([str(word) for word in words], prog_name="snnconv")
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        return Done(code, out.getvalue().decode(), err.getvalue().decode())


def done(*words):
    """Run a command that has to succeed."""
    result = here(*words)
    assert result.code == ExitCode.DONE, result.err
    return result


def environment():
    """The environment of a command as a process: no colour forced, one thread."""
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    return kept | {"OMP_NUM_THREADS": "1"}


def process(*words, cwd, before=None, env=None):
    """Run a command as a process.

    Args:
        words: the command line behind ``snnconv``.
        cwd: the folder it runs in.
        before: called in the process before it starts.
        env: more environment.
    """
    result = subprocess.run(
        [sys.executable, "-m", "snnconv", *(str(word) for word in words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
        env=environment() | (env or {}),
    )
    return Done(result.returncode, result.stdout, result.stderr)


def files(folder):
    """Every file below a folder with its bytes, to compare before with after."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def refused(result, code, problem, found="", remedy=""):
    """Check that a command ended in one error of three lines, with nothing on stdout."""
    assert result.code == code, result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    # three lines, what was found and what to do may go on below; anything before is progress
    told = re.search(
        r"^error: (\S.*)\n  found: (\S.*(?:\n {3,}.*)*)\n  next:  (\S.*(?:\n {3,}.*)*)\n\Z",
        result.err,
        re.M,
    )
    assert told, result.err
    assert result.err.count("error: ") == 1
    for part, text in zip((problem, found, remedy), told.groups(), strict=True):
        assert part in text
