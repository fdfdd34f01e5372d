"""An example of every operation: its attributes, its inputs and its tensors."""

import torch

from snnconv.graph.ir import Node

WINDOW = {"kernel": [2], "stride": [2], "padding": [0], "ceil_mode": False}
CONV = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
RECURRENT = {"hidden": 2, "layers": 1, "bias": False, "bidirectional": False, "dropout": 0.0}
IMAGE = (4, 6)
GATES = {"lstm": 4, "gru": 3}

EXAMPLES = {
    "conv": (CONV, [IMAGE], {"weight": (3, 4, 3)}),
    "conv_transpose": ({**CONV, "output_padding": [0]}, [IMAGE], {"weight": (4, 3, 3)}),
    "linear": ({}, [(4,)], {"weight": (3, 4)}),
    "batch_norm": ({"eps": 1e-5}, [IMAGE], {"mean": (4,), "var": (4,)}),
    "affine": ({}, [IMAGE], {"scale": (4,), "shift": (4,)}),
    "spike_and": ({"unit": 0.5}, [IMAGE, IMAGE], {}),
    "spike_iand": ({"unit": 0.5}, [IMAGE, IMAGE], {}),
    "step_scale": ({}, [IMAGE], {"scale": (5,)}),
    "layer_norm": ({"shape": [6], "eps": 1e-5}, [IMAGE], {}),
    "rms_norm": ({"shape": [6], "eps": 1e-5}, [IMAGE], {"weight": (6,)}),
    "group_norm": ({"groups": 2, "eps": 1e-5}, [IMAGE], {}),
    "local_response_norm": ({"size": 3, "alpha": 0.1, "beta": 0.7, "k": 1.0}, [IMAGE], {}),
    "relu": ({"ceiling": None}, [IMAGE], {}),
    "qcfs": ({"levels": 4}, [IMAGE], {"threshold": (1,)}),
    "transfer": ({}, [IMAGE], {}),
    "max_pool": ({**WINDOW, "dilation": [1]}, [IMAGE], {}),
    "adaptive_max_pool": ({"output": [2]}, [IMAGE], {}),
    "avg_pool": ({**WINDOW, "count_include_pad": True}, [IMAGE], {}),
    "adaptive_avg_pool": ({"output": [2]}, [IMAGE], {}),
    "mean": ({"dims": [2], "keepdim": False}, [IMAGE], {}),
    "cumsum": ({"dim": 2}, [IMAGE], {}),
    "add": ({}, [IMAGE, IMAGE], {}),
    "concat": ({"dim": 1}, [IMAGE, IMAGE], {}),
    "reshape": ({"shape": [24]}, [IMAGE], {}),
    "permute": ({"dims": [2, 1]}, [IMAGE], {}),
    "slice": ({"dim": 2, "start": 1, "stop": 5, "step": 2}, [IMAGE], {}),
    "take": ({"dim": 2, "places": [3, 0]}, [IMAGE], {}),
    "pad": ({"pad": [1, 2], "mode": "constant"}, [IMAGE], {}),
    "expand": ({"shape": [4, 6]}, [IMAGE], {}),
    "dropout": ({"p": 0.5}, [IMAGE], {}),
    "identity": ({}, [IMAGE], {}),
    "upsample": ({"size": [12]}, [IMAGE], {}),
    "interpolate": ({"size": [12], "mode": "linear", "align_corners": False}, [IMAGE], {}),
    "pointwise": ({"function": "tanh", "arguments": []}, [IMAGE], {}),
    "multiply": ({}, [IMAGE, IMAGE], {}),
    "matmul": ({}, [(3, 4), (4, 6)], {}),
    "softmax": ({"dim": 1}, [IMAGE], {}),
    "log_softmax": ({"dim": 1}, [IMAGE], {}),
    "embedding": ({}, [(5,)], {"weight": (7, 4)}),
    **{
        name: (RECURRENT, [IMAGE], {"weight_ih_l0": (2 * n, 6), "weight_hh_l0": (2 * n, 2)})
        for name, n in GATES.items()
    },
}
"""Of each operation its attributes, shapes of its inputs, and of its tensors."""


def node(name):
    attrs, shapes, tensors = EXAMPLES[name]
    inputs = tuple(f"x{k}" for k in range(len(shapes)))
    return Node("n", name, inputs, attrs, {role: role for role in tensors})


def drawn(name, batch=3, spikes=False):
    """Inputs ``[B, *N]`` and tensors of an example."""
    _, shapes, roles = EXAMPLES[name]
    whole = spikes or name == "embedding"  # tokens are whole numbers
    make = (lambda *s: (torch.rand(*s) < 0.2).float()) if whole else torch.rand
    return [make(batch, *shape) for shape in shapes], {r: torch.rand(s) for r, s in roles.items()}
