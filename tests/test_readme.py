"""The README's commands, run as they stand, in order, in a folder that was empty."""

import re
import shlex
import time
from pathlib import Path

import pytest
from helpers.commands import done

import snnconv

README = Path(__file__).parent.parent / "README.md"
FENCE = re.compile(r"(<!-- not run\b[^>]*-->\s*\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)


def lines():
    """The lines that call snnconv, of the blocks that need nothing of the reader's."""
    for left_out, language, block in FENCE.findall(README.read_text(encoding="utf-8")):
        if language in ("sh", "bash", "console") and not left_out:
            for line in block.replace("\\\n", " ").splitlines():
                for command in line.split("&&"):
                    if command.strip().startswith("snnconv "):
                        yield command.strip()


def test_the_readme_shows_commands():
    found = list(lines())
    assert "snnconv demo" in found
    for stage in ("calibrate", "convert", "report"):
        assert any(line.startswith(f"snnconv {stage}") for line in found), stage


def test_a_citation_names_the_version_that_this_is():
    """In CITATION.cff, and in the README's BibTeX entry."""
    cff = (README.parent / "CITATION.cff").read_text(encoding="utf-8")
    bibtex = README.read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", cff, re.M) == [snnconv.__version__]
    assert re.findall(r"version += \{(.*)\}", bibtex) == [snnconv.__version__]


@pytest.mark.long
def test_the_readme_runs(tmp_path, monkeypatch):
    """But for the demo: it is the first command that CI runs, before the packages for tests."""
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    for line in lines():
        if line != "snnconv demo":
            done(*shlex.split(line, comments=True)[1:])
    assert time.monotonic() - started < 180
    assert (tmp_path / "snnconv-run" / "report.html").stat().st_size > 10_000
