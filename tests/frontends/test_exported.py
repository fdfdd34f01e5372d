"""Exported programs: read as data, translated, compared with the program."""

import functools
import json
import re
import shutil
import zipfile

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls
from torch import nn
from torchvision.models import get_model

from snnconv.errors import CheckFailedError, ExitCode, UnsupportedError, UsageError
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture, random_input
from snnconv.graph.network import Network
from snnconv.zoo import ZOO

IMAGE = (2, 8, 8)


class Net(nn.Module):
    """Modules, functions, methods, and a view that depends on the batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(64, 10)
        self.gain = torch.tensor([2.0])

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = F.max_pool2d(x + F.relu6(x), 2)
        left, right = x.chunk(2, 1)
        x = self.relu(torch.cat((right, left), 1))
        return self.fc(x.view(x.size(0), -1) * self.gain)


def program(module, shape=IMAGE, batch=None, core=False, tokens=None, dtype=torch.float32):
    """A module as torch.export sees it; without a batch, that is left open."""
    found = _program(module, shape, batch, tokens, dtype)
    return found.run_decompositions() if core else found


@functools.cache  # torch.export takes a second or more for the smallest network
def _program(module, shape, batch, tokens, dtype):
    sizes = None if batch else ({0: torch.export.Dim("batch")},)
    example = random_input(batch or 2, shape, tokens).to(dtype)
    return torch.export.export(module.eval(), (example,), dynamic_shapes=sizes)


def saved(module, folder, shape=IMAGE, **how):
    file = folder / "network.pt2"
    torch.export.save(program(module, shape, **how), file)
    return file


def imported(module, folder, shape=IMAGE, analog=False, tokens=None, **how):
    """The import, after checking that it gives what the module gives for a batch of any size."""
    file = saved(module, folder, shape, tokens=tokens, **how)
    found = import_exported(file, shape, analog, tokens)
    assert found.verdict.difference <= 1e-5
    x = random_input(5, shape, tokens, 2)
    with torch.no_grad():
        got = Network(found.graph, found.tensors).eval()(x)
        wanted = module(x.to(how.get("dtype", x.dtype)))
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    return found


def refused(file, code=ExitCode.UNSUPPORTED, shape=IMAGE, tokens=None):
    with pytest.raises((UnsupportedError, UsageError, CheckFailedError)) as caught:
        import_exported(file, shape, tokens=tokens)
    assert caught.value.code == code
    assert str(file) in caught.value.problem
    return caught.value


# The same graph as of the live network


NET = Net()


@pytest.mark.parametrize("batch", [None, 1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("core", [False, True])
def test_it_is_the_graph_of_the_live_network(batch, core, tmp_path):
    module = NET
    graph, tensors, _ = capture(module, IMAGE)
    found = imported(module, tmp_path, batch=batch, core=core)
    assert [n.op for n in found.graph.nodes] == [n.op for n in graph.nodes]
    assert [n.attrs for n in found.graph.nodes] == [n.attrs for n in graph.nodes]
    clipped = "hardtanh" if core else "relu6"
    assert [s.name for s in found.graph.sites] == ["relu", clipped, "relu@2"]
    assert [s.name for s in graph.sites] == ["relu", "relu6", "relu@2"]
    assert found.tensors.keys() >= {"conv.weight", "norm.running_var", "fc.weight", "fc.bias"}
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in ("fc.weight", "fc.bias"))


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_0", "densenet121"])
def test_torchvision(name, tmp_path):
    shape = (3, 64, 64)
    module = get_model(name, weights=None).eval()
    graph, tensors, _ = capture(module, shape)
    found = imported(module, tmp_path, shape)
    place = {node.name: index for index, node in enumerate(graph.nodes)}
    mine = {node.name: index for index, node in enumerate(found.graph.nodes)}
    for theirs, node in zip(graph.nodes, found.graph.nodes, strict=True):
        assert (node.op, node.attrs, node.tensors) == (theirs.op, theirs.attrs, theirs.tensors)
        assert [mine.get(n) for n in node.inputs] == [place.get(n) for n in theirs.inputs]
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[key], tensors[key]) for key in tensors)


# Operators, as exported and in the core set


def images(function):
    return lambda n, x: function(x).flatten(1)


CASES = {
    "conv": nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1, groups=2), nn.Flatten()),
    "conv_same": nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.Flatten()),
    "conv_transpose": nn.Sequential(nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), nn.Flatten()),
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 3, 5, dilation=2), nn.Flatten()),
    "no_bias": nn.Sequential(nn.Flatten(), nn.Linear(128, 3, bias=False), nn.ReLU()),
    "linear_on_axes": nn.Sequential(nn.Linear(8, 3), nn.Flatten()),
    "norm_1d": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(128, affine=False)),
    "clamp": Calls(images(lambda x: x.clamp(0, 2.5) + x.clamp(min=0))),
    "in_place": Calls(images(lambda x: F.relu_(x + 1).mul_(2).add_(1))),
    "max_pool": nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Flatten()),
    "avg_pool": nn.Sequential(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Flatten()),
    "adaptive_avg": nn.Sequential(nn.AdaptiveAvgPool2d((3, 5)), nn.Flatten()),
    "adaptive_max": nn.Sequential(nn.AdaptiveMaxPool2d((3, 5)), nn.Flatten()),
    "mean": Calls(lambda n, x: x.mean((2, 3))),
    "arithmetic": Calls(images(lambda x: 3 - (x / 2 - 1) * -1.5)),
    "wiring": Calls(images(lambda x: x.transpose(2, 3).permute(0, 2, 1, 3).unsqueeze(1))),
    "split": Calls(images(lambda x: torch.cat(x.split([3, 5], 2)[::-1], 2))),
    "slices": Calls(images(lambda x: x[:, :, 1:7:2, 3])),
    "pad": nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Flatten()),
    "upsample": nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample((24, 20)), nn.Flatten()),
    "dropout": nn.Sequential(nn.Dropout(0.3), nn.Flatten()),
    "maxima": Calls(lambda n, x: x.amax((2, 3)) + x.max(3)[0].amax(2) + x.amax(1).amax(1)[:, :1]),
    "running sums": Calls(images(lambda x: x.cumsum(-1) + torch.cumsum(x.relu(), 1))),
    "stack": Calls(images(lambda x: torch.stack((x, x.relu()), 2))),
    "shuffle": Calls(images(lambda x: F.channel_shuffle(x.transpose(1, 2), 4))),
    "bends": nn.Sequential(nn.LeakyReLU(0.2), nn.Hardtanh(), nn.Flatten()),
    "magnitude": Calls(images(lambda x: x.abs())),
    "prelu": nn.Sequential(nn.PReLU(2), nn.Flatten()),
    "rrelu": Calls(images(lambda x: F.rrelu(x, 0.1, 0.3))),
    "softshrink": nn.Sequential(nn.Softshrink(0.3), nn.Flatten()),
    "comparisons": Calls(images(lambda x: torch.max(x, x.flip(2)) + torch.minimum(x, 1 - x))),
    "minima": Calls(lambda n, x: x.amin((2, 3)) + x.min(3)[0].amin(2)),
    "between": nn.Sequential(nn.UpsamplingBilinear2d((9, 5)), nn.Flatten()),
    "rearranged": Calls(images(lambda x: x.roll(1, 2).flip(1).repeat(1, 2, 1, 1))),
    "expanded": Calls(images(lambda x: x[:, :1].expand(-1, 4, 8, 8))),
    "pieces": Calls(images(lambda x: torch.cat(x.tensor_split(3, 2)[::-1], 2))),
    "unshuffle": nn.Sequential(nn.PixelUnshuffle(2), nn.Flatten()),
}


NOT_IN_CORE = {
    # it compares, and chooses place by place
    **dict.fromkeys(("prelu", "softshrink"), "function 'where.self'"),
    "rrelu": "aten.rrelu_with_noise_functional",
}


@pytest.mark.parametrize("name", NOT_IN_CORE)
def test_what_the_core_set_makes_hard_to_read(name, tmp_path):
    assert NOT_IN_CORE[name] in refused(saved(CASES[name], tmp_path, core=True)).found


def test_what_the_core_set_writes_as_places(tmp_path):
    module = Calls(images(lambda x: F.pad(x, (2, 1, 0, 3), "reflect")))
    assert "pad" in [n.op for n in imported(module, tmp_path).graph.nodes]
    found = imported(module, tmp_path, core=True).graph.nodes
    assert [n.op for n in found if n.op != "identity"] == ["take", "take", "reshape"]


class SideBySide(nn.Module):
    """Networks on one input, their outputs behind one another: all are exported at once."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, x):
        return torch.cat([part(x) for part in self.parts.values()], 1)


