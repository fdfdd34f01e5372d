"""The Python API: the commands as functions, of the same names and options."""

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import get_args, get_overloads

import pytest
import torch
from helpers import typed_options
from helpers.commands import files
from torch import nn

import snnconv
from snnconv import api
from snnconv.api import in_memory, results
from snnconv.config import COMMANDS, InspectConfig
from snnconv.core import runtime
from snnconv.errors import UnsupportedError, UsageError
from snnconv.reports import REPORTS


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiny():
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


def test_importing_the_package_imports_no_torch():
    code = "import sys, snnconv; print('convert' in dir(snnconv), 'torch' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output == "True False\n"


def test_the_package_offers_what_the_api_has():
    assert (
        list(snnconv.__all__) == api.__all__ == sorted(api.__all__, key=lambda n: (n.islower(), n))
    )
    assert dir(snnconv) == sorted([*api.__all__, "__version__"])
    stub = ast.parse(Path(snnconv.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    assert ast.unparse(stub.body[0]) == "from snnconv.api import *"  # of its __all__
    assert snnconv.__version__ == version("snnconv")
    assert {*COMMANDS, "inspect", "load", "save"} <= set(api.__all__)
    for name in api.__all__:
        assert getattr(snnconv, name) is getattr(api, name)
        assert inspect.getdoc(getattr(api, name))
    with pytest.raises(AttributeError, match="'nothing'"):
        snnconv.nothing  # noqa: B018


def test_a_live_network_from_calibration_to_report(tmp_path):
    module = tiny().train()
    calibrated = snnconv.calibrate(module, method="max", samples=64, run="run")
    assert module.training
    assert calibrated.method == "max"
    assert [site.name for site in calibrated.sites] == ["2"]
    converted = snnconv.convert(neuron="msat", timesteps=4, param={"preset": "vgg16"}, run="run")
    assert (converted.neuron, converted.sites_converted) == ("msat", 1)
    assert snnconv.finetune(epochs=0, limit=60, run="run").epochs == []
    evaluated = snnconv.evaluate("run/converted.safetensors", limit=20, run="run")
    assert len(evaluated.accuracy) == 4
    assert snnconv.inspect(run="run").kind == "finetuned"
    reported = snnconv.report("run/evaluate.json", run="run")
    assert [run.label for run in reported.runs] == ["MSAT max channel"]
    assert set(files(tmp_path / "run")) >= {"ann.safetensors", "report.html", "evaluate.json"}


@pytest.mark.parametrize("works", [True, False])
def test_a_frozen_layer_stays_frozen(works):
    module = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 10 if works else 3),
    ).train()
    module[2].eval()
    if works:
        snnconv.calibrate(module, samples=64)
    else:
        with pytest.raises(UnsupportedError, match="3 outputs for 10 classes"):
            snnconv.calibrate(module, samples=64)
    assert [part.training for part in module] == [True, True, False, True, True]
    assert module.training


def test_a_live_network_keeps_its_outputs(tmp_path):
    module = tiny().eval()
    snnconv.calibrate(module, samples=64)
    checkpoint = snnconv.load(tmp_path / "snnconv-run" / "calibrated.safetensors")
    wanted = dict(module.named_parameters())
    assert set(checkpoint.network) == set(wanted)
    assert all(torch.equal(checkpoint.network[name], wanted[name]) for name in wanted)


def test_training(tmp_path):
    report = snnconv.train("mlp", epochs=1, limit=100, out=tmp_path / "net.safetensors")
    assert report.model == "mlp"
    assert (tmp_path / "net.json").is_file()


