"""``snnconv ls``: what there is to choose from."""

import importlib.metadata
import inspect
from pathlib import Path

from snnconv.core.registry import REGISTRIES
from snnconv.errors import UsageError, did_you_mean
from snnconv.reports import ListItem, ListReport, PageReport

LISTED = ("models", *REGISTRIES, "operations")


def listing(what: str) -> ListReport:
    """The names of all models, operations, or methods of a kind, each with a line on what it is.

    Raises:
        UsageError: there is nothing of that name to list.
    """
    what = what.lower()
    if what not in LISTED:
        raise UsageError(
            "there is nothing to list there", f"'{what}'", did_you_mean(what, (*LISTED, "runs"))
        )
    if registry := REGISTRIES.get(what):
        items = {name: registry.summary(name) for name in registry.names()}
    elif what == "models":
        from snnconv.zoo import ZOO

        items = {
            name: (inspect.getdoc(factory) or "").splitlines()[0] for name, factory in ZOO.items()
        }
    else:
        from snnconv.graph.ops import OPS

        items = {name: f"role: {op.role}" for name, op in OPS.items()}
    return ListReport(
        room=what, items=[ListItem(name=name, summary=text) for name, text in sorted(items.items())]
    )


def documents() -> ListReport:
    """The pages of the documentation, each with its title."""
    pages = {
        name: file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for name, file in _pages().items()
    }
    items = [ListItem(name=name, summary=title) for name, title in sorted(pages.items())]
    return ListReport(room="docs", items=items)


def document(page: str) -> PageReport:
    """One page.

    Raises:
        UsageError: there is none of that name.
    """
    pages, name = _pages(), page.lower().removesuffix(".md")
    if name not in pages:
        raise UsageError("there is no page of that name", f"'{page}'", did_you_mean(name, pages))
    return PageReport(page=name, text=pages[name].read_text(encoding="utf-8"))


def _pages() -> dict[str, Path]:
    """The pages by name: of the source tree, or where the wheel has put them."""
    found = list((Path(__file__).parents[2] / "docs").glob("*.md"))
    if not found:
        listed = importlib.metadata.files("snnconv") or ()
        shipped = (file for file in listed if file.match("share/doc/snnconv/*.md"))
        found = [Path(str(file.locate())) for file in shipped]
    return {file.stem: file for file in found if file.is_file()}