IN_CORE = SideBySide({name: part for name, part in CASES.items() if name not in NOT_IN_CORE})


@pytest.mark.parametrize("core", [False, True])
def test_operators_side_by_side(core, tmp_path):
    # two parts that begin by one reshape share it in the core set
    same_operations(IN_CORE, core, tmp_path, *(["reshape"] if core else []))


@pytest.mark.parametrize("name", NOT_IN_CORE)
def test_operators_that_the_core_set_makes_hard_to_read(name, tmp_path):
    same_operations(CASES[name], False, tmp_path)


def same_operations(module, core, folder, *left_out):
    """The import has the operations of the module's capture, in that order."""
    left_out = ("identity", "dropout", *left_out)
    graph, *_ = capture(module.eval(), IMAGE)
    found = imported(module, folder, core=core)
    kept = [n for n in found.graph.nodes if n.op not in left_out]
    wanted = [n for n in graph.nodes if n.op not in left_out]
    assert [(n.op, n.attrs) for n in kept] == [(n.op, n.attrs) for n in wanted]


FUNCTIONS = {
    "pointwise": Calls(
        images(lambda x: torch.sigmoid(F.silu(x)) + F.gelu(x).tanh() + F.softplus(x))
    ),
    "hard": Calls(images(lambda x: F.hardswish(x) * F.hardsigmoid(x) + F.elu(x, 0.5) + F.mish(x))),
    "layer_norm": nn.Sequential(nn.LayerNorm([8, 8]), nn.Flatten()),
    "softmax": Calls(images(lambda x: x.softmax(2) + x.log_softmax(1))),
    "powers": Calls(images(lambda x: (x**2 + 1).sqrt() / (1 + x.square()) + torch.erf(x))),
    "groups": nn.Sequential(nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.Flatten()),
    "norm": Calls(images(nn.LocalResponseNorm(2, 0.5))),
    "products": Calls(images(lambda x: x @ x.transpose(2, 3))),
}


