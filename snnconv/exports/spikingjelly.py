"""A module of SpikingJelly's neurons: one file of Python, and one of tensors.

The Python file imports torch, safetensors and SpikingJelly. Its ``Network`` computes one step; it
takes SpikingJelly's own functions (``reset_net``, monitors, ``step_mode``) and can be trained as
any network of that library. Thresholds are 1, see :mod:`snnconv.exports.parts.unit_graph`.

Shape:
    ``[B, *input] -> [B, classes]`` at each step; ``logits`` gives the mean of T steps.

Reference:
    Fang et al. 2023, *SpikingJelly*: ``IFNode`` and ``LIFNode`` with ``v_reset = None`` for a soft
    reset and 0 for a hard one. The referee runs the file and watches every spike.

Deviations:
    SpikingJelly divides by ``tau = 1 / (1 - decay)`` where snnconv multiplies, so a potential may
    differ by rounding. In training, its neurons take the surrogate gradient that SpikingJelly gives
    by default.
"""

import runpy
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnconv.checkpoint.file import plain
from snnconv.errors import CheckFailedError, Obstacle, UnsupportedError, one_line
from snnconv.exports.base import Export, RunResult, Subject
from snnconv.exports.parts.unit_graph import Layer, UnitGraph, obstacles, unit_graph, valued
from snnconv.graph.ir import INPUT
from snnconv.neurons.lif import Params as LIFParams


