from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.graph.ir import SITES, Node
from snnconv.graph.operations.activation import Relu
from snnconv.graph.ops import OPS, Role

RANKS = [1, 2, 3]


def run(op, attrs, *inputs, **tensors):
    return OPS[op].run(attrs, tensors, list(inputs))


def driven(op, attrs, *shapes, **tensors):
    """How often each position of each input is used, as the gradient of the operation's reach."""
    inputs = [torch.rand(1, *s, dtype=torch.float64, requires_grad=True) for s in shapes]
    reached = OPS[op].wire(attrs, tensors, inputs)
    counts = torch.autograd.grad(reached.sum(), inputs)
    return counts[0][0] if len(inputs) == 1 else [count[0] for count in counts]


def tabled(counter, shape):
    """A plain count by position, as a tensor."""
    table = torch.zeros(shape, dtype=torch.float64)
    for position, count in counter.items():
        table[position] = count
    return table


def image(rank, channels=4, size=9, batch=2):
    return torch.randn(batch, channels, *[size, size - 1, size - 2][:rank])


def test_the_list_is_closed():
    assert set(OPS) == {
        "conv",
        "conv_transpose",
        "linear",
        "batch_norm",
        "affine",
        "step_scale",
        "spike_and",
        "spike_iand",
        "relu",
        "qcfs",
        "transfer",
        "max_pool",
        "adaptive_max_pool",
        "avg_pool",
        "adaptive_avg_pool",
        "mean",
        "add",
        "concat",
        "reshape",
        "permute",
        "slice",
        "take",
        "pad",
        "upsample",
        "expand",
        "interpolate",
        "pointwise",
        "multiply",
        "cumsum",
        "layer_norm",
        "rms_norm",
        "group_norm",
        "softmax",
        "log_softmax",
        "local_response_norm",
        "matmul",
        "embedding",
        "lstm",
        "gru",
        "dropout",
        "identity",
    }


def test_roles():
    roles = {role: {name for name, op in OPS.items() if op.role is role} for role in Role}
    assert roles[Role.SYNAPSE] == {"conv", "conv_transpose", "linear"}
    assert roles[Role.SITE] == {"relu", "qcfs", "transfer"} == set(SITES)
    assert roles[Role.MAX] == {"max_pool", "adaptive_max_pool"}
    assert roles[Role.GATE] == {"spike_and", "spike_iand"}
    assert roles[Role.STEPWISE] == {"step_scale"}
    assert roles[Role.ANALOG] == {
        *("pointwise", "multiply", "layer_norm", "rms_norm", "group_norm", "softmax"),
        "log_softmax",
        *("local_response_norm", "matmul"),
        *("lstm", "gru"),
    }
    assert {name for name, op in OPS.items() if op.required} == {
        "conv",
        "conv_transpose",
        "linear",
        "batch_norm",
        "affine",
        "step_scale",
        "qcfs",
        "embedding",
    }


# Each operation is what torch.nn says it is


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("bias", [True, False])
def test_conv(rank, bias):
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][rank - 1]
    module = kind(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=bias)
    attrs = {
        "stride": [2] * rank,
        "padding": [2] * rank,
        "dilation": [2] * rank,
        "groups": 2,
    }
    x = image(rank)
    torch.testing.assert_close(run("conv", attrs, x, **dict(module.named_parameters())), module(x))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("bias", [True, False])
