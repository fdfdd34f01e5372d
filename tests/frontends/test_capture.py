import builtins
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, captured, fcs, ops, refused
from torch import nn

from snnconv.errors import CheckFailedError
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch import capture as capturing
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.remedies import ANALOG, IN_OTHER_WORDS

# Networks


def test_a_module_used_twice_is_a_site_each_with_the_same_weights():
    module = Calls(
        lambda n, x: n.out(n.act(n.fc(n.act(n.fc(x))))),
        act=nn.ReLU(),
        **fcs(4),
    )
    graph = captured(module, (4,))
    assert [site.name for site in graph.sites] == ["act", "act@2"]
    assert graph["fc"].tensors == graph["fc@2"].tensors
    assert graph.tensor_names() == {"fc.weight", "fc.bias", "out.weight", "out.bias"}


def test_traces_in_several_threads_leave_python_as_it_was():
    plain = builtins.len

    def slow(n, x):
        time.sleep(0.01)  # for the traces to meet
        return n.out(n.fc(x).view(len(x), -1))

    modules = [Calls(slow, **fcs(4)) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        graphs = list(pool.map(lambda module: capture(module.eval(), (4,))[0], modules))
    assert [len(graph.nodes) for graph in graphs] == [len(graphs[0].nodes)] * 8
    assert builtins.len is plain


def test_one_module_under_two_names():
    act = nn.ReLU()
    module = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 2))
    assert len(captured(module, (4,)).sites) == 2


def test_functions_are_named_by_the_module_that_calls_them():
    inner = Calls(lambda n, x: F.relu(n.fc(x)) + x, fc=nn.Linear(4, 4))
    graph = captured(nn.Sequential(inner, nn.Sequential(nn.Linear(4, 2))), (4,))
    assert [node.name for node in graph.nodes] == ["0.fc", "0.relu", "0.add", "1.0"]


def test_a_module_named_input():
    module = Calls(lambda n, x: n.fc(n.input(x)), input=nn.Linear(4, 4), fc=nn.Linear(4, 2))
    graph = captured(module, (4,))
    assert [node.name for node in graph.nodes] == ["input@2", "fc"]


def test_a_branch_for_training_is_not_taken():
    def forward(n, x):
        if n.training:
            x = torch.sigmoid(x) * torch.rand_like(x)
        return n.fc(x)

    assert ops(captured(Calls(forward, fc=nn.Linear(4, 2)).train(), (4,))) == ["linear"]


def test_options_of_forward_keep_their_defaults():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x, features=False, mask=None):
            if mask is not None:
                x = x * mask
            return x if features else self.fc(x)

    assert ops(captured(Net(), (4,))) == ["linear"]


def test_what_the_output_does_not_need_is_left_out():
    def forward(n, x):
        F.relu(n.out(x))
        return n.fc(x)

    graph, tensors, _ = capture(Calls(forward, **fcs(4)), (4,))
    assert ops(graph) == ["linear"]
    assert set(tensors) == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("relu_", [torch.relu_, lambda y: F.relu(y, inplace=True), nn.ReLU(True)])
def test_a_change_in_place_is_seen_by_later_readers(relu_):
    def forward(n, x):
        y = n.fc(x)
        n.part(y)  # its result is not used
        return n.out(y) + y

    graph = captured(Calls(forward, part=relu_, **fcs(4)), (4,))
    assert ops(graph) == ["linear", "relu", "linear", "add"]
    assert graph.nodes[2].inputs == (graph.sites[0].name,)


def test_a_change_in_place_of_the_input():
    graph = captured(Calls(lambda n, x: n.fc(x.add_(x)) + x, fc=nn.Linear(4, 4)), (4,))
    assert ops(graph) == ["add", "linear", "add"]


def test_the_module_keeps_its_weights():
    module = nn.Sequential(nn.Linear(4, 2))
    _, tensors, _ = capture(module, (4,))
    tensors["0.weight"].zero_()
    assert module[0].weight.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_become_float32(dtype):
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()).to(dtype)
    graph, tensors, _ = capture(module, (4,))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert module[0].weight.dtype == dtype
    got = Network(graph, tensors).eval()(torch.eye(4))
    torch.testing.assert_close(got, module.float()(torch.eye(4)))


# What can't be used


def test_all_refusals_at_once_each_with_its_place():
    module = nn.Sequential(
        nn.Linear(4, 4),
        nn.GELU(),
        nn.Sequential(nn.LayerNorm(4), Calls(lambda n, x: torch.sigmoid(x))),
        nn.Linear(4, 2),
        nn.Tanh(),
    )
    error = refused(module, (4,))
    assert error.problem == "4 operations of the network can't be converted"
    assert error.found == (
        "1: module GELU; 2.0: module LayerNorm; 2.1.sigmoid: function 'sigmoid'; 4: module Tanh"
    )
    assert error.remedy == ANALOG  # once, though it is that of all four
    assert [o.place for o in error.obstacles] == ["1", "2.0", "2.1.sigmoid", "4"]
    assert {o.remedy for o in error.obstacles} == {ANALOG}