ALL_FUNCTIONS = SideBySide(FUNCTIONS)


def test_functions_that_no_neuron_stands_for(tmp_path):
    error = refused(saved(ALL_FUNCTIONS, tmp_path))
    assert "network.pt2 can't be converted" in error.problem
    assert set(re.findall(r"function '(\w+)\.", error.found)) == {
        *("silu", "sigmoid", "gelu", "tanh", "softplus", "hardswish", "elu", "mish", "erf"),
        *("layer_norm", "group_norm", "instance_norm", "softmax", "log_softmax"),
        *("mul", "div", "pow", "sqrt", "square", "matmul"),
    }
    imported(ALL_FUNCTIONS, tmp_path, analog=True)


# Texts


@pytest.mark.parametrize("core", [False, True])
def test_a_lookup(core, tmp_path):
    found = imported(TABLE, tmp_path, (3,), tokens=9, dtype=torch.long, core=core)
    assert [n.op for n in found.graph.nodes] == ["embedding", "reshape"]


def _last_states(n, x):
    sequence, states = n.rnn(n.table(x.long()))
    states = states[0] if isinstance(n.rnn, nn.LSTM) else states
    return torch.cat([states[-1], states[-2], sequence.mean(1)], 1)


@pytest.mark.filterwarnings("ignore:The tensor attributes")
@pytest.mark.parametrize("kind", [nn.GRU, pytest.param(nn.LSTM, marks=pytest.mark.long)])
def test_a_recurrence(kind, tmp_path):
    rnn = kind(4, 3, batch_first=True, bidirectional=True)
    module = Calls(_last_states, table=nn.Embedding(9, 4), rnn=rnn)
    found = imported(module, tmp_path, (2,), True, tokens=9)
    graph, tensors, _ = capture(module, (2,), True, 9)
    assert [(n.op, n.attrs) for n in found.graph.nodes] == [(n.op, n.attrs) for n in graph.nodes]
    assert found.tensors.keys() == tensors.keys()
    error = refused(tmp_path / "network.pt2", shape=(2,), tokens=9)
    assert f"aten.{kind.__name__.lower()}" in error.found or "rnn" in error.found