def test_conv_transpose(rank, bias):
    kind = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d][rank - 1]
    settings = {"stride": 3, "padding": 1, "output_padding": 1, "dilation": 2}
    module = kind(4, 6, 2, groups=2, bias=bias, **settings)
    attrs = {key: [value] * rank for key, value in settings.items()} | {"groups": 2}
    x = image(rank, size=5)
    got = run("conv_transpose", attrs, x, **dict(module.named_parameters()))
    torch.testing.assert_close(got, module(x))


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape, bias):
    module, x = nn.Linear(5, 3, bias=bias), torch.randn(shape)
    torch.testing.assert_close(run("linear", {}, x, **dict(module.named_parameters())), module(x))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_and_its_affine(rank, affine):
    kind = [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d][rank - 1]
    module, x = kind(4, eps=1e-3, affine=affine).eval(), image(rank)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    tensors = {"mean": module.running_mean, "var": module.running_var}
    tensors |= dict(module.named_parameters())
    torch.testing.assert_close(run("batch_norm", {"eps": 1e-3}, x, **tensors), module(x))
    scale = (module.running_var + 1e-3).rsqrt() * (module.weight if affine else 1)
    shift = (module.bias if affine else 0) - module.running_mean * scale
    torch.testing.assert_close(run("affine", {}, x, scale=scale, shift=shift), module(x))
    places = torch.randn(1, *x.shape[2:])  # for each of them, the same for all channels
    got = run("affine", {}, x, scale=torch.ones(1), shift=places)
    torch.testing.assert_close(got, x + places)


@pytest.mark.parametrize(("ceiling", "module"), [(None, nn.ReLU()), (6.0, nn.ReLU6())])
def test_relu(ceiling, module):
    x = 10 * torch.randn(2, 40)
    assert torch.equal(run("relu", {"ceiling": ceiling}, x), module(x))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_max_pool(rank, ceil_mode):
    kind = [nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d][rank - 1]
    module, x = kind(3, 2, 1, dilation=1, ceil_mode=ceil_mode), image(rank)
    attrs = {"kernel": [3] * rank, "stride": [2] * rank, "padding": [1] * rank}
    attrs |= {"dilation": [1] * rank, "ceil_mode": ceil_mode}
    assert torch.equal(run("max_pool", attrs, x), module(x))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("count_pad", [True, False])
def test_avg_pool(rank, ceil_mode, count_pad):
    kind = [nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d][rank - 1]
    module = kind(3, 2, 1, ceil_mode=ceil_mode, count_include_pad=count_pad)
    attrs = {"kernel": [3] * rank, "stride": [2] * rank, "padding": [1] * rank}
    attrs |= {"ceil_mode": ceil_mode, "count_include_pad": count_pad}
    x = image(rank)
    torch.testing.assert_close(run("avg_pool", attrs, x), module(x))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("out", [1, 4])
def test_adaptive_avg_pool(rank, out):
    kind = [nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d][rank - 1]
    x = image(rank)
    got = run("adaptive_avg_pool", {"output": [out] * rank}, x)
    torch.testing.assert_close(got, kind(out)(x))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("out", [1, 4])
def test_adaptive_max_pool(rank, out):
    kind = [nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d][rank - 1]
    x = image(rank)
    got = run("adaptive_max_pool", {"output": [out] * rank}, x)
    assert torch.equal(got, kind(out)(x))


@pytest.mark.parametrize("keepdim", [True, False])
def test_mean(keepdim):
    x = torch.randn(2, 3, 4, 5)
    got = run("mean", {"dims": [2, 3], "keepdim": keepdim}, x)
    torch.testing.assert_close(got, x.mean((2, 3), keepdim=keepdim))


def test_wiring():
    x, y = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.equal(run("add", {}, x, y), x + y)
    assert torch.equal(run("concat", {"dim": 1}, x, y), torch.cat([x, y], 1))
    assert torch.equal(run("concat", {"dim": 2}, x, y, x), torch.cat([x, y, x], 2))
    assert torch.equal(run("reshape", {"shape": [12]}, x), x.flatten(1))
    assert torch.equal(run("reshape", {"shape": [2, 2, 3]}, x), x.view(2, 2, 2, 3))
    assert torch.equal(run("permute", {"dims": [2, 1]}, x), x.transpose(1, 2))
    assert torch.equal(run("slice", {"dim": 2, "start": 1, "stop": 4, "step": 2}, x), x[..., 1::2])
    assert torch.equal(run("take", {"dim": 2, "places": [3, 0]}, x), x[..., [3, 0]])
    assert torch.equal(run("dropout", {"p": 0.5}, x), x)
    assert torch.equal(run("identity", {}, x), x)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode):
    x = torch.randn(2, 3, 4, 5)
    got = run("pad", {"pad": [2, 1, 0, 3], "mode": mode}, x)
    assert torch.equal(got, nn.functional.pad(x, (2, 1, 0, 3), mode))


