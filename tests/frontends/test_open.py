import pytest
import torch
from helpers.onnx_models import exported
from torch import nn

from snnconv.checkpoint import save
from snnconv.core.metadata import DataInfo
from snnconv.errors import CheckpointError, ExitCode, UnsupportedError, UsageError
from snnconv.frontends.open import from_module, is_checkpoint, open_model
from snnconv.graph.network import Network
from snnconv.zoo import ZOO

FACTS = DataInfo(
    spec="digits",
    shape=(1, 8, 8),
    classes=tuple("0123456789"),
    mean=(0.5,),
    std=(0.25,),
)


def logits(checkpoint, x):
    return Network(checkpoint.graph, checkpoint.network).eval()(x)


def refused(kind, spec, weights=None, **options):
    with pytest.raises(kind) as caught:
        open_model(spec, weights, FACTS, **options)
    return caught.value


@pytest.fixture
def weights(tmp_path):
    module, file = ZOO["cnn"](width=0.5), tmp_path / "cnn.pt"
    torch.save(module.state_dict(), file)
    return file


@pytest.fixture
def factories(tmp_path):
    """A user's file with factories, good and bad."""
    file = tmp_path / "nets.py"
    file.write_text(
        "from torch import nn\n"
        "def small(classes=10, hidden=16):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(),\n"
        "                         nn.Linear(hidden, classes))\n"
        "def curved():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh())\n"
        "def colour():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10))\n"
        "def nothing():\n"
        "    return None\n"
        "def broken():\n"
        "    return 1 / 0\n"
        "def leaving():\n"
        "    raise SystemExit(0)\n"
    )
    return file


def test_a_module_becomes_a_checkpoint():
    module = ZOO["cnn"](width=0.5).eval()
    checkpoint = from_module(module, FACTS).network
    assert (checkpoint.kind, checkpoint.data, checkpoint.lineage) == ("ann", FACTS, ())
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(logits(checkpoint, x), module(x))