def test_calls_behind_one_that_gives_several_values_are_named():
    error = refused(
        Calls(lambda n, x: torch.sigmoid(n.a(torch.sort(x, 1).values)), a=nn.Linear(4, 4)), (4,)
    )
    assert [o.place for o in error.obstacles] == ["sort", "sigmoid"]


def test_each_refusal_has_its_own_remedy():
    parts = [
        nn.Linear(4, 4),
        nn.Threshold(0, 1),
        nn.Hardshrink(),
        nn.BatchNorm1d(4, track_running_stats=False),
    ]
    error = refused(nn.Sequential(*parts), (4,))
    jump, unknown, norm = error.obstacles
    assert "ReLU in its place" in jump.remedy
    assert unknown.remedy == IN_OTHER_WORDS
    assert "track_running_stats=True" in norm.remedy
    assert error.remedy == f"1: {jump.remedy}; 2: {unknown.remedy}; 3: {norm.remedy}"


def test_the_verdict_on_a_capture():
    verdict = capturing.capture(
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (4,)
    ).verdict
    assert verdict.referee == "torch"
    assert 0 <= verdict.difference < 1e-6 < verdict.tolerance


class Branches(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Raises(nn.Module):
    def forward(self, x):
        raise AssertionError


def test_control_flow_that_depends_on_data():
    error = refused(Branches(), (4,))
    assert error.problem == "Branches can't be traced"
    assert "(test_capture.py, line" in error.found
    assert "if x.sum() > 0:" in error.found
    assert "control flow" in error.remedy


def test_an_error_of_the_users_own_without_words():
    error = refused(Raises(), (4,))
    assert error.found.startswith("AssertionError (test_capture.py, line")


def test_an_input_of_another_shape():
    error = refused(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), (1, 28, 28))
    assert error.problem == "Sequential can't take an input of shape [1, 28, 28]"
    assert "expected input[3, 1, 28, 28] to have 3 channels" in error.found
    assert "--data" in error.remedy


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda n, x: x.sum(), "shape [] for 3 samples"),
        (lambda n, x: x.flatten(1).view(6, -1), "shape [6, 64] for 3 samples"),
        (lambda n, x: None, "a NoneType"),
    ],
)
def test_no_output(function, found):
    error = refused(Calls(function), IMAGE)
    assert error.problem == "Calls gives no output [B, ...]"
    assert error.found == found


def test_outputs_of_any_shape():
    captured(Calls(lambda n, x: F.relu(x)), IMAGE)
    one = Calls(lambda n, x: n.fc(x.flatten(1)).squeeze(1), fc=nn.Linear(128, 1))
    graph, tensors, _ = capture(one, IMAGE)
    x = torch.randn(5, *IMAGE)
    with torch.no_grad():
        torch.testing.assert_close(Network(graph, tensors)(x).reshape(5), one(x))


def test_a_branch_that_reaches_no_output_is_no_obstacle():
    def forward(n, x):
        h = F.relu(n.fc(x))
        torch.sigmoid(h).cumprod(1).sigmoid_()
        return n.out(h)

    assert ops(captured(Calls(forward, **fcs(4)), (4,))) == ["linear", "relu", "linear"]


def test_a_change_in_place_of_an_alias_is_no_branch():
    def forward(n, x):
        h = F.relu(n.fc(x))
        h.detach().sigmoid_()
        return n.out(h)

    with pytest.raises(CheckFailedError, match="changed in place"):
        capture(Calls(forward, **fcs(4)), (4,))


def test_a_network_that_spikes_already():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    error = refused(nn.Sequential(nn.Linear(4, 4), neuron.IFNode()), (4,))
    assert error.problem == "Sequential spikes already"
    assert error.found == "1: IFNode of spikingjelly"
    assert "ReLU" in error.remedy


def test_the_module_of_an_exported_program(tmp_path):
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    program = torch.export.export(net, (torch.rand(2, 4),))
    error = refused(program.module(), (4,))
    assert "save the program as .pt2" in error.remedy
    file = tmp_path / "network.pt2"
    line = error.remedy.partition(": ")[2].replace("network.pt2", str(file))
    exec(line, {"torch": torch, "program": program})
    assert import_exported(file, (4,)).graph.sites


def test_an_output_that_does_not_depend_on_the_input():
    module = Calls(lambda n, x: n.table, table=nn.Parameter(torch.ones(3, 2)))
    assert "output: not one tensor that depends on the input" in refused(module, (4,)).found


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(value):
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    module[0].weight.data[1, 2] = value
    module[1].running_var[0] = value
    assert refused(module, (4,)).found == "NaN or Inf in 0.weight, 1.running_var"


def test_an_output_that_is_not_finite():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    module[0].weight.data.fill_(1e38)
    module[1].weight.data.fill_(1e38)
    assert "NaN or Inf for random inputs" in refused(module, (4,)).found


# What the trace can't see is noticed by comparing