BETWEEN = [(1, "linear"), (2, "bilinear"), (2, "bicubic"), (3, "trilinear")]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("rank", "mode"), BETWEEN)
def test_interpolate(rank, mode, corners):
    x = image(rank, size=4)
    size = [2 * n + 1 for n in x.shape[2:]]
    got = run("interpolate", {"size": size, "mode": mode, "align_corners": corners}, x)
    expected = nn.functional.interpolate(x, size, mode=mode, align_corners=corners)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("rank", "mode"), BETWEEN)
def test_the_reach_of_an_interpolation(rank, mode, corners):
    """Against a place set to one by itself: how many places of the output it changes."""
    shape = (2, *[4, 3, 2][:rank])
    attrs = {"size": [3 * n - 2 for n in shape[1:]], "mode": mode, "align_corners": corners}
    counter = Counter()
    for place in product(*map(range, shape)):
        alone = torch.zeros(1, *shape)
        alone[0][place] = 1
        counter[place] = int((run("interpolate", attrs, alone.double()).abs() > 1e-9).sum())
    assert torch.equal(driven("interpolate", attrs, shape), tabled(counter, shape))


@pytest.mark.parametrize("rank", RANKS)
def test_upsample(rank):
    x = image(rank, size=4)
    size = [2 * n + 1 for n in x.shape[2:]]
    got = run("upsample", {"size": size}, x)
    assert torch.equal(got, nn.functional.interpolate(x, size, mode="nearest"))


# The gradient of a reach is the number of synapses: against a count in nested loops

axis = st.fixed_dictionaries(
    {
        "size": st.integers(1, 5),
        "kernel": st.integers(1, 3),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 2),
        "dilation": st.integers(1, 2),
    }
)


def outputs(axis):
    reach = axis["dilation"] * (axis["kernel"] - 1) + 1
    return (axis["size"] + 2 * axis["padding"] - reach) // axis["stride"] + 1


@settings(deadline=None, max_examples=60)
@given(
    axes=st.lists(axis, min_size=1, max_size=3),
    groups=st.integers(1, 2),
    ins=st.integers(1, 2),
    outs=st.integers(1, 3),
)
def test_reach_of_a_convolution(axes, groups, ins, outs):
    assume(all(outputs(a) >= 1 for a in axes))
    counter = Counter()
    for group in range(groups):
        for _, channel in product(range(outs), range(ins)):
            for out in product(*(range(outputs(a)) for a in axes)):
                for tap in product(*(range(a["kernel"]) for a in axes)):
                    place = tuple(
                        o * a["stride"] - a["padding"] + t * a["dilation"]
                        for o, t, a in zip(out, tap, axes, strict=True)
                    )
                    if all(0 <= p < a["size"] for p, a in zip(place, axes, strict=True)):
                        counter[group * ins + channel, *place] += 1
    shape = (groups * ins, *(a["size"] for a in axes))
    attrs = {key: [a[key] for a in axes] for key in ("stride", "padding", "dilation")}
    weight = torch.randn(groups * outs, ins, *(a["kernel"] for a in axes))
    got = driven("conv", attrs | {"groups": groups}, shape, weight=weight, bias=torch.ones(1))
    assert torch.equal(got, tabled(counter, shape))


