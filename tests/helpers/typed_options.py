"""Writes ``snnconv/config/options.py``: the options of the Python API, typed, from the models.

Run it as ``python tests/helpers/typed_options.py`` after a change of an option.
"""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from snnconv.config import ARGUMENT, COMMANDS, InspectConfig
from snnconv.config.base import _figures, parts

FILE = Path(__file__).parents[2] / "snnconv" / "config" / "options.py"
MODELS: dict[str, type[BaseModel]] = {**COMMANDS, "inspect": InspectConfig}
HEAD = '''"""The options of the Python API, typed; None stands for an option's default.

Made from the models by ``python tests/helpers/typed_options.py``: change those, and run it again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict


class Indexed(Protocol):
    """What gives a sample for an index, as a ``Dataset`` of PyTorch."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return the sample."""


class Splits(Protocol):
    """What has two splits, as a :class:`snnconv.Dataset`."""

    @property
    def train(self) -> Any:
        """To train and calibrate on."""

    @property
    def test(self) -> Any:
        """To measure on."""


Data = Iterable[Any] | Indexed | Splits
"""Data that a program has: see :func:`snnconv.data.objects.held.part_of`."""
'''


def written(annotation: Any) -> str:
    """An annotation as a caller may fill it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(written(kind) for kind in inner)
    if origin is Literal:
        return f"Literal[{', '.join(f'{value!r}' for value in inner)}]".replace("'", '"')
    if origin is tuple:
        of = written(inner[0])
        return f"list[{of}] | tuple[{of}, ...]"
    if origin is dict:
        return "Mapping[str, Any]"
    if annotation is Path:
        return "str | Path"
    return "None" if annotation is type(None) else annotation.__name__


def of_field(field: FieldInfo) -> str:
    """What an option takes."""
    read_by = [getattr(each, "func", None) for each in field.metadata]
    one = "float | str | " if _figures in read_by else "str | int | " if parts in read_by else ""
    if (field.json_schema_extra or {}).get("registry") == "datasets":
        one = "Data | "
    kinds = one + written(field.annotation)
    return kinds if kinds.endswith("None") else f"{kinds} | None"


def own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The options that a model has and none of its bases has."""
    inherited = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", {})}
    return {
        name: field
        for name, field in model.model_fields.items()
        if name not in inherited and field.json_schema_extra != ARGUMENT  # the function's own
    }


def bases(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that a model adds to."""
    return [base for base in model.__bases__ if getattr(base, "model_fields", {})]


def named(model: type[BaseModel]) -> str:
    """``EvaluateConfig -> EvaluateOptions``."""
    return model.__name__.removesuffix("Config") + "Options"


def source() -> str:
    """The whole file: a dictionary for each model, which adds to those of the model's bases."""
    text, done = HEAD, set[type[BaseModel]]()

    def write(model: type[BaseModel], title: str) -> None:
        nonlocal text
        for base in bases(model):
            if base not in done:
                write(base, "Options that several commands have.")
        done.add(model)
        above = ", ".join(named(base) for base in bases(model)) or "TypedDict"
        head = f"class {named(model)}({above}, total=False):"
        if len(head) > 100:  # as the formatter breaks it
            head = f"class {named(model)}(\n    {above}, total=False\n):"
        text += f"\n\n{head}\n"
        text += f'    """{title}"""\n'
        own = own_fields(model)
        text += "\n" * bool(own)
        text += "".join(f"    {name}: {of_field(field)}\n" for name, field in own.items())

    for stage, model in MODELS.items():
        write(model, f"Options of ``snnconv.{stage}``.")
    return text


if __name__ == "__main__":
    FILE.write_text(source(), encoding="utf-8")