@pytest.mark.filterwarnings("ignore:The tensor attributes")
@pytest.mark.long
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_the_zoo_s_recurrences(kind, dtype, tmp_path):
    module = ZOO[kind](tokens=9, classes=3, embedding=4, hidden=5, layers=2).eval()
    found = imported(module, tmp_path, (3,), True, tokens=9, dtype=dtype)
    graph, tensors, _ = capture(module, (3,), True, 9)
    kept = [n for n in found.graph.nodes if n.op != "identity"]
    wanted = [n for n in graph.nodes if n.op != "identity"]
    assert [(n.op, n.attrs, n.tensors) for n in kept] == [
        (n.op, n.attrs, n.tensors) for n in wanted
    ]
    assert all(torch.equal(found.tensors[key], tensors[key]) for key in tensors)


def test_a_softmax_at_the_end_is_dropped(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 4), nn.Softmax(1))
    found = import_exported(saved(module, tmp_path), IMAGE)
    x = torch.randn(3, *IMAGE)
    torch.testing.assert_close(Network(found.graph, found.tensors)(x), module[:2](x))


# What can't be imported


def test_every_operator_that_is_not_known_is_named(tmp_path):
    module = Calls(lambda n, x: F.relu(F.threshold(x, 0, 1).cumprod(2).sort(3)[0]).flatten(1))
    error = refused(saved(module, tmp_path))
    assert error.problem.startswith(f"3 operations of {tmp_path}")
    for name in ("aten.cumprod.default", "aten.sort", "which jumps"):
        assert name in error.found


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda w: w.cumprod(0), "function 'torch.ops.aten.cumprod.default'"),
        (lambda w: (2 * w).cumprod_(0), "change values in place: torch.ops.aten.cumprod_.default"),
    ],
)
def test_operators_of_constants_that_are_not_known(made, found, tmp_path):
    """They give no value here, and zeros in its place would be a wrong network."""
    module = Calls(lambda n, x: x.flatten(1) + made(n.w), w=nn.Parameter(torch.ones(128)))
    assert found in refused(saved(module, tmp_path)).found


def test_masks_that_are_written_in_place(tmp_path):
    def forward(n, x):
        mask = x.new_zeros(8, 8)
        mask[:4, 2:] = 1
        mask[5] = 2
        mask[2:4, 4].zero_()
        return (x + mask.masked_fill(mask == 1, -3.0)).flatten(1)

    imported(Calls(forward), tmp_path)


def test_control_flow(tmp_path):
    def forward(n, x):
        return torch.cond(x.sum() > 0, lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3)) + 1, (x,))

    assert "cond" in refused(saved(Calls(forward), tmp_path)).found