@settings(deadline=None, max_examples=60)
@given(axes=st.lists(axis, min_size=1, max_size=3), groups=st.integers(1, 2), data=st.data())
def test_reach_of_a_transposed_convolution(axes, groups, data):
    extra = [data.draw(st.integers(0, max(a["stride"], a["dilation"]) - 1)) for a in axes]
    outs = [
        (a["size"] - 1) * a["stride"]
        - 2 * a["padding"]
        + a["dilation"] * (a["kernel"] - 1)
        + more
        + 1
        for a, more in zip(axes, extra, strict=True)
    ]
    assume(all(out >= 1 for out in outs))
    counter = Counter()
    for place in product(*(range(a["size"]) for a in axes)):
        for tap in product(*(range(a["kernel"]) for a in axes)):
            out = [
                p * a["stride"] - a["padding"] + t * a["dilation"]
                for p, t, a in zip(place, tap, axes, strict=True)
            ]
            if all(0 <= o < n for o, n in zip(out, outs, strict=True)):
                for channel in range(2 * groups):
                    counter[channel, *place] += 3  # output channels of a group
    shape = (2 * groups, *(a["size"] for a in axes))
    attrs = {key: [a[key] for a in axes] for key in ("stride", "padding", "dilation")}
    attrs |= {"output_padding": extra, "groups": groups}
    weight = torch.randn(2 * groups, 3, *(a["kernel"] for a in axes))
    assert torch.equal(
        driven("conv_transpose", attrs, shape, weight=weight), tabled(counter, shape)
    )


@settings(deadline=None, max_examples=20)
@given(ins=st.integers(1, 4), outs=st.integers(1, 4))
def test_reach_of_a_linear_layer(ins, outs):
    counter = Counter(i for i, _ in product(range(ins), range(outs)))
    got = driven("linear", {}, (ins,), weight=torch.randn(outs, ins), bias=torch.ones(outs))
    assert torch.equal(got, tabled(counter, (ins,)))


pool_axis = st.fixed_dictionaries(
    {
        "size": st.integers(1, 7),
        "kernel": st.integers(1, 3),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 1),
    }
)


def windows(axis, ceil_mode):
    """Where each window begins; the last one begins inside, or in the padding on the left."""
    size, kernel, stride, pad = (axis[k] for k in ("size", "kernel", "stride", "padding"))
    starts = []
    while (start := len(starts) * stride - pad) + (1 if ceil_mode else kernel) <= size + pad:
        if ceil_mode and start >= size:
            break
        starts.append(start)
        if start + kernel >= size + pad:
            break
    return starts


