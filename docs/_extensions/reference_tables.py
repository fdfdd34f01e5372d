"""Reference tables made from the code when the pages are built, so that they can't be out of date.

- ``cli-options`` shows every command with its arguments and options.
- ``operations`` shows every operation of a graph with its attributes.
"""

from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from snnconv import config
from snnconv.cli import app
from snnconv.cli.options import flag, panel, signature
from snnconv.graph.operations.base import LARGEST
from snnconv.graph.ops import OPS

ROLES = {
    "synapse": "has weights: a spike that enters causes synaptic operations",
    "site": "an activation: `convert` puts a neuron here",
    "linear": "keeps the mean over time as it is",
    "max": "follows the cumulative rule",
    "gate": "joins spikes step by step; what passes is a spike of its own; `train` puts it there",
    "stepwise": "has a value of its own at each step; `train` puts it there",
    "analog": "follows the cumulative rule, and does not spike",
}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * lines[0].count(" | ") + "---|", *lines[1:]])


def cell(text: object) -> str:
    """Return text that fits into a cell of a table."""
    return str(text).replace("|", r"\|").replace("\n", " ").replace("*", r"\*")


def default(value: object) -> str:
    """Return how a default is shown: empty where there is none."""
    if value is None or value in ((), [], {}, False):
        return ""
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
    return f"`{shown}`"


def command(name: str, model: type[config.StageConfig]) -> str:
    """Return a command's help as Markdown: what it does, an example, its options by panel."""
    parts = [f"## {name}", model.__doc__ or "", f"Example: `{model.example}`"]
    panels: dict[str, list[tuple[str, ...]]] = {}
    for parameter in signature(model).parameters.values():
        if parameter.name not in model.model_fields:
            continue
        field = model.model_fields[parameter.name]
        argument = field.json_schema_extra == config.ARGUMENT
        title = "Argument" if argument else panel(model, parameter.name)
        spelled = parameter.name.upper() if argument else flag(parameter.name)
        row = (f"`{spelled}`", cell(field.description), cell(default(field.default)))
        panels.setdefault(title, []).append(row)
    for title in sorted(panels, key=lambda title: title != "Argument"):
        parts.append(table((title, "meaning", "default"), panels[title]))
    return "\n\n".join(parts)


class Options(SphinxDirective):
    """Every command with its options."""

    def run(self) -> list[nodes.Node]:
        """Return the sections, one a command."""
        models = {
            **config.COMMANDS,
            "inspect": config.InspectConfig,
            "demo": config.DemoConfig,
            "doctor": config.DoctorConfig,
        }
        known = {info.name for info in app.registered_commands}
        assert known == {*models, "run", "ls", "docs"}, sorted(known ^ set(models))
        text = "\n\n".join(command(name, model) for name, model in models.items())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def bounds(schema: dict[str, Any]) -> str:
    """Return what a value may be, from its JSON Schema."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(bounds(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {bounds(schema['items'])}"
    least, most = (schema.get(key) for key in ("minimum", "maximum"))
    if "exclusiveMinimum" in schema:
        return f"{schema['type']} above {schema['exclusiveMinimum']}"
    if least is None or most is None:
        return str(schema.get("type", "any"))
    if most >= LARGEST:
        return f"{schema['type']} from {least}" if least >= 0 else str(schema["type"])
    return f"{schema['type']}, {least} to {most}"


class Operations(SphinxDirective):
    """Every operation, by role."""

    def run(self) -> list[nodes.Node]:
        """Return the sections, one a role."""
        parts = []
        for role in dict.fromkeys(op.role for op in OPS.values()):
            parts.append(f"## {role.capitalize()}\n\nAn operation of this role {ROLES[role]}.")
            rows = []
            for name, op in OPS.items():
                if op.role != role:
                    continue
                fields = op.attributes.model_json_schema().get("properties", {})
                required = [f"`{tensor}`" for tensor in op.required]
                optional = [f"`{tensor}`?" for tensor in op.optional]
                own = "<br>".join(
                    f"`{key}`: {field['description']} ({bounds(field)})"
                    for key, field in fields.items()
                )
                reads = str(op.sources or "one or more")
                rows.append((f"`{name}`", reads, ", ".join([*required, *optional]), own))
            parts.append(table(("operation", "inputs", "tensors", "attributes"), rows))
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("cli-options", Options)
    app.add_directive("operations", Operations)
    return {"parallel_read_safe": True}
