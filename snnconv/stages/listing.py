"""``snnconv ls``: what there is to choose from."""

import importlib.metadata
import inspect
from pathlib import Path

from snnconv.core.registry import Room, did_you_mean
from snnconv.errors import UsageError
from snnconv.reports import ListItem, ListReport, PageReport

_ROOMS = {
    "datasets": Room[object]("data/datasets", "data set", "DATASET"),
    "neurons": Room[object]("neurons", "neuron", "NEURON"),
    "statistics": Room[object]("calibration/statistics", "statistic", "STATISTIC"),
    "metrics": Room[object]("metrics", "metric", "METRIC"),
}
ROOMS = ("models", *_ROOMS, "operations")


def listing(room: str) -> ListReport:
    """The names in a room, each with a line on what it is.

    Raises:
        UsageError: no such room.
    """
    room = room.lower()
    if room not in ROOMS:
        raise UsageError(
            "there is nothing to list there", f"'{room}'", did_you_mean(room, (*ROOMS, "runs"))
        )
    if room in _ROOMS:
        files = _ROOMS[room]
        items = {name: files.summary(name) for name in files.names()}
    elif room == "models":
        from snnconv.zoo import ZOO

        items = {
            name: (inspect.getdoc(factory) or "").splitlines()[0] for name, factory in ZOO.items()
        }
    else:
        from snnconv.graph.ops import OPS

        items = {name: f"role: {op.role}" for name, op in OPS.items()}
    return ListReport(
        room=room, items=[ListItem(name=name, summary=text) for name, text in sorted(items.items())]
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
    found = list((Path(__file__).parent.parent / "docs").glob("*.md"))
    if not found:
        listed = importlib.metadata.files("snnconv") or ()
        shipped = (file for file in listed if file.match("share/doc/snnconv/*.md"))
        found = [Path(str(file.locate())) for file in shipped]
    return {file.stem: file for file in found if file.is_file()}
