"""Remedies for operations that can't be converted, if several operations share one."""

from snnconv.graph.operations.sequence import GATES

IN_OTHER_WORDS = "write it with operations that convert: snnconv ls operations"
BATCH_FIRST = "keep the batch as the first axis of every value, one sample for each place"
DATA_DEPENDENT = (
    "write that line without control flow that depends on data: compute both sides, and choose by "
    "torch.where(condition, a, b); give loops and slices fixed lengths"
)
NO_PADDING = "leave the mask out: give samples of one length, where padding needs none"
FIXED_MASK = (
    "give it a fixed mask, or write the attention out: torch.softmax(q @ k.transpose(-2, -1) * "
    "d**-0.5 + torch.where(mask, 0.0, -torch.inf), -1) @ v"
)
HARD_GATES = "make its gates clipped-linear first: snnconv train FILE --recurrent hard"
ANALOG = (
    "let signed spikes carry its output: --non-relu spike, then convert --neuron signed; or, if "
    "there are ReLUs beside it, compute it without spikes: --non-relu analog; or train the network "
    "with ReLU in its place"
)

NO_SITE = (
    "train it with ReLU activations; or let signed spikes feed its matrices: --spike-everything, "
    "then convert --neuron signed"
)


def of_function(op: str) -> str:
    """Return the remedies for an operation that no neuron computes."""
    return f"{ANALOG}; or {HARD_GATES}" if op in GATES else ANALOG
