"""``snnconv ls``: what there is to choose from."""

import inspect

from snnconv.errors import UsageError
from snnconv.plugins import Room, did_you_mean
from snnconv.reports import ListItem, ListReport

_ROOMS = ("datasets", "neurons", "statistics", "metrics")
ROOMS = ("models", *_ROOMS, "operations")


def listing(room: str) -> ListReport:
    """The names in a room, each with a line on what it is.

    Raises:
        UsageError: no such room.
    """
    room = room.lower()
    if room not in ROOMS:
        raise UsageError("there is nothing to list there", f"'{room}'", did_you_mean(room, ROOMS))
    if room in _ROOMS:
        files: Room[object] = Room(room, room, "")
        items = {name: files.summary(name) for name in files.names()}
    elif room == "models":
        from snnconv.ann.zoo import ZOO

        items = {
            name: (inspect.getdoc(factory) or "").splitlines()[0] for name, factory in ZOO.items()
        }
    else:
        from snnconv.graph.ops import OPS

        items = {name: f"role: {op.role}" for name, op in OPS.items()}
    return ListReport(
        room=room, items=[ListItem(name=name, summary=text) for name, text in sorted(items.items())]
    )
