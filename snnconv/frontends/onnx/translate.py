"""Translate an ONNX file to a graph, in one walk over its operators and by their lowerings.

The walk collects everything that can't be converted, and one error names all of it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from snnconv.core.validation import reason
from snnconv.errors import Obstacle, ObstaclesError, UnsupportedError, one_line
from snnconv.frontends.lowering.builder import GraphBuilder, shape_of
from snnconv.frontends.lowering.call import Call, OnnxResult, Operand, file_dims
from snnconv.frontends.lowering.contract import (
    BATCH,
    Activation,
    BatchMoved,
    NodeSpec,
    Refused,
    Shape,
    Stored,
)
from snnconv.frontends.lowering.matrices import as_bias
from snnconv.frontends.lowering.table import OPERATORS
from snnconv.frontends.onnx import batch_axis
from snnconv.frontends.onnx.constants import FOLDED, evaluate
from snnconv.frontends.onnx.file import Model, Operator, needed, reads
from snnconv.frontends.onnx.inferred import shapes
from snnconv.frontends.onnx.tensors import LARGEST, read
from snnconv.frontends.torch.translate import is_function, reachable
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.operations.wiring import Shaped
from snnconv.graph.recognise import recognised
from snnconv.graph.remedies import BATCH_FIRST, DATA_DEPENDENT, of_function

Ending = Callable[[Tensor], Tensor]
_MOVES = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_CONTROL = ("Loop", "Scan", "SequenceMap")
NO_NEURON = "a function that no neuron stands for"


def translate(
    model: Model, input_shape: tuple[int, ...], analog: bool = False, texts: bool = False
) -> tuple[Graph, dict[str, Tensor], Ending | None]:
    """Return a file's graph, its tensors, and the softmax that was dropped at its end, if any.

    Args:
        model: what the file holds.
        input_shape: the shape of one sample.
        analog: whether to accept operations that no neuron computes.
        texts: whether the input is token numbers.

    Raises:
        ObstaclesError: there are operators outside the closed list; the error names all of them.
        UnsupportedError: the output is no logits.
    """
    translator = _Translator(model, input_shape, analog, texts)
    for operator in model.operators:
        translator.read(operator)
    output = translator.last_known() if translator.refused else translator.logits()
    whole = Graph(input_shape, tuple(translator.builder.nodes.values()), output)
    made, own = recognised(whole, translator.builder.tensors)
    graph = reachable(made) if output else made
    if obstacles := translator.obstacles_in(graph):
        raise ObstaclesError(str(model.file), obstacles)
    tensors = {name: own[name] for name in sorted(graph.tensor_names())}
    return graph, tensors, translator.ending


class _Translator:
    """What is known of the graph so far."""

    def __init__(
        self, model: Model, input_shape: tuple[int, ...], analog: bool, texts: bool
    ) -> None:
        self.model = model
        self.analog = analog
        self.texts = texts
        self.builder = GraphBuilder()
        self.refused = False
        self._obstacles: list[tuple[Obstacle, frozenset[str]]] = []
        self.ending: Ending | None = None
        self._last = _last(model)
        self._values: dict[str, Operand] = {"": None, model.input: _input(input_shape)}
        self._readers = Counter(name for op in model.operators for name in reads(op.proto))
        self._readers[model.output] += 1
        self._initialisers = dict(model.initialisers)

    def obstacles_in(self, graph: Graph) -> list[Obstacle]:
        """Return the obstacles; functions count only if their nodes are still in the graph."""
        left = {node.name for node in graph.nodes if is_function(node)}
        return [found for found, nodes in self._obstacles if not nodes or nodes & left]

    def read(self, operator: Operator) -> None:
        """Take one operator, or note why it can't be used."""
        operands = [self._value(name) for name in operator.inputs if self._is_known(name)]
        try:
            if len(operands) < len(operator.inputs):
                if operator.op not in OPERATORS and operator.op not in FOLDED:
                    raise _unknown(operator.op)
                return  # it reads a value of an operator that was refused
            if operator.op == "If":
                found = self._branch(operator, operands[0])
            elif operator.op not in OPERATORS and operator.op not in FOLDED:
                raise _unknown(operator.op)
            else:
                found = self._results(operator, operands)
        except Refused as refusal:
            self.refused = True
            obstacle = Obstacle(_place(operator), str(refusal), refusal.remedy)
            self._obstacles.append((obstacle, frozenset()))
            found = self._placeholders(operator, operands)
        # outputs that nobody reads may have no value, for example the mask of a dropout
        self._values |= {
            name: value for name, value in zip(operator.outputs, found, strict=False) if name
        }

    def _placeholders(self, operator: Operator, operands: Sequence[Operand]) -> list[Operand]:
        """Return stand-ins for a refused operator's values, so that later ones are examined."""
        if len(operands) < len(operator.inputs):
            return []
        inputs = tuple(x.node for x in operands if isinstance(x, Activation))
        found: list[Operand] = []
        for shape in shapes(operator, operands, self.model.opset):
            name = f"refused {len(self.builder.nodes)}"
            self.builder.nodes[name] = Node(name, "refused", inputs, {}, {})
            found.append(Activation(name, shape))
        return found

    def _branch(self, operator: Operator, condition: Operand) -> list[Operand]:
        """Return the outputs of an ``If``, whose constant condition selects one branch."""
        if not isinstance(condition, Stored):
            raise Refused("control flow that depends on data", DATA_DEPENDENT)
        name = "then_branch" if bool(condition.value.reshape(-1)[0]) else "else_branch"
        branch = operator.attrs[name]
        self._initialisers |= {tensor.name: tensor for tensor in branch.initializer}
        outputs = [value.name for value in branch.output]
        for inner in needed(branch.node, outputs):
            self.read(inner)
        return [self._value(output) for output in outputs if self._is_known(output)]

    def last_known(self) -> str:
        """Return the node that would give the output, given refused operators; None if unknown."""
        output = self._value(self.model.output) if self._is_known(self.model.output) else None
        return output.node if isinstance(output, Activation) else ""

    def logits(self) -> str:
        """Return the node that would give the output, given refused operators; None if unknown."""
        output = self._value(self.model.output)
        shape = output.shape if isinstance(output, Activation) else ()
        whole = len(shape) > 1 and 1 <= shape[1] == math.prod(shape[1:])
        if not isinstance(output, Activation):
            found, remedy = "a constant", "export the network with an output of its input"
            if isinstance(output, BatchMoved):
                found, remedy = _mixed(output), BATCH_FIRST
            raise UnsupportedError(
                f"{self.model.file} gives no output [B, ...]",
                f"the output '{self.model.output}': {found}",
                remedy,
            )
        if len(shape) == 2 or not whole:
            return output.node
        flat = NodeSpec("reshape", [output], Shaped(shape=[shape[1]]))
        return self.builder.add(flat, self.model.output)

    def _is_known(self, name: str) -> bool:
        return name in self._values or name in self._initialisers

    def _value(self, name: str) -> Operand:
        if name not in self._values:
            tensor = read(self._initialisers[name], self.model.file.parent)
            self._values[name] = Stored(name, tensor)
        return self._values[name]

    def _results(self, operator: Operator, operands: Sequence[Operand]) -> list[Operand]:
        if not any(isinstance(x, Activation | BatchMoved) for x in operands):
            if operator.op == "Identity":
                return list(operands)  # an exporter's way to let two layers share a tensor
            tensors = [x.value if isinstance(x, Stored) else None for x in operands]
            return [Stored("", value) for value in self._evaluated(operator, tensors)]
        if operator.op not in OPERATORS:
            raise Refused("an operator on values that depend on the input")
        if operator.op == "Add" and (biased := self._with_bias(operator, operands)):
            return [biased]
        known, call = OPERATORS[operator.op], self._call(operator, operands)

        def again(codes: Tensor) -> Any:
            constants = [x.value if isinstance(x, Stored) else None for x in operands[1:]]
            found = self._evaluated(operator, [codes, *constants])
            return found if len(operator.outputs) > 1 else found[0]

        try:
            made = batch_axis.lowered(call, known, again)
        except ValidationError as error:
            raise Refused(f"an attribute that is not valid ({reason(error)})") from error
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise Refused(f"attributes that do not fit the operator ({one_line(error)})") from error
        count = len(self.builder.nodes)
        taken = [
            self._taken(one, operator) for one in (made if isinstance(made, Sequence) else [made])
        ]
        self._note_functions(operator, list(self.builder.nodes.values())[count:])
        return taken

    def _evaluated(self, operator: Operator, operands: Sequence[Tensor | None]) -> list[Tensor]:
        return evaluate(operator, operands, self.model.opset, self.model.file.parent)

    def _note_functions(self, operator: Operator, added: list[Node]) -> None:
        """Note functions that no neuron computes, unless the user asked for them."""
        functions = [node for node in added if is_function(node)]
        if functions and not self.analog:
            found = Obstacle(_place(operator), NO_NEURON, of_function(functions[0].op))
            self._obstacles.append((found, frozenset(node.name for node in functions)))

    def _taken(self, one: OnnxResult | Activation, operator: Operator) -> Operand:
        """Add an operator's value to the graph, and return it."""
        if isinstance(one, BatchMoved):
            x = self._add(one.x, operator) if isinstance(one.x, NodeSpec) else one.x
            return replace(one, x=x) if one.batch or one.folded > 1 else x
        return self._add(one, operator) if isinstance(one, NodeSpec) else one

    def _call(self, operator: Operator, operands: Sequence[Operand]) -> Call:
        return Call(
            operator.op,
            self.model.opset,
            self.model.sizes[0],
            operands,
            operator.attrs,
            outputs=len(operator.outputs),
            read=max(k for k, name in enumerate(operator.outputs, 1) if self._readers[name]),
            texts=self.texts,
            last=operator is self._last,
        )

    def _add(self, made: NodeSpec, operator: Operator) -> Activation:
        shape = _bounded(made)
        if made.ending is not None:
            self.ending = made.ending
        name = self.builder.add(made, operator.name)
        return self.builder.activation(name, shape)

    def _with_bias(self, operator: Operator, operands: Sequence[Operand]) -> Operand:
        """Make a sum of a matrix product and a constant one linear layer with a bias."""
        for name, value, constant in zip(operator.inputs, operands, operands[::-1], strict=True):
            x: Operand | NodeSpec = value
            if isinstance(value, BatchMoved) and value.batch + 1 < len(file_dims(value)):
                x = value.x
            if (
                isinstance(x, Activation)
                and isinstance(constant, Stored)
                and self._readers[name] == 1
                and (node := self.builder.nodes.get(x.node)) is not None
                and node.op == "linear"
                and "bias" not in node.tensors
                and (bias := as_bias(constant, x.shape[-1])) is not None
                and constant.value.dim() <= len(x.shape)
            ):
                self.builder.give(x.node, {"bias": bias})
                return value
        return None