def test_two_inputs_or_outputs(tmp_path):
    class Two(nn.Module):
        def forward(self, x, y):
            return (x + y).flatten(1)

    x = torch.randn(2, *IMAGE)
    torch.export.save(torch.export.export(Two(), (x, x)), tmp_path / "two.pt2")
    assert "2 inputs (x, y)" in refused(tmp_path / "two.pt2").found
    error = refused(saved(Calls(lambda n, x: (x.flatten(1), x.mean((2, 3)))), tmp_path))
    assert error.found.startswith("2 outputs")


def test_a_network_exported_in_training_mode(tmp_path):
    module = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Flatten()).train()
    torch.export.save(
        torch.export.export(module, (torch.randn(2, *IMAGE),)).run_decompositions(),
        tmp_path / "t.pt2",
    )
    error = refused(tmp_path / "t.pt2")
    assert "buffer_mutation" in error.found
    assert "evaluation mode" in error.remedy


@pytest.mark.parametrize("core", [False, True])
def test_the_momentum_of_batch_norm(core, tmp_path):
    module = nn.Sequential(nn.BatchNorm2d(2, momentum=0.25), nn.Flatten())
    (norm, _) = imported(module, tmp_path, core=core).graph.nodes
    assert norm.attrs["momentum"] == 0.25


TABLE = nn.Sequential(nn.Embedding(9, 4), nn.Flatten())


def test_integer_input(tmp_path):
    file = saved(TABLE, tmp_path, (3,), tokens=9, dtype=torch.long)
    assert "of type torch.int64" in refused(file, shape=(3,)).found


def test_samples_of_another_shape(tmp_path):
    file = saved(NET, tmp_path)
    assert "shape [2, 8, 8] for samples of [1, 8, 8]" in refused(file, shape=(1, 8, 8)).found
    assert "for samples of [2]" in refused(file, shape=(2,)).found


def test_a_graph_that_mixes_samples(tmp_path):
    """With one sample nothing in the program shows it; several show that the graph is another."""
    module = Calls(lambda n, x: x.flatten(1) * 1.0 - x.flatten(1).mean(0, keepdim=True))
    assert "a mean over the batch" in refused(saved(module, tmp_path, batch=1)).found


def test_weights_that_are_not_finite(tmp_path):
    module = Net()
    with torch.no_grad():
        module.fc.weight[0, 0] = torch.nan
    with pytest.raises(UnsupportedError) as caught:
        import_exported(saved(module, tmp_path), IMAGE)
    assert "NaN or Inf in fc.weight" in caught.value.found


# Files that are damaged, or made to do harm