@settings(deadline=None, max_examples=60)
@given(axes=st.lists(pool_axis, min_size=1, max_size=3), ceil_mode=st.booleans())
def test_reach_of_average_pooling(axes, ceil_mode):
    assume(all(2 * a["padding"] <= a["kernel"] for a in axes))
    # avg_pool3d takes no window that is larger than the image without its padding
    free = 2 if len(axes) < 3 else 0
    assume(all(a["kernel"] <= a["size"] + free * a["padding"] for a in axes))
    counter = Counter()
    starts = [windows(a, ceil_mode) for a in axes]
    for start in product(*starts):
        for tap in product(*(range(a["kernel"]) for a in axes)):
            place = tuple(s + t for s, t in zip(start, tap, strict=True))
            if all(0 <= p < a["size"] for p, a in zip(place, axes, strict=True)):
                counter[0, *place] += 1
    shape = (1, *(a["size"] for a in axes))
    attrs = {key: [a[key] for a in axes] for key in ("kernel", "stride", "padding")}
    attrs |= {"ceil_mode": ceil_mode, "count_include_pad": True}
    assert run("avg_pool", attrs, torch.ones(1, *shape)).shape[2:] == tuple(map(len, starts))
    assert torch.equal(driven("avg_pool", attrs, shape), tabled(counter, shape))


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3), data=st.data())
def test_reach_of_adaptive_pooling(sizes, data):
    outs = [data.draw(st.integers(1, 8)) for _ in sizes]
    counter = Counter()
    for cell in product(*(range(out) for out in outs)):
        inside = [
            # from floor(i n / out) up to, and without, ceil((i + 1) n / out)
            range(i * n // out, ((i + 1) * n + out - 1) // out)
            for i, n, out in zip(cell, sizes, outs, strict=True)
        ]
        for place in product(*inside):
            counter[0, *place] += 1
    shape = (1, *sizes)
    got = driven("adaptive_avg_pool", {"output": outs}, shape)
    assert torch.equal(got, tabled(counter, shape))


def test_overlapping_windows_count_twice():
    # 5 into 3: [0, 2), [1, 4), [3, 5)
    got = driven("adaptive_avg_pool", {"output": [3]}, (1, 5))
    assert got.tolist() == [[1, 2, 1, 2, 1]]


@pytest.mark.parametrize("keepdim", [True, False])
def test_reach_of_a_mean(keepdim):
    got = driven("mean", {"dims": [2, 3], "keepdim": keepdim}, (2, 3, 4))
    assert torch.equal(got, torch.ones(2, 3, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("op", "attrs", "shapes"),
    [
        ("add", {}, [(2, 3), (2, 3)]),
        ("concat", {"dim": 1}, [(2, 3), (1, 3)]),
        ("reshape", {"shape": [6]}, [(2, 3)]),
        ("permute", {"dims": [2, 1]}, [(2, 3)]),
        ("slice", {"dim": 1, "start": 0, "stop": 2, "step": 1}, [(2, 3)]),
        ("take", {"dim": 2, "places": [2, 0, 1]}, [(2, 3)]),
        ("pad", {"pad": [1, 2], "mode": "constant"}, [(2, 3)]),
        ("dropout", {"p": 0.5}, [(2, 3)]),
        ("identity", {}, [(2, 3)]),
    ],
)
def test_wiring_reaches_once(op, attrs, shapes):
    counts = driven(op, attrs, *shapes)
    for count in counts if len(shapes) > 1 else [counts]:
        assert (count == 1).all()


def test_no_scale_changes_a_reach():
    scale = shift = mean = var = torch.full((2,), 3.0)
    assert (driven("affine", {}, (2, 3), scale=scale, shift=shift) == 1).all()
    assert (driven("batch_norm", {"eps": 0.0}, (2, 3), mean=mean, var=var) == 1).all()


def test_what_is_sliced_off_reaches_nothing_and_what_is_copied_reaches_more():
    got = driven("slice", {"dim": 2, "start": 1, "stop": 5, "step": 3}, (1, 5))
    assert got.tolist() == [[0, 1, 0, 0, 1]]
    assert driven("take", {"dim": 1, "places": [2, 0, 2]}, (3,)).tolist() == [1, 0, 2]
    assert driven("pad", {"pad": [-1, 1], "mode": "constant"}, (1, 3)).tolist() == [[0, 1, 1]]
    assert driven("pad", {"pad": [2, 1], "mode": "replicate"}, (1, 3)).tolist() == [[3, 1, 2]]
    assert driven("upsample", {"size": [5]}, (1, 2)).tolist() == [[3, 2]]


def test_a_slice_of_very_many_places_is_refused_at_once():
    node = Node("s", "slice", ("x",), {"dim": 1, "start": 0, "stop": 2**31 - 1, "step": 1}, {})
    found = OPS["slice"].rule(OPS["slice"].typed(node.attrs), [(3,)], {})
    assert found == f"places 0 to {2**31 - 2} of axis 1"


@pytest.mark.parametrize("ceiling", [1e39, 10**300, float("inf"), float("nan"), 0.0])
def test_a_ceiling_that_float32_does_not_hold_is_refused(ceiling):
    with pytest.raises(ValueError, match="ceiling"):
        Relu.model_validate({"ceiling": ceiling})
    assert Relu.model_validate({"ceiling": 3e38}).ceiling == 3e38
