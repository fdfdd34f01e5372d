"""ONNX: one step with its states as inputs and outputs, or a whole network unrolled over T steps.

The step model takes ``x``, the samples at this step, normalised; ``step``, the number of steps done
before, which is 0 at the first; and a state for each layer, whatever it is at the first step. It
gives ``currents``, whose mean over the steps so far are the logits; ``next_STATE`` for each state;
and ``spikes_SITE`` for each layer of neurons. ``--param unroll=T`` writes a model that takes ``x``
alone and gives ``logits`` after T steps. Opset 18, float32; the batch may have any size.

Shape:
    ``x [B, *input]``, states ``[B, *N]``, ``currents`` and ``logits`` ``[B, classes]``.

Reference:
    onnxruntime runs what was written, step after step.

Deviations:
    A convolution adds up in the runtime's order. Where a potential lies at its threshold but for
    rounding, a spike may come a step earlier or later; the report counts these spikes.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from snnconv.core.bounds import STEPS
from snnconv.core.metadata import Parameters
from snnconv.errors import CheckFailedError, Obstacle, UnsupportedError, one_line
from snnconv.exports.base import Export, RunResult, Subject
from snnconv.exports.parts import step
from snnconv.exports.parts.step import Traced, Unrolled
from snnconv.simulation.build import fixed

OPSET = 18


class Params(Parameters):
    """Parameters of the format."""

    unroll: int | None = Field(
        None, ge=1, le=STEPS, description="T of a whole network; by default one step is written"
    )


class Onnx(Export):
    """Writes an ONNX model."""

    params_type = Params
    params: Params
    suffix = ".onnx"
    referee = "onnxruntime on the CPU"
    tolerance: ClassVar[float | None] = 0.05

    def obstacles(self, subject: Subject) -> list[Obstacle]:
        """Return what a graph without a loop can't say."""
        unroll = f"export with --param unroll={subject.info.timesteps}"
        if found := step.unwritten(subject):
            return found
        if not self.params.unroll:
            return step.obstacles(subject, unroll)
        found = step.drawn(subject)
        if subject.network.hold is not None:
            found.append(Obstacle("input", "frames", "export a step: drop --param unroll"))
        if fixed(subject.checkpoint) and self.params.unroll != subject.info.timesteps:
            found.append(Obstacle("network", f"made for T = {subject.info.timesteps}", unroll))
        return found

    def files(self, subject: Subject, stem: str) -> dict[str, bytes]:
        """Return the model."""
        if self.params.unroll:
            network, _ = step.module(subject)
            x = torch.zeros(2, *subject.checkpoint.graph.input_shape)
            whole = Traced(Unrolled(network, self.params.unroll).eval(), (x,), (), ())
            return {".onnx": _model(whole, ["x"], ["logits"])}
        traced = step.traced(subject)
        outputs = ["currents", *(f"next_{name}" for name in traced.states)]
        outputs += [f"spikes_{name}" for name in traced.sites]
        return {".onnx": _model(traced, ["x", "step", *traced.states], outputs)}

    def run(
        self, file: Path, subject: Subject, x: Tensor, samples: Tensor, timesteps: int, chunk: int
    ) -> RunResult:
        """Run the model in onnxruntime, step after step."""
        import numpy as np

        session = _session(file)
        if self.params.unroll:
            (logits,) = session.run(None, {"x": x[0].numpy()})
            return RunResult(torch.from_numpy(logits).double()[None], {})
        inputs = {each.name: each.shape for each in session.get_inputs()}
        names = [each.name for each in session.get_outputs()]
        states = {
            name: np.zeros((x.shape[1], *shape[1:]), np.float32)
            for name, shape in inputs.items()
            if name not in ("x", "step")
        }
        fired = [name for name in names if name.startswith("spikes_")]
        sites = dict(zip(fired, subject.network.neurons, strict=True))
        spikes: dict[str, list[Tensor]] = {name: [] for name in sites.values()}
        total, averages = torch.zeros(()), []
        for t in range(timesteps):
            shown = x[t // (subject.network.hold or 1) % len(x)].numpy()
            given = {"x": shown, "step": np.array(t, np.int64), **states}
            found = dict(zip(names, session.run(None, {k: given[k] for k in inputs}), strict=True))
            states = {name: found[f"next_{name}"] for name in states}
            current = torch.from_numpy(found["currents"]).double()
            total = current if t == 0 else total + current
            averages.append(total / (t + 1))
            for name, site in sites.items():
                spikes[site].append(torch.from_numpy(found[name]))
        return RunResult(torch.stack(averages), {k: torch.stack(v) for k, v in spikes.items()})

    def timesteps(self, subject: Subject) -> int:
        """Return the steps that the referee runs."""
        return self.params.unroll or subject.info.timesteps


def _session(file: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError(
            "an ONNX model can't be checked", one_line(error), "pip install 'snnconv[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    except Exception as error:  # whatever the runtime raises on a model
        raise CheckFailedError(
            "the exported model does not run", one_line(error), "report it with the checkpoint"
        ) from error


def _model(traced: Traced, inputs: list[str], outputs: list[str]) -> bytes:
    """Return the bytes of a model, which hold nothing of the machine that wrote it."""
    batch = torch.export.Dim("batch", min=1)

    def sized(argument: Any) -> Any:
        if isinstance(argument, list):
            return [sized(each) for each in argument]
        return {0: batch} if argument.dim() else {}

    with _quiet(), torch.no_grad(), _told():
        program = torch.onnx.export(
            traced.module,
            traced.arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple(sized(each) for each in traced.arguments),
            custom_translation_table=_translations(),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for part in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _translations() -> dict[Any, Any]:
    """Return what the tracer has no words for: bits of a whole number, as a power of two.

    It is exact, as ``exp`` of :mod:`snnconv.neurons.exact_math` wants it; a runtime's ``Pow`` need
    not be.
    """
    import numpy as np
    import onnxscript

    op: Any = onnxscript.opset18

    powers = np.ldexp(np.ones(255, np.float32), np.arange(255) - 127).astype(np.float32)

    def view(bits: Any, dtype: int) -> Any:
        exponent = op.Div(op.Cast(bits, to=7), op.Constant(value_ints=[1 << 23]))
        return op.Gather(op.Constant(value_floats=powers.tolist()), exponent)

    return {torch.ops.aten.view.dtype: view}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say what the tracer can't do in this tool's words."""
    try:
        yield
    except (ImportError, torch.onnx.OnnxExporterError) as error:
        raise UnsupportedError(
            "the network can't be exported to onnx",
            one_line(error),
            "pip install 'snnconv[onnx]' and a current torch; or export --to torch",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the tracer tells of itself, which helps no user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


EXPORT = Onnx