def test_a_spiking_network_to_work_with(tmp_path):
    snnconv.calibrate(tiny(), samples=64)
    snnconv.convert(timesteps=3)
    checkpoint = snnconv.load(tmp_path / "snnconv-run" / "converted.safetensors")
    network = snnconv.spiking_network(checkpoint)
    with torch.no_grad():
        currents, state = network(torch.rand(1, 2, 1, 8, 8), 3, torch.arange(2))
    assert currents.shape == (3, 2, 10)
    assert state.steps == 3
    snnconv.save(checkpoint, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "snnconv-run" / "converted.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("stage", [*COMMANDS, "inspect"])
def test_a_function_takes_the_options_of_its_command(stage):
    function = getattr(snnconv, stage)
    with pytest.raises(UsageError, match=f"stage '{stage}' has no such option") as caught:
        function(sede=1)
    assert "did you mean 'seed'?" in caught.value.remedy
    refused = f"option seed of stage '{stage}' can't be used"
    with pytest.raises(UsageError, match=refused) as caught:
        function(seed=-1)
    assert caught.value.found == "-1"
    assert caught.value.remedy == "give 0 or more (seed of everything that is drawn at random)"
    known = set({**COMMANDS, "inspect": InspectConfig}[stage].model_fields)
    assert set(inspect.signature(function).parameters) - {"options", "config"} <= known
    assert stage in REPORTS


def test_no_value_is_the_default():
    with pytest.raises(UsageError, match="no checkpoint to work on"):
        snnconv.convert(None, neuron=None, timesteps=None)


def test_a_live_network_that_does_not_fit(tmp_path):
    before = files(tmp_path)
    with pytest.raises(UnsupportedError, match="12 outputs for 10 classes"):
        snnconv.calibrate(tiny()[:3], run="run")
    assert files(tmp_path) == before


# Typed


def test_the_typed_options_are_those_of_the_models():
    current = typed_options.FILE.read_text(encoding="utf-8")
    assert current == typed_options.source(), "run python tests/helpers/typed_options.py"


@pytest.mark.parametrize("stage", [*COMMANDS, "inspect"])
def test_every_option_of_a_command_is_one_of_its_function(stage):
    model = typed_options.MODELS[stage]
    function = getattr(snnconv, stage)
    as_a_command = (get_overloads(function) or [function])[-1]
    parameters = inspect.signature(as_a_command).parameters
    (typed,) = get_args(parameters["options"].annotation)
    assert {*typed.__annotations__, *parameters} - {"options", "config"} == {*model.model_fields}
    assert model.__name__ in str(parameters["config"].annotation)


@pytest.mark.long
def test_a_type_checker_finds_a_misspelt_option(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(
        "import snnconv\n"
        "from snnconv import CalibrateConfig, Dataset\n"
        "from torch.nn import ReLU\n"
        "def share(data: Dataset) -> float:\n"
        "    snnconv.calibrate(method='max', samples=10, run='r', mean=[0.5], std=0.5)\n"
        "    snnconv.calibrate(config=CalibrateConfig(method='max'))\n"
        "    snnconv.convert(neuron=None, param={'v0': 0.5}, timestep=4)\n"
        "    snnconv.convert(timesteps='four')\n"
        "    snnconv.evaluate(engine='fast')\n"
        "    snnconv.finetune(config=CalibrateConfig())\n"
        "    snnconv.nothing()\n"
        "    snnconv.convert(ReLU(), data=[[0.5]], methd='max')\n"
        "    snnconv.convert(ReLU(), data=[[0.5]], method='max').to_checkpoint()\n"
        "    return snnconv.evaluate(limit=10).ann_accuracy or len(data.train.labels or [])\n"
    )
    root = Path(snnconv.__file__).parents[1]
    paths = {"MYPYPATH": str(root)}
    # strict, and with what the project's own check has kept: torch alone takes half a minute
    kept = ["--config-file", root / "pyproject.toml", "--cache-dir", root / ".mypy_cache"]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *kept, "user.py"],
        cwd=tmp_path,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(re.findall(r"^user\.py:(\d+): error: .*\[([a-z-]+)\]$", result.stdout, re.M))
    assert found == {
        "7": "call-overload",
        "8": "call-overload",
        "9": "arg-type",
        "10": "arg-type",
        "11": "attr-defined",
        "12": "call-overload",
    }, result.stdout


def test_the_examples_of_the_docstrings_run():
    names = {"snnconv": snnconv, "torch": torch}
    finder = doctest.DocTestFinder()
    examples = []
    for module in (api, results, in_memory):
        found = [each for each in finder.find(module, globs=names) if each.examples]
        examples += sorted(found, key=lambda each: each.lineno)
    # in addition to the commands: inspect, compare_training, two for networks in memory
    assert len(examples) == 1 + len(COMMANDS) + 4, "the module, and each function"
    runner = doctest.DocTestRunner()
    for each in examples:
        runner.run(each)
    assert runner.summarize().failed == 0


def test_a_config_object_and_options_over_it():
    with pytest.raises(UsageError, match="stage 'convert' can't take this config") as caught:
        snnconv.convert(config=InspectConfig())
    assert caught.value.remedy == "give a snnconv.ConvertConfig"
    config = snnconv.CalibrateConfig(method="max", samples=50)
    report = snnconv.calibrate(config=config, samples=64)
    assert (report.method, report.samples) == ("max", 64)
    assert snnconv.calibrate(tiny(), config=config).samples == 50


# The host's process


def host():
    return (
        torch.initial_seed(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )


def test_the_process_of_the_caller_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(runtime, "keep_freed_memory", lambda: pytest.fail("malloc's options"))
    threads = torch.get_num_threads()
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.manual_seed(77)
    torch.rand(3)
    try:
        torch.set_num_threads(2)
        torch.backends.cuda.matmul.allow_tf32 = True
        before = host()
        given = {"seed": 5, "threads": 1}
        assert snnconv.calibrate(samples=50, **given).environment["threads"] == 1
        assert host() == before
        snnconv.convert(timesteps=2, **given)
        assert host() == before
        snnconv.finetune(epochs=1, limit=40, **given)
        assert host() == before
        snnconv.evaluate(limit=10, **given)
        assert host() == before
        with pytest.raises(UsageError):
            snnconv.calibrate("nothing", **given)
        assert host() == before
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = allowed


def test_the_same_bytes_from_python_and_from_the_command_line(tmp_path):
    torch.manual_seed(1)
    given = {"epochs": 1, "limit": 60, "augment": ["flip"], "seed": 3}
    snnconv.train("mlp", out=tmp_path / "python.safetensors", **given)
    words = "train mlp --epochs 1 --limit 60 --augment flip --seed 3 --out command.safetensors"
    subprocess.run([sys.executable, "-m", "snnconv", *words.split()], cwd=tmp_path, check=True)
    python, command = (tmp_path / f"{name}.safetensors" for name in ("python", "command"))
    assert python.read_bytes() == command.read_bytes()


def test_what_calibration_warns_of_reaches_python():
    """A network that knows nothing: the command prints the same texts."""
    with pytest.warns(UserWarning, match="near chance for 10 classes") as caught:
        report = snnconv.calibrate(tiny(), samples=200)
    assert [str(one.message) for one in caught] == report.warnings


# In memory


def trained():
    """A network of few inputs that was trained, and samples."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))
    x, w = torch.randn(400, 6), torch.randn(6, 3)
    labels = (x @ w).argmax(1)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimiser.step()
    return net, x, labels


def test_a_live_network_is_converted_in_memory(tmp_path):
    net, x, _ = trained()
    before, threads = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_num_threads()
    net[1].train(), net[3].eval()
    snn = snnconv.convert(net, data=x, neuron="signed", param={"spikes": 2}, timesteps=32)
    with torch.no_grad():
        same = (snn(x).argmax(1) == net(x).argmax(1)).float().mean()
    assert same > 0.97
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert (net[1].training, net[3].training) == (True, False)
    assert torch.get_num_threads() == threads
    assert files(tmp_path) == {}, "no run folder"
    snnconv.save(snn.to_checkpoint(), tmp_path / "live.safetensors")
    again = snnconv.load_network(tmp_path / "live.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), snn(x))


def test_a_network_on_texts_is_converted_in_memory():
    """Token numbers are whole, and logits are not."""
    net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 6), nn.ReLU())
    net.append(nn.Linear(6, 3))
    tokens = torch.randint(9, (40, 5))
    snn = snnconv.convert(net, data=tokens, timesteps=4)
    with torch.no_grad():
        logits = snn(tokens[:2])
        assert torch.equal(logits, snn(tokens[:2].float()))
        assert snn.stream()(tokens[:2]).is_floating_point()
    assert logits.dtype is torch.float32
    assert snn.to_checkpoint().data.tokens == 9


def test_converting_a_module_has_the_options_of_convert_module():
    of_module = inspect.get_annotations(in_memory.convert_module, eval_str=True)
    options = inspect.get_annotations(in_memory.ModuleOptions, eval_str=True)
    assert {**options, "module": nn.Module} == {
        name: of for name, of in of_module.items() if name not in ("data", "return")
    }


def test_samples_come_as_a_tensor_or_in_batches():
    net, x, labels = trained()
    pairs = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=64)
    networks = [
        snnconv.convert_module(net, data, method="max", granularity="channel")
        for data in (x, list(x.split(100)), pairs)
    ]
    with torch.no_grad():
        logits = [snn(x) for snn in networks]
    assert all(torch.equal(logits[0], each) for each in logits[1:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": torch.zeros(0, 6)}, "no samples"),
        ({"data": []}, "no samples"),
        ({"data": ["a.png"]}, "a str"),
        ({"data": "digits"}, "can't read data by name"),
        ({"data": None}, "needs samples"),
        ({"run": "run"}, "takes no option 'run' for a module"),
        ({"config": snnconv.ConvertConfig()}, "takes no option 'config'"),
        ({"neuron": "ift"}, "no neuron of that name"),
        ({"param": {"levels": 2}}, "neuron 'if' has no such parameter"),
        ({"method": "least"}, "no statistic of that name"),
        ({"timesteps": 0}, "timesteps"),
        ({"granularity": "neuron"}, "granularity"),
    ],
)
def test_what_can_not_be_converted_in_memory(change, words):
    net, x, _ = trained()
    with pytest.raises(snnconv.SnnconvError) as caught:
        snnconv.convert(net, **{"data": x, **change})
    assert words in f"{caught.value.problem} {caught.value.found}"


def test_operations_that_can_not_be_converted_in_memory():
    net = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3))
    with pytest.raises(UnsupportedError, match="GELU"):
        snnconv.convert_module(net, torch.rand(50, 6))
    snn = snnconv.convert_module(
        nn.Sequential(*net, nn.ReLU(), nn.Linear(3, 3)), torch.rand(50, 6), non_relu="analog"
    )
    assert snn(torch.rand(2, 6)).shape == (2, 3)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
        self.classes, self.value = nn.Linear(5, 3), nn.Linear(5, 1)

    def forward(self, x):
        x = self.body(x)
        return {"classes": self.classes(x), "value": self.value(x).sigmoid()}


def test_one_of_several_outputs_is_converted_in_memory():
    """What the other output needs, a sigmoid that no neuron stands for, is cut away."""
    net, x = TwoHeads(), torch.rand(50, 6)
    by_name, by_number = (
        snnconv.convert_module(net, x, neuron="signed", timesteps=64, output=output)
        for output in ("classes", 0)
    )
    with torch.no_grad():
        assert torch.equal(by_name(x), by_number(x))
        torch.testing.assert_close(by_name(x), net(x)["classes"], rtol=0.1, atol=0.1)
    for output, found in ((None, "2 outputs"), ("class", "did you mean 'classes'"), (2, "'2' of")):
        with pytest.raises(snnconv.SnnconvError) as caught:
            snnconv.convert_module(net, x, output=output)
        assert found in str(caught.value)


def test_loading_what_has_no_neurons(tmp_path):
    snnconv.calibrate(tiny(), samples=64)
    with pytest.raises(snnconv.SnnconvError, match="kind 'calibrated'"):
        snnconv.load_network(tmp_path / "snnconv-run" / "calibrated.safetensors")