def test_a_hook_is_noticed():
    module = nn.Sequential(nn.Linear(4, 2))
    module[0].register_forward_hook(lambda m, args, out: 2 * out)
    with pytest.raises(CheckFailedError, match="does not compute what it computes"):
        capture(module, (4,))


def test_an_alias_that_the_trace_loses_is_noticed():
    def forward(n, x):
        kept = y = n.fc(x)
        y += x  # fx traces y = y + x, and kept stays as it was
        return kept + y

    with pytest.raises(CheckFailedError, match="changed in place"):
        capture(Calls(forward, fc=nn.Linear(4, 4)), (4,))


# Networks that are wrapped, and what is none


@pytest.mark.parametrize(
    "wrap",
    [
        *(nn.DataParallel, torch.optim.swa_utils.AveragedModel),
        partial(torch.compile, backend=lambda *_: 1 / 0),
    ],
)
def test_a_network_that_is_wrapped_for_speed_is_the_one_inside(wrap):
    assert ops(capture(wrap(nn.Sequential(nn.Linear(4, 2), nn.ReLU())), (4,))[0]) == (
        ["linear", "relu"]
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda net: torch.jit.trace(net, torch.zeros(3, 4)), "TorchScript"),
        (torch.jit.script, "TorchScript"),
        (lambda net: nn.Sequential(torch.jit.script(net)), "TorchScript"),
        (lambda net: net.to("meta"), "2 tensors on the meta device, the first '0.weight'"),
    ],
)
def test_what_can_not_be_read_is_refused_by_name(make, found):
    assert found in refused(make(nn.Sequential(nn.Linear(4, 2))), (4,)).found


class Inputs(nn.Linear):
    def forward(self, *inputs):
        return super().forward(inputs[0])


class Unpacked(nn.Linear):
    def forward(self, *inputs):
        (x,) = inputs
        return super().forward(x)


@pytest.mark.parametrize("kind", [Inputs, Unpacked])
def test_a_forward_of_any_number_of_inputs(kind):
    assert ops(captured(kind(4, 2), (4,))) == ["linear"]


def test_an_exit_of_the_users_own():
    error = refused(Calls(lambda n, x: sys.exit(0)), (4,))
    assert "SystemExit: 0 (test_capture.py, line" in error.found


# Where torch.fx can't trace, or its trace has what can't be converted


@pytest.mark.parametrize(
    "forward",
    [
        lambda n, x: n.out(n.fc(x).view_as(x)),
        lambda n, x: torch.cat(n.fc(x).split(split_size=2, dim=1), 1),
        lambda n, x: n.fc(x)[..., None].mean(axis=2),
        lambda n, x: n.fc(x) @ n.out.weight,
        lambda n, x: torch.matmul(n.fc(x), n.out.weight),
        lambda n, x: n.out(n.fc(x).float().to(n.out.weight.dtype)),
        lambda n, x: n.up(n.fc(x)[:, None], output_size=(9,)).flatten(1),
    ],
)
def test_what_torch_export_alone_can_tell_is_taken_from_it(forward):
    captured(Calls(forward, up=nn.ConvTranspose1d(1, 1, 2, 2), **fcs(4)), (4,))


def test_the_shorter_list_is_the_one_that_is_reported():
    error = refused(Calls(lambda n, x: n.fc(x @ n.out.weight).cumprod(1), **fcs(4)), (4,))
    assert error.problem == "1 operation of the network can't be converted"
    assert "cumprod" in error.found


def test_a_refusal_says_one_thing_only(capfd):
    refused(Branches(), (4,))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "forward",
    [
        lambda n, x: n.out(n.fc(x).view(len(x), -1)),
        lambda n, x: n.out(n.fc(x).view(x.shape[0], *[4] * len([x]))),
    ],
)
def test_the_length_of_a_value_is_its_batch(forward):
    plain = len
    assert ops(captured(Calls(forward, **fcs(4)), (4,))) == ["linear", "reshape", "linear"]
    assert len is plain


def test_control_flow_that_depends_on_sizes():
    def forward(n, x):
        if x.shape[1] != 4 or x.dim() != 2:
            raise ValueError("four features")
        for _ in range(x.shape[1] // 2):
            x = F.relu(n.fc(x))
        return n.out(x)

    graph = captured(Calls(forward, **fcs(4)), (4,))
    assert ops(graph) == ["linear", "relu", "linear", "relu", "linear"]
    assert [node.name for node in graph.nodes] == ["fc", "relu", "fc@2", "relu_1", "out"]
    assert graph.tensor_names() == {"fc.weight", "fc.bias", "out.weight", "out.bias"}
    assert graph["fc"].tensors == graph["fc@2"].tensors


def test_a_batch_size_as_a_number_is_not_taken():
    """torch.export sees that the network is not one for any batch."""
    error = refused(Calls(lambda n, x: n.fc(x) if len(x) == 3 else n.out(x), **fcs(4)), (4,))
    assert "can't be traced" in error.problem