class SpikingJelly(Export):
    """Writes a module file."""

    suffix = ".py"
    referee = "spikingjelly, a step at a time"
    tolerance: ClassVar[float | None] = 1e-3

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return what its neurons can't say."""
        return list(_obstacles(subject))

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the module, and its tensors."""
        made = unit_graph(subject)
        return {".py": _text(subject, made, stem).encode(), ".safetensors": plain(_tensors(made))}

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the file, and watch its neurons."""
        sites, values = unit_graph(subject).sites, dict[str, list[Tensor]]()
        network = _loaded(file)
        for site, name in sites.items():
            getattr(network, name).register_forward_hook(_kept(values.setdefault(site, [])))
        hold = subject.network.hold or timesteps
        total, averages = torch.zeros((), dtype=torch.float64), []
        with torch.no_grad():
            for t in range(timesteps):
                total = total + network(x[t // hold % len(x)]).double()
                averages.append(total / (t + 1))
        spikes = {site: torch.stack(each) for site, each in values.items()}
        return valued(RunResult(torch.stack(averages), spikes), subject)


def _obstacles(subject: Subject) -> Iterator[Obstacle]:
    if isinstance(subject.params, LIFParams) and subject.params.learned:
        found = "a decay for each layer, where the module has one neuron for all"
        yield Obstacle("neuron 'lif'", found, "export with --to nir or --to torch")
    yield from obstacles(subject, "spikingjelly", initial=True)


def _kept(values: list[Tensor]) -> Callable[..., None]:
    """Return a hook that keeps what a module gives."""

    def hook(module: object, inputs: object, output: Tensor) -> None:
        values.append(output)

    return hook


def _loaded(file: Path) -> Any:
    """Return the network of a file.

    Raises:
        UnsupportedError: SpikingJelly is not installed.
        CheckFailedError: the file does not run.
    """
    try:
        import spikingjelly  # noqa: F401
    except ImportError as error:
        problem = "a module of spikingjelly can't be checked"
        raise UnsupportedError(problem, one_line(error), "pip install spikingjelly") from error
    try:
        return runpy.run_path(str(file))["load"]()
    except Exception as error:  # whatever the file and the library raise
        raise CheckFailedError(
            "the exported module does not run",
            one_line(error),
            "pip install --upgrade spikingjelly, and export again",
        ) from error


def _tensors(made: UnitGraph) -> dict[str, Tensor]:
    """Return weights and biases, by the names that torch has for them."""
    found = {}
    for layer in made.layers:
        if layer.weight is not None and layer.bias is not None:
            found[f"{layer.name}.weight"] = layer.weight.contiguous()
            found[f"{layer.name}.bias"] = layer.bias.contiguous()
    return found


def _text(subject: Subject, made: UnitGraph, stem: str) -> str:
    """Return the whole file."""
    data, info = subject.checkpoint.data, subject.info
    shape = ", ".join(map(str, data.shape))
    params, v0 = subject.params, float(getattr(subject.params, "v0", 0))
    lines = [
        f'"""{subject.called}, in SpikingJelly\'s neurons, at {info.timesteps} time steps.',
        "",
        f"snnconv {version('snnconv')} wrote this file from the checkpoint",
        f"{subject.sha256}.",
        f"The tensors are in {stem}.safetensors in the same folder::",
        "",
        f"    from {stem} import load",
        "    network = load()",
        f"    logits = network.logits(x)  # [B, {shape}], normalised -> [B, {len(data.classes)}]",
        "",
        f"Normalised is ``(raw / {data.scale or 1.0:g} - mean) / std``, with ``mean`` = "
        f"{tuple(data.mean)}",
        f"and ``std`` = {tuple(data.std)}, one for each channel or one for all.",
        '"""',
        "",
        "from pathlib import Path",
        "",
        "import torch",
        "from safetensors.torch import load_file",
        "from spikingjelly.activation_based import functional, neuron",
        "from torch import Tensor, nn",
        "",
        "",
        "def neurons() -> nn.Module:",
        '    """Make a layer of neurons with a threshold of 1."""',
        f"    made = {_neuron(params)}",
        f'    made.set_reset_value("v", {v0!r})  # the initial potential',
        f"    made.v = {v0!r}",
        "    return made",
        "",
        "",
        "class Network(nn.Module):",
        '    """The layers; a call computes one step."""',
        "",
        "    def __init__(self) -> None:",
        "        super().__init__()",
        *(f"        self.{layer.name} = {_module(layer)}" for layer in made.layers),
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        '        """Compute one step: ``[B, ...] -> [B, classes]``."""',
        *(f"        {line}" for line in _steps(made)),
        "",
        f"    def logits(self, x: Tensor, timesteps: int = {info.timesteps}) -> Tensor:",
        '        """Return the mean output of T steps that show the same samples."""',
        "        functional.reset_net(self)",
        "        return torch.stack([self(x) for _ in range(timesteps)]).mean(0)",
        "",
        "",
        "def load(file: str | Path | None = None) -> Network:",
        '    """Load the network with its tensors, by default those in the folder of this file."""',
        "    network = Network()",
        '    beside = Path(__file__).with_suffix(".safetensors")',
        "    network.load_state_dict(load_file(file or beside))",
        "    return network.eval()",
        "",
    ]
    return "\n".join(lines)


def _neuron(params: object) -> str:
    """Return SpikingJelly's neuron."""
    if not isinstance(params, LIFParams):
        return "neuron.IFNode(v_threshold=1.0, v_reset=None)"
    reset = "0.0" if params.reset == "hard" else "None"
    if params.decay == 1:
        return f"neuron.IFNode(v_threshold=1.0, v_reset={reset})"
    tau, scaled = 1 / (1 - params.decay), params.input == "scaled"
    how = f"tau={tau!r}, decay_input={scaled}, v_threshold=1.0, v_reset={reset}"
    return f"neuron.LIFNode({how})"


def _module(layer: Layer) -> str:
    """Return what makes a layer."""
    match layer.kind:
        case "neurons":
            return "neurons()"
        case "flatten":
            return "nn.Flatten()"
        case "linear" if layer.weight is not None:
            return f"nn.Linear({layer.weight.shape[1]}, {layer.weight.shape[0]})"
    window, axes = layer.window, len(layer.shape) - 1
    assert window is not None
    where = f"{window.kernel}, {window.stride}, {window.padding}"
    if layer.weight is None:
        return f"nn.AvgPool{axes}d({where})"
    outputs, inputs = layer.weight.shape[:2]
    return f"nn.Conv{axes}d({inputs}, {outputs}, {where}, {window.dilation})"


def _steps(made: UnitGraph) -> Iterator[str]:
    """Return the statements of a step."""
    called = {layer.name: f"{layer.name}_" for layer in made.layers} | {INPUT: "x"}
    for layer in made.layers:
        given = " + ".join(called[source] for source in layer.sources)
        yield f"{called[layer.name]} = self.{layer.name}({given})"
    yield f"return {' + '.join(called[source] for source in made.output)}"


EXPORT = SpikingJelly