def rewritten(file, change, compression=zipfile.ZIP_STORED):
    """The archive with its entries, name to bytes, changed."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def edited(file, name, change):
    """The archive with one of its JSON entries changed."""

    def entry(entries):
        (key,) = [key for key in entries if key.endswith(name)]
        document = json.loads(entries[key])
        change(document)
        entries[key] = json.dumps(document).encode()

    return rewritten(file, entry)


WEIGHTS = "model_weights_config.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return saved(NET, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def file(whole, tmp_path):
    return shutil.copy(whole, tmp_path / "network.pt2")


def test_what_was_rewritten_is_still_read(file):
    assert (
        import_exported(edited(file, "model.json", lambda d: None), IMAGE).verdict.difference
        <= 1e-5
    )


def test_nothing_is_unpickled(file):
    """The example inputs, which torch.export.load unpickles, may be anything."""

    def change(entries):
        (key,) = [key for key in entries if key.endswith("sample_inputs/model.pt")]
        entries[key] = b"cos\nabort\n(tR."

    assert import_exported(rewritten(file, change), IMAGE).verdict.difference <= 1e-5


def test_pickled_weights_are_refused_by_name(file):
    edited(file, WEIGHTS, lambda d: d["config"]["fc.weight"].update(use_pickle=True))
    error = refused(file)
    assert "only unpickling reads, which may run code: fc.weight" in error.found


def test_code_in_place_of_names_is_not_run(file):
    def change(document):
        graph = document["graph_module"]["graph"]
        relu = next(n for n in graph["nodes"] if "relu6" in n["name"] or "hardtanh" in n["name"])
        relu["target"] = "torch.os.abort"
        graph["nodes"][-1]["name"] = "x = __import__('os').abort()"
        document["guards_code"] = ["__import__('os').abort()"]
        document["range_constraints"] = {"__import__('os').abort()": {}}

    assert "torch.os.abort" in refused(edited(file, "model.json", change)).found


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_file_cut_off(share, file):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert "as an exported program" in refused(file).problem


def test_no_file(tmp_path):
    refused(tmp_path / "lost.pt2", ExitCode.USAGE)
    refused(tmp_path, ExitCode.USAGE)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x02.", b"\0" * 99])
def test_another_file(content, file):
    file.write_bytes(content)
    assert "as an exported program" in refused(file).problem


def test_other_archives(file, tmp_path):
    torch.save(Net().state_dict(), tmp_path / "weights.pt2")
    assert "no archive of a program" in refused(tmp_path / "weights.pt2").found
    rewritten(file, lambda e: [e.pop(k) for k in list(e) if k.endswith("model.json")])
    assert "models/model.json" in refused(file).found


def test_a_compressed_bomb(file):
    def change(entries):
        (key,) = [key for key in entries if key.endswith("weight_0")]
        entries[key] = bytes(10**7)

    error = refused(rewritten(file, change, zipfile.ZIP_DEFLATED))
    assert "compressed entries" in error.found
    assert file.stat().st_size < 10**5


def broken(**changed):
    """A weight's declaration with something else in it."""
    return lambda d: d["config"]["fc.weight"]["tensor_meta"].update(changed)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        (WEIGHTS, broken(sizes=[{"as_int": 10**6}] * 2), "for the tensor 'fc.weight' of shape"),
        (WEIGHTS, broken(strides=[{"as_int": 0}] * 2, sizes=[{"as_int": 10**6}] * 2), "fc.weight"),
        (WEIGHTS, broken(storage_offset={"as_int": 9}), "for the tensor 'fc.weight'"),
        (WEIGHTS, broken(storage_offset={"as_int": -9}), "a size of -9"),
        (WEIGHTS, broken(dtype=99), "99"),
        (WEIGHTS, lambda d: d["config"].pop("fc.weight"), "fc.weight"),
        (WEIGHTS, lambda d: d.pop("config"), "config"),
        ("model.json", lambda d: d["schema_version"].update(major=9), "schema version 9"),
        ("model.json", lambda d: d["graph_module"].pop("graph"), "graph"),
        ("model.json", lambda d: d["graph_module"]["graph"].update(nodes=7), ""),
        ("model.json", lambda d: d["graph_module"]["graph"]["nodes"].reverse(), ""),
        ("model.json", lambda d: d.update(graph_module=[[]]), ""),
    ],
)
def test_made_up_contents(name, change, found, file):
    error = refused(edited(file, name, change))
    assert "as an exported program" in error.problem
    assert found in error.found


def node(document, target):
    (found,) = [n for n in document["graph_module"]["graph"]["nodes"] if target in n["target"]]
    return {i["name"]: i["arg"] for i in found["inputs"]}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: node(d, "conv2d")["padding"].update(as_ints=[10**6, 10**6]),
        lambda d: node(d, "conv2d")["stride"].update(as_ints=[0, 0]),
        lambda d: node(d, "conv2d")["stride"].update(as_ints="no numbers"),
        lambda d: node(d, "view")["size"].update(as_sym_ints=[{"as_int": 10**6}]),
    ],
)
def test_made_up_arguments(change, file):
    """Gigantic values among them: the file's sizes are computed before its numbers are."""
    error = refused(edited(file, "model.json", change))
    assert "can't be run on samples of shape [2, 8, 8]" in error.problem
