"""Runs the examples of a page of documentation, as a reader would: in order, in one folder.

- A block of ``sh`` is run line by line: ``snnconv`` and Python files in this process, everything
  else by bash.
- A block of ``python`` is executed; all blocks of a page share their names. A block of ``text``
  right behind it is what it prints.
- A block whose first line is ``# NAME.EXT`` is saved under that name instead.
- ``<!-- not run: why -->`` before a block leaves it out.
"""

import contextlib
import io
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from helpers.commands import done, environment

FENCE = re.compile(
    r"^(?P<skip><!-- not run: [^>]*-->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
FILE = re.compile(r"# ([\w.-]+\.\w+)\n")
SHELL = re.compile(r"[|<>;&*]")
HERE = (["snnconv"], ["export"], ["python"])
RUN = ("sh", "python", "toml")


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        language: behind the fence.
        text: the lines of it.
        run: whether a test runs it.
        prints: what it prints, as the page shows it; None if the page does not.
    """

    language: str
    text: str
    run: bool
    prints: str | None


def blocks(page: Path) -> list[Block]:
    """Return every block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    result = []
    for block, after in zip(found, [*found[1:], None], strict=False):
        printed = None
        if after and after["language"] == "text" and not text[block.end() : after.start()].strip():
            printed = after["text"]
        run = block["language"] in RUN and not block["skip"]
        result.append(Block(block["language"], block["text"], run, printed))
    return result


def run(page: Path, folder: Path, monkeypatch) -> None:
    """Run every block of a page that can be run, in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if not block.run:
            continue
        if named := FILE.match(block.text):
            (folder / named[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.simplefilter("default")  # a page may show what warns
                exec(compile(block.text, str(page), "exec"), names)
            if block.prints is not None:
                assert printed.getvalue() == block.prints, block.text
        elif block.language == "sh":
            shell(block.text, folder, monkeypatch)
        else:
            raise AssertionError(f"{page.name}: a block of {block.language} without a name")


def shell(text: str, folder: Path, monkeypatch) -> None:
    """Run a shell block; a command that fails is the test's failure.

    Lines that only call snnconv or Python run in this process, which has imported torch already.
    The others go to bash, as many as stand together.
    """
    others: list[str] = []
    for line in [*text.replace("\\\n", " ").splitlines(), ""]:
        words = shlex.split(line, comments=True)
        alone = words[:1] in (["snnconv"], ["export"], ["python"]) and not SHELL.search(
            unquoted(line)
        )
        if others and (alone or not words):
            bash("\n".join(others), folder)
            others.clear()
        if not alone:
            others += [line] if words else []
        elif words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
        elif words[0] == "python":
            python(words[1:], monkeypatch)
        else:
            done(*words[1:])


def python(words: list[str], monkeypatch) -> None:
    """Run ``python FILE ARGUMENTS`` or ``python -m MODULE ARGUMENTS`` in this process."""
    is_module = words[0] == "-m"
    name, *arguments = words[is_module:]
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    start = runpy.run_module if is_module else runpy.run_path
    try:
        start(name, run_name="__main__")
    except SystemExit as end:
        assert not end.code, words


def unquoted(line: str) -> str:
    """Return a line without what stands in quotes, and without its comment."""
    return re.sub(r"'[^']*'", "", line.partition(" #")[0])


def bash(script: str, folder: Path) -> None:
    """Run a script in which ``python`` and ``snnconv`` are those of the tests."""
    here = f"{shlex.quote(sys.executable)}"
    tools = f'python() {{ {here} "$@"; }}; snnconv() {{ {here} -m snnconv "$@"; }}'
    result = subprocess.run(
        ["bash", "-euc", f"{tools}\n{script}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