def test_a_zoo_network_fits_the_data():
    checkpoint = open_model(
        "vgg11?width=0.0625&pool=max", None, FACTS, must_be_trained=False
    ).network
    assert checkpoint.graph.input_shape == (1, 8, 8)
    assert logits(checkpoint, torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert "max_pool" in {node.op for node in checkpoint.graph.nodes}


def test_a_zoo_network_with_weights(weights):
    checkpoint = open_model("cnn?width=0.5", weights, FACTS).network
    assert torch.equal(checkpoint.network["0.weight"], torch.load(weights)["0.weight"])


def test_a_zoo_network_without_weights():
    error = refused(UsageError, "cnn")
    assert error.problem == "the zoo's cnn has no trained weights"
    assert error.remedy == "train it first: snnconv train cnn --data digits"


def test_a_checkpoint(tmp_path):
    file = tmp_path / "ann.safetensors"
    saved = from_module(ZOO["mlp"](), FACTS).network
    save(saved, file)
    assert is_checkpoint(str(file))
    assert open_model(str(file), None, FACTS).network.graph == saved.graph


def test_a_checkpoint_has_its_own_weights(tmp_path, weights):
    error = refused(UsageError, "ann.safetensors", weights)
    assert error.found == "the checkpoint ann.safetensors"


def test_a_missing_checkpoint(tmp_path):
    error = refused(CheckpointError, str(tmp_path / "gone.safetensors"))
    assert error.code == ExitCode.CHECKPOINT
    assert error.found == "no such file"


def test_an_unknown_name():
    error = refused(UsageError, "resnet21")
    assert error.found == "'resnet21'"
    assert "did you mean 'resnet20'?" in error.remedy
    assert "FILE.safetensors" in error.remedy


@pytest.mark.parametrize("option", ["depth=3", "width"])
def test_an_option_that_is_none(option):
    error = refused(UsageError, f"cnn?{option}", must_be_trained=False)
    assert option in str(error)


@pytest.fixture
def onnx_file(tmp_path):
    module, file = ZOO["cnn"](width=0.5).eval(), tmp_path / "cnn.onnx"
    exported(module, FACTS.shape, tmp_path, dynamo=False, opset=17).rename(file)
    return module, file


def test_an_onnx_file(onnx_file):
    module, file = onnx_file
    checkpoint, x = open_model(str(file), None, FACTS).network, torch.randn(3, *FACTS.shape)
    assert (checkpoint.kind, checkpoint.data, checkpoint.lineage) == ("ann", FACTS, ())
    torch.testing.assert_close(logits(checkpoint, x), module(x), rtol=1e-4, atol=1e-5)
    save(checkpoint, file.with_suffix(".safetensors"))
    again = open_model(str(file.with_suffix(".safetensors")), None, FACTS).network
    assert again.graph == checkpoint.graph


def test_an_onnx_file_has_its_weights(onnx_file, weights):
    file = str(onnx_file[1])
    assert "--weights" in refused(UsageError, file, weights).problem
    assert "width=1" in refused(UsageError, f"{file}?width=1").found


def test_an_onnx_file_fits_the_data(onnx_file):
    few = FACTS.model_copy(update={"classes": ("cat", "dog")})
    with pytest.raises(UnsupportedError, match="10 outputs for 2 classes"):
        open_model(str(onnx_file[1]), None, few)
    large = FACTS.model_copy(update={"shape": (3, 32, 32)})
    with pytest.raises(UnsupportedError, match="does not fit the data"):
        open_model(str(onnx_file[1]), None, large)
    assert "no such file" in refused(UsageError, "absent.onnx").found


def test_a_factory_in_a_file(factories):
    checkpoint = open_model(f"{factories}:small?hidden=5", None, FACTS).network
    assert checkpoint.network["1.weight"].shape == (5, 64)


def test_a_factory_in_a_module():
    spec = "snnconv.zoo.small:mlp?width=0.1"
    assert open_model(spec, None, FACTS).network.network["1.weight"].shape == (13, 64)


@pytest.mark.parametrize(
    ("factory", "kind", "says"),
    [
        ("smal", UsageError, "did you mean 'small'?"),
        ("small?depth=2", UsageError, "depth"),
        ("small?classes=9", UnsupportedError, "9 outputs for 10 classes"),
        ("nothing", UnsupportedError, "a NoneType"),
        ("broken", UnsupportedError, "ZeroDivisionError: division by zero"),
        ("leaving", UnsupportedError, "SystemExit: 0"),
        ("curved", UnsupportedError, "2: module Tanh"),
        ("colour", UnsupportedError, "can't take an input of shape [1, 8, 8]"),
    ],
)
def test_a_factory_that_gives_no_network(factory, kind, says, factories):
    assert says in str(refused(kind, f"{factories}:{factory}"))


@pytest.mark.parametrize("spec", ["nowhere.py:net", "no.such.module:net"])
def test_a_factory_that_is_nowhere(spec):
    assert refused(UsageError, spec).code == ExitCode.USAGE


def test_a_file_that_ends_python(tmp_path):
    file = tmp_path / "leaves.py"
    file.write_text("import sys\nsys.exit(0)\n")
    assert refused(UsageError, f"{file}:net").found == "SystemExit: 0"


def test_torchvision():
    info = FACTS.model_copy(update={"shape": (3, 64, 64)})
    checkpoint = open_model("torchvision:squeezenet1_1?num_classes=10", None, info).network
    assert checkpoint.graph.input_shape == (3, 64, 64)
    assert "did you mean 'resnet18'?" in refused(UsageError, "torchvision:resnet17").remedy


def test_weights_that_do_not_fit_the_network(weights):
    error = refused(CheckpointError, "cnn", weights)
    assert "0.weight: file [8, 1, 3, 3], network [16, 1, 3, 3]" in error.found


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(value, tmp_path):
    module, file = ZOO["cnn"](), tmp_path / "cnn.pt"
    module[0].weight.data[0, 0, 0, 0] = value
    torch.save(module.state_dict(), file)
    assert refused(UnsupportedError, "cnn", file).found == "NaN or Inf in 0.weight"


def test_classes_that_have_no_sample():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    with pytest.raises(UnsupportedError) as caught:
        from_module(net, FACTS.model_copy(update={"spec": "npz:own.npz"}))
    assert "classes=[str(k) for k in range(12)]" in caught.value.remedy
    from_module(net, FACTS.model_copy(update={"classes": tuple(str(k) for k in range(12))}))


def test_logits_that_are_none():
    with pytest.raises(UnsupportedError, match="--task segmentation"):
        from_module(nn.Sequential(nn.Conv2d(1, 10, 3)), FACTS)


TEXT = FACTS.model_copy(
    update={"spec": "textfolder:x", "shape": (6,), "mean": (0,), "std": (1,), "vocabulary": ("a",)}
)


def test_a_network_on_texts_takes_its_tokens_from_them():
    made, _ = open_model("lstm?width=0.125", None, TEXT, must_be_trained=False, analog=True)
    assert made.network["embedding.weight"].shape == (3, 8)
    assert made.graph.input_shape == (6,)


@pytest.mark.parametrize(
    ("name", "info", "found"),
    [
        ("lstm", FACTS, r"samples of shape \[1, 8, 8\], where it takes texts \[length\], with"),
        ("gru", FACTS.model_copy(update={"shape": (6,)}), "shape .6., where it takes texts"),
        ("cnn", TEXT, r"texts, samples of shape \[6\], where it takes images"),
        ("m5", TEXT, r"texts, samples of shape \[6\], where it takes signals"),
    ],
)
def test_texts_and_networks_that_do_not_fit(name, info, found):
    with pytest.raises(UnsupportedError, match=found):
        open_model(name, None, info, must_be_trained=False, analog=True)
