"""``snnconv ls`` and ``snnconv docs``: what a user can choose from, and the pages to read."""

import importlib.metadata
import inspect
from collections.abc import Mapping
from pathlib import Path

from snnconv.core.registry import REGISTRIES
from snnconv.errors import UsageError, did_you_mean
from snnconv.reports import ListItem, ListReport, PageReport

LISTED = ("models", *REGISTRIES, "operations", "presets", "training-presets", "targets")


def listing(what: str) -> ListReport:
    """Return the names of all models, operations, methods of a kind, or files, with a line on each.

    Raises:
        UsageError: there is nothing of that name to list.
    """
    what = what.lower()
    if what not in LISTED:
        raise UsageError(
            "there is nothing to list there",
            f"'{what}'",
            did_you_mean(what, (*LISTED, "runs")),
        )
    if registry := REGISTRIES.get(what):
        items = {name: registry.summary(name) for name in registry.names()}
    elif what == "models":
        from snnconv.zoo import ZOO

        items = {
            name: (inspect.getdoc(factory) or "").splitlines()[0] for name, factory in ZOO.items()
        }
    elif what in ("presets", "training-presets"):
        from snnconv.config.presets import CONVERSIONS, TRAININGS

        items = (CONVERSIONS if what == "presets" else TRAININGS).titles()
    elif what == "targets":
        from snnconv.fitting.target import TARGETS

        items = TARGETS.titles()
    else:
        from snnconv.graph.ops import OPS

        items = {name: f"role: {op.role}" for name, op in OPS.items()}
    return _listed(what, items)


def _listed(room: str, lines: Mapping[str, str]) -> ListReport:
    """Return a list as a report.

    Args:
        room: what the list is of.
        lines: one line on each item, by its name.
    """
    items = [ListItem(name=name, summary=line) for name, line in sorted(lines.items())]
    return ListReport(room=room, items=items)


def documents() -> ListReport:
    """Return the pages of the documentation, each with its title."""
    pages = {
        name: file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for name, file in _pages().items()
    }
    return _listed("docs", pages)


def document(page: str) -> PageReport:
    """Return one page of the documentation.

    Args:
        page: its name, ``guide/data``; the last part is enough if only one page has it.

    Raises:
        UsageError: no page, or more than one, has that name.
    """
    pages, name = _pages(), page.lower().removesuffix(".md")
    found = [full for full in pages if name == full or full.endswith(f"/{name}")]
    if name in found:
        found = [name]
    if not found:
        short = [full.rpartition("/")[2] for full in pages]
        raise UsageError(
            "there is no page of that name", f"'{page}'", did_you_mean(name, (*pages, *short))
        )
    if len(found) > 1:
        raise UsageError(
            "several pages have that name", f"'{page}'", f"name one of: {', '.join(found)}"
        )
    return PageReport(page=found[0], text=pages[found[0]].read_text(encoding="utf-8"))


def _pages() -> dict[str, Path]:
    """Return the pages by name, from the source tree or from where the wheel has put them."""
    source = Path(__file__).parents[2] / "docs"
    found = {file.relative_to(source): file for file in source.rglob("*.md")}
    if not found:
        listed = importlib.metadata.files("snnconv") or ()
        found = {
            Path(*file.parts[file.parts.index("snnconv") + 1 :]): Path(str(file.locate()))
            for file in listed
            if file.suffix == ".md" and "share/doc/snnconv" in file.as_posix()
        }
    return {name.with_suffix("").as_posix(): file for name, file in found.items() if file.is_file()}
