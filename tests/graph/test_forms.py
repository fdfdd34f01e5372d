from functools import partial

import pytest
import torch
import torch.nn.functional as F
from nets import IMAGE, Calls, flattened, refused
from torch import nn

# What can't be taken, and why


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda n, x: n.fc(x) + 1.0, "add: an operand that is no activation (1.0)"),
        (lambda n, x: 1.0 + n.fc(x), "add: an operand that is no activation (1.0)"),
        (lambda n, x: n.fc(x) + n.offset, "no activation (the tensor 'offset')"),
        (lambda n, x: torch.add(n.fc(x), x, alpha=2), "add: a sum with alpha=2"),
        (lambda n, x: n.fc(x).add(x, alpha=2), "add: a sum with alpha=2"),
        (lambda n, x: n.fc(x) - x, "sub: function 'sub'"),
        (lambda n, x: 2 * n.fc(x), "mul: function 'mul'"),
        (lambda n, x: n.fc(x).mul(x), "mul: method 'mul'"),
        (lambda n, x: torch.sigmoid(n.fc(x)), "sigmoid: function 'sigmoid'"),
        (lambda n, x: n.fc(x).tanh(), "tanh: method 'tanh'"),
        (lambda n, x: n.gelu(n.fc(x)), "gelu: module GELU"),
        (lambda n, x: n.norm(n.fc(x)), "norm: module LayerNorm"),
        (lambda n, x: F.leaky_relu(n.fc(x)), "leaky_relu: function 'leaky_relu'"),
        (lambda n, x: n.lazy(n.fc(x)), "lazy: BatchNorm without running statistics"),
        (lambda n, x: F.hardtanh(n.fc(x)), "a clip to [-1.0, 1.0]: a spiking neuron starts at 0"),
        (lambda n, x: n.fc(x).clamp(max=1), "clamp: a clip to [None, 1]"),
        (lambda n, x: n.fc(x).clamp(0, 0), "clamp: a clip to [0, 0]"),
        (lambda n, x: n.fc(x).clamp(0.5, 1), "clamp: a clip to [0.5, 1]"),
        (lambda n, x: n.fc(x).clamp_min(-1), "clamp_min: a clip to [-1, None]"),
        (lambda n, x: torch.clamp(n.fc(x), x * 0), "clamp: a clip to ["),
        (lambda n, x: F.threshold(n.fc(x), 0.1, 0), "a threshold at 0.1 with value 0"),
        (lambda n, x: F.threshold(n.fc(x), 0, 1), "a threshold at 0 with value 1"),
        (lambda n, x: F.dropout(n.fc(x), training=True), "dropout that is on outside training"),
        (lambda n, x: n.fc(x.softmax(1)), "softmax: method 'softmax' before the end"),
        (lambda n, x: n.fc(x).softmax(0), "a softmax that is not over the classes"),
        (lambda n, x: torch.cat([n.fc(x), x], 0).view(3, 8), "a concatenation over the batch"),
        (lambda n, x: n.fc(x).mean() + x, "mean: a mean over the batch"),
        (lambda n, x: n.fc(x) + x.mean(0, keepdim=True), "mean: a mean over the batch"),
        (lambda n, x: n.fc(x) + x.mean(dim=1, dtype=torch.float32, keepdim=True), "dtype"),
        (lambda n, x: n.fc(x).view(-1, 2).view(3, 4), "view: a reshape that mixes samples"),
        (lambda n, x: n.fc(x).t().t(), "t: method 't'; t_1: method 't'"),
        (lambda n, x: n.fc(x).chunk(2, 1)[0], "chunk: method 'chunk'"),
        (lambda n, x: n.fc(x)[:, 1:], "getitem: function 'getitem'"),
        (lambda n, x: torch.zeros(x.shape) + x, "zeros: function 'zeros'"),
        (lambda n, x: x.unsqueeze(1).add(x).mean(1), "add: a sum that mixes samples"),
        (lambda n, x: n.unbatched(x), "unbatched: an input of shape [B, 4]"),
    ],
)
def test_refused(function, says):
    module = Calls(
        function,
        fc=nn.Linear(4, 4),
        gelu=nn.GELU(),
        norm=nn.LayerNorm(4),
        lazy=nn.BatchNorm1d(4, track_running_stats=False),
        offset=nn.Parameter(torch.ones(4)),
        unbatched=nn.MaxPool1d(2),
    )
    assert says in refused(module, (4,)).found


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (nn.AvgPool2d(2, divisor_override=3), "part: divisor_override=3"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "avg_pool2d: divisor_override=3"),
        (lambda x: F.avg_pool2d(x, 2, 2, 0, False, True, 3), "avg_pool2d: divisor_override=3"),
        (nn.Conv2d(2, 2, 3, padding_mode="reflect"), "part: padding mode 'reflect'"),
        (nn.Conv2d(2, 2, (2, 3), padding="same"), "part: padding 'same' that is not the same"),
        (nn.ConvTranspose2d(2, 2, 2), "part: module ConvTranspose2d"),
        (nn.AdaptiveMaxPool2d(1), "part: module AdaptiveMaxPool2d"),
        (lambda x: F.adaptive_max_pool2d(x, 1), "function 'adaptive_max_pool2d'"),
        (lambda x: F.lp_pool2d(x, 2, 2), "function"),
        (nn.Upsample(scale_factor=2), "part: module Upsample"),
        (nn.PReLU(), "part: module PReLU"),
        (lambda x: x.permute(0, 2, 3, 1), "permute: method 'permute'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_refused_on_images(part, says):
    error = refused(flattened(part), IMAGE)
    assert says in error.found
    assert error.problem == "1 operation(s) can't be converted"


@pytest.mark.parametrize(
    ("pool", "says"),
    [
        (nn.MaxPool2d(2, return_indices=True), "part: max pooling that returns indices"),
        (partial(F.max_pool2d, kernel_size=2, return_indices=True), "'max_pool2d_with_indices'"),
    ],
)
def test_pooling_with_indices_is_refused_where_it_is_not_where_it_is_read(pool, says):
    def forward(n, x):
        values, _ = n.part(x)
        return values.flatten(1)

    error = refused(Calls(forward, part=pool), IMAGE)
    assert says in error.found
    assert error.problem == "1 operation(s) can't be converted"
