"""Writes the text of a module file: the definitions it needs, the layers, and the walk over time.

Names are those of the checkpoint's nodes. A value that only the next operation reads is called
``x``; others have the name of their node, and are deleted after their last reader.
"""

import keyword
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from torch import Tensor

from snnconv.exports.base import Subject
from snnconv.exports.parts.source import Import
from snnconv.exports.parts.torch_calls import call
from snnconv.exports.parts.torch_definitions import averaging, definitions, kind_of
from snnconv.graph.ir import INPUT, Node
from snnconv.graph.network import IMAGE, is_fixed, node_tensors
from snnconv.graph.ops import OPS, Role
from snnconv.simulation.build import fixed
from snnconv.simulation.module import SpikingModule

_TAKEN = {"x", "y", "state", "samples", "timesteps", "before", "after", "done", "self", "nn", "F"}


class Writer:
    """Writes the text of one network."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.graph = subject.network.network.graph
        self.network = subject.network.network.tensors()
        self.neurons = subject.network.neurons
        self.cumulative = {node.name for node in subject.network.analysis.cumulative}
        self.averaging = averaging(self.graph, self.neurons)
        self.definitions = definitions(subject)
        self.names = self._named()
        self.calls = {
            node.name: call(node, node_tensors(node, self.network))
            for node in self.graph.nodes
            if node.name not in self.neurons
        }
        self.made = self._shared()

    def tensors(self) -> dict[str, Tensor]:
        """Return the module's state, by the names that it has there."""
        found: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            own = self.names[node.name]
            if node.name in self.neurons:
                state = self.neurons[node.name].state_dict()
                found |= {f"{own}.{name}": tensor for name, tensor in state.items()}
            elif self.made[node.name] == own:
                dot = "." if self.calls[node.name].made else "_"
                tensors = node_tensors(node, self.network)
                found |= {f"{own}{dot}{role}": tensor for role, tensor in tensors.items()}
        return found

    def text(self, stem: str) -> str:
        """Return the whole file.

        Args:
            stem: the file's name without its suffix.
        """
        taken = self.definitions.text()
        body = [taken, "\n", *self._class(), "\n", *self._load(), ""]
        imports = {*self.definitions.imports(), *_IMPORTS}
        if any("F." in line for line in body):
            imports.add(Import("torch.nn", "functional", "F"))
        head = [self._docstring(stem), "from __future__ import annotations\n"]
        return "\n".join([*head, *_statements(imports), "\n", *body])

    def _docstring(self, stem: str) -> str:
        facts, data = self.subject.info, self.subject.checkpoint.data
        shape = ", ".join(map(str, data.shape))
        frames = "" if data.frames is None else f"{data.frames}, "
        return f'''"""{self.subject.called}, at {facts.timesteps} time steps.

snnconv {version("snnconv")} wrote this file from the checkpoint
{self.subject.sha256}.
It needs torch alone. The tensors are in {stem}.safetensors in the same folder::

    from {stem} import load
    network = load()
    logits = network(x)  # [B, {frames}{shape}], normalised -> [B, {len(data.classes)}]

``network.normalise(raw)`` makes raw values normalised ones; ``network(x, every_step=True)`` gives
the logits after every step; ``network.stream()`` takes one step at a time, if the neurons can.
"""
'''

    def _class(self) -> Iterator[str]:
        """Return the network's class."""
        network, facts, data = (
            self.subject.network,
            self.subject.info,
            self.subject.checkpoint.data,
        )
        frames = network.hold is not None
        yield f"class Network({'FramesModule' if frames else 'SpikingModule'}):"
        yield '    """The layers, and what one does after another."""\n'
        yield "    def __init__(self) -> None:"
        yield "        super().__init__("
        yield f"            timesteps={facts.timesteps},"
        yield f"            fixed={fixed(self.subject.checkpoint)},"
        yield f"            causal={network.causal},"
        yield f"            mean={tuple(data.mean)},"
        yield f"            std={tuple(data.std)},"
        yield f"            scale={data.scale or 1.0},"
        yield f"            input_shape={tuple(self.graph.input_shape)},"
        if frames:
            yield f"            frames={data.frames},"
            yield f"            hold={network.hold},"
        yield "        )"
        kind, params = kind_of(self.subject).__name__, type(self.subject.params).__name__
        for node in self.graph.nodes:
            own = self.names[node.name]
            if node.name in self.neurons:
                theta = tuple(self.neurons[node.name].threshold.shape)
                made = f"{kind}({params}(), torch.ones({theta}), {facts.timesteps})"
                yield f"        self.{own} = {made}"
                ceiling = self.neurons[node.name].ceiling
                if ceiling is not None and "ceiling" in self.definitions.accessed:
                    yield f"        self.{own}.ceiling = torch.tensor({ceiling.tolist()})"
                if self.neurons[node.name].two_sided:
                    yield f"        self.{own}.two_sided = True"
                if (norm := self.neurons[node.name].norm) is not None:
                    channels = norm.threshold().shape[1]
                    yield f"        self.{own}.norm = FoldedNorm(torch.zeros(2, {channels}))"
            elif self.made[node.name] == own:
                if made := self.calls[node.name].made:
                    yield f"        self.{own} = {made}"
                    continue
                for role, tensor in node_tensors(node, self.network).items():
                    value = f"torch.empty({tuple(tensor.shape)})"
                    if is_fixed(node):
                        yield f'        self.register_buffer("{own}_{role}", {value})'
                    else:
                        yield f"        self.{own}_{role} = nn.Parameter({value})"
        yield ""
        yield from self._steps()

    def _steps(self) -> Iterator[str]:
        """Return the method that runs steps."""
        network = self.subject.network
        yield "    def steps("
        yield "        self,"
        yield "        x: Tensor,"
        yield "        timesteps: int,"
        yield "        state: Any = None,"
        yield "        samples: Tensor | None = None,"
        yield "    ) -> tuple[Tensor, Any]:"
        says = "The next steps: ``[f, B, ...] -> [T, B, classes]``, and the state then."
        yield f'        """{says}"""'
        begun = f"lead(self, {network.lead}, x, timesteps, samples)" if network.lead else "{}"
        yield f"        before = {begun} if state is None else state"
        yield '        done = before.get("steps", 0)'
        yield '        after: dict[str, Any] = {"steps": done + timesteps}'
        if network.hold is not None:
            yield "        x = frames_shown(x, done, timesteps, self.hold)"
        values = self._values()
        last = {name: node.name for node in self.graph.nodes for name in node.inputs}
        if values[INPUT] != "x":
            yield f"        {values[INPUT]} = x"
        for node in self.graph.nodes:
            for line in self._line(node, values):
                yield f"        {line}"
            ended = [
                values[name]
                for name in dict.fromkeys(node.inputs)
                if last[name] == node.name and values[name] != "x" and name != self.graph.output
            ]
            if ended:
                yield f"        del {', '.join(ended)}"
        end = values[self.graph.output]
        yield f"        return {end}.expand(timesteps, *{end}.shape[1:]), after"

    def _line(self, node: Node, values: Mapping[str, str]) -> Iterator[str]:
        """Return the line that computes a node."""
        out, own = values[node.name], self.names[node.name]
        given = [values[name] for name in node.inputs]
        if node.name in self.neurons:
            keep, network = "", self.subject.network
            share = network.confidence and network.confidence.keep.get(node.name)
            if share is not None or network.draws:
                yield f"currents = {given[0]}.expand(timesteps, *{given[0]}.shape[1:])"
                where, keep = f"{network.seed}, {node.name!r}, samples, done, currents", ", keep"
            if share is not None and network.confidence:
                yield f"keep = keep_mask({share!r}, {network.confidence.early}, {where})"
            if network.draws:
                beside = f" if keep is None else keep * drawn({where})"
                yield f"keep = drawn({where})" + (beside if share is not None else "")
            state = f'before.get("{own}")'
            yield f'{out}, after["{own}"] = fire(self.{own}, {given[0]}, timesteps, {state}{keep})'
            if readers := self.averaging.get(node.name):
                listed = ", ".join(f"self.{self.names[name]}" for name in readers)
                yield f"{out} = settled({out}, {listed})"
            return
        if OPS[node.op].role is Role.STEPWISE:
            yield f"{out} = scaled({given[0]}, self.{self.made[node.name]}_scale, done, timesteps)"
            return
        called = self.calls[node.name]
        value = called.value.replace("{self}", f"self.{self.made[node.name]}")
        if called.is_module:
            function = f"self.{self.made[node.name]}"
        else:
            function = f"lambda {', '.join(called.inputs)}: {value}"
        if node.name not in self.cumulative:
            yield f"{out} = each({function}, {', '.join(given)})"
            return
        pooling = OPS[node.op].role is Role.MAX
        how = f"pool_increase(over_time({function}), {given[0]}"
        if not pooling:
            how = f"function_increase(over_time({function}), [{', '.join(given)}], done"
        yield f'{out}, after["{own}"] = {how}, before.get("{own}"))'

    def _values(self) -> dict[str, str]:
        """Return the variable of each value: ``x`` for what only the next operation reads."""
        names = [INPUT, *(node.name for node in self.graph.nodes)]
        following = dict(zip(names, self.graph.nodes, strict=False))
        found = {}
        for name in names:
            readers = list(self.graph.consumers(name))
            passed_on = readers == [following.get(name)] and name != self.graph.output
            ends = name == self.graph.output and name == names[-1]
            own = "inputs" if name == INPUT else self.names[name]
            found[name] = "x" if passed_on or ends else own
        return found

    def _named(self) -> dict[str, str]:
        """Return a name of Python's for each node."""
        reserved = {*keyword.kwlist, *_TAKEN, "inputs", "currents", "keep", "Network", "load"}
        reserved |= {key[1] for key in (*self.definitions.roots, *self.definitions.kept)}
        reserved |= {*dir(SpikingModule), *vars(SpikingModule(timesteps=1)), "frames", "hold"}
        found: dict[str, str] = {}
        for node in self.graph.nodes:
            name = "".join(c if c.isascii() and c.isalnum() else "_" for c in node.name)
            if not name[:1].isalpha():
                name = f"{node.op}_{name.lstrip('_')}"
            while name in reserved:
                name += "_"
            reserved.add(name)
            found[node.name] = name
        return found

    def _shared(self) -> dict[str, str]:
        """Return whose layer each node calls: the first with the same tensors and attributes."""
        first: dict[str, str] = {}
        found = {}
        for node in self.graph.nodes:
            if node.name in self.calls:
                made = self.calls[node.name].made
                key = f"{made} {sorted(node.tensors.items())}" if node.tensors else node.name
                found[node.name] = first.setdefault(key, self.names[node.name])
        return found

    @property
    def images(self) -> bool:
        """Whether samples are images, so that the weights get the layout that is fastest there."""
        return len(self.graph.input_shape) == IMAGE

    def _load(self) -> Iterator[str]:
        """Return the function that users call."""
        yield "def load(file: str | Path | None = None) -> Network:"
        yield '    """The network with its tensors, in evaluation mode.\n'
        yield "    Args:"
        yield "        file: of the tensors; by default the one in the folder of this file."
        yield '    """'
        yield "    network = Network()"
        yield '    beside = Path(__file__).with_suffix(".safetensors")'
        yield "    network.load_state_dict(read_tensors(Path(file or beside)))"
        if self.images:
            yield "    # convolutions on a CPU are fastest in this layout"
            yield "    network = network.to(memory_format=torch.channels_last)"
        yield "    return network.eval()"


_IMPORTS = (
    Import("torch", "", "torch"),
    Import("torch", "Tensor", "Tensor"),
    Import("torch", "nn", "nn"),
    Import("dataclasses", "dataclass", "dataclass"),
    Import("pathlib", "Path", "Path"),
    Import("typing", "Any", "Any"),
)
"""What the network's class and its parameters need."""


def _statements(imports: set[Import]) -> Iterator[str]:
    """Import statements: Python's own modules, then torch's."""
    for torchs in (False, True):
        chosen = [each for each in imports if each.module.startswith("torch") is torchs]
        yield from sorted(each.line() for each in chosen if not each.name)
        modules = sorted({each.module for each in chosen if each.name})
        for module in modules:
            names = sorted(each.called() for each in chosen if each.name and each.module == module)
            yield f"from {module} import {', '.join(names)}"
        yield ""