def _mixed(output: BatchMoved) -> str:
    shared = " with places of theirs" if output.folded > 1 else ""
    return f"a value that mixes samples, which are on axis {output.batch}{shared}"


def _place(operator: Operator) -> str:
    return f"{operator.name} ({operator.op})"


def _unknown(op: str) -> Refused:
    if op in _CONTROL:
        return Refused("control flow", DATA_DEPENDENT)
    return Refused("an operator without a counterpart in snnconv")


def _last(model: Model) -> Operator | None:
    """Return the operator that computes the output, before others that only reshape it."""
    makers = {name: operator for operator in model.operators for name in operator.outputs}
    last = makers.get(model.output)
    while last is not None and last.op in _MOVES:
        last = makers.get(last.inputs[0])
    return last


def _bounded(made: NodeSpec) -> Shape:
    """Return the shape of a value, if it and the values before it fit into memory."""
    for source in made.sources:
        if isinstance(source, NodeSpec):
            _bounded(source)
    shape = shape_of(made)
    if math.prod(shape) > BATCH * LARGEST:
        raise Refused(f"a value of shape {list(shape[1:])}: at most {LARGEST} places are taken")
    return shape


def _input(shape: tuple[int, ...]) -> Activation:
    return Activation(INPUT, (BATCH, *shape))
