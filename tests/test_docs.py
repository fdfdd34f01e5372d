"""The pages of docs/: their examples run as they stand, and each of them can be found."""

import re
from pathlib import Path

import pytest
from helpers.blocks import blocks, run

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page for page in sorted(DOCS.rglob("*.md"))}
RUN = [name for name, page in PAGES.items() if any(block.run for block in blocks(page))]
LONG = {"guide/stages.md", "guide/compare-training.md", "tutorials/finetuning.md"}
"""Pages whose examples take more than some seconds."""


def test_pages_with_examples_are_known():
    """A page that loses its examples, or a mark that no longer matches, would run nothing."""
    assert {"quickstart.md", "tutorials/images.md", *LONG} <= set(RUN)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in RUN]
)
def test_a_page_runs(name, tmp_path, monkeypatch):
    run(PAGES[name], tmp_path, monkeypatch)


def test_every_page_stands_in_the_contents():
    listed = set()
    for name, page in PAGES.items():
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.S):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(Path(name).parent / f"{entry}.md").as_posix() for entry in entries}
    assert listed == set(PAGES) - {"index.md"}


def test_links_between_pages_lead_somewhere():
    """Those that a reader follows on a forge too, where Sphinx hasn't been."""
    for page in [*PAGES.values(), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
