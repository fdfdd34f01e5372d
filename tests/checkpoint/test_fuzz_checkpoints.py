"""Made-up checkpoints with digests of their own, so that every check behind them is reached.

What loads is evaluated on two samples: nothing but an error with words for it may come of that.
"""

import copy
import random
import time

import numpy as np
import pytest
import torch
from helpers.mutations import ODD, deep, places
from torch import nn

import snnconv
from snnconv.checkpoint.file import intact, sealed, unsealed
from snnconv.errors import SnnconvError, UnforeseenError
from snnconv.graph.ops import OPS

KEY = "snnconv"
LONGEST = 20  # seconds for one file


class Net(nn.Module):
    """Convolutions, BatchNorm, both poolings, a branch, slices and a concatenation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.out = nn.Conv2d(4, 4, 1, groups=2), nn.Linear(8, 3)
        self.pool, self.mean = nn.MaxPool2d(2), nn.AvgPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.first(x))))
        y = torch.cat([x[:, 2:], nn.functional.relu6(self.second(x))[:, :2]], 1)
        x = self.mean(nn.functional.pad(y + x, (1, 1)))
        return self.out(x.flatten(1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Documents and tensors of fine-tuned networks, and their run folder."""
    run = tmp_path_factory.mktemp("fuzz")
    x = np.random.default_rng(0).integers(0, 255, (30, 1, 4, 4), dtype=np.uint8)
    y = np.arange(30) % 3
    np.savez(run / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    snnconv.calibrate(Net(), data=f"npz:{run}/data.npz", run=run, samples=30)
    found = []
    for neuron, param in (("if", {}), ("msat", {}), ("lm-ht", {}), ("lm-h", {"scalars": "step"})):
        snnconv.convert(run=run, neuron=neuron, param=param, timesteps=2)
        snnconv.finetune(run=run, epochs=0, limit=10)
        for kind in ("converted", "finetuned"):
            document, tensors = unsealed(run / f"{kind}.safetensors", KEY)
            found.append((intact(document, tensors), tensors))
    return run, found


def some_value(rng, document):
    """A value of the document replaced, taken out, doubled or taken from another place."""
    ways = list(places(document))
    *way, last = rng.choice(ways)
    inner = document
    for key in way:
        inner = inner[key]
    match rng.randrange(6):
        case 0:
            del inner[last]
        case 1:
            other = document
            for key in rng.choice(ways):
                other = other[key]
            inner[last] = copy.deepcopy(other)
        case 2 if isinstance(inner, list):
            inner.insert(rng.randrange(len(inner) + 1), copy.deepcopy(inner[last]))
        case 3 if isinstance(inner[last], int) and not isinstance(inner[last], bool):
            inner[last] += rng.choice((-2, -1, 1, 2, 7, 1000, 10**9))
        case _:
            finite = [odd for odd in ODD if odd == odd and odd != float("inf")]
            inner[last] = deep(200) if rng.random() < 0.02 else rng.choice(finite)


def some_node(rng, document):
    """A node of another operation, with other inputs, tensors or attributes."""
    nodes = document["graph"]["nodes"]
    node, other = rng.choice(nodes), rng.choice(nodes)
    match rng.randrange(5):
        case 0:
            node["op"] = rng.choice(sorted(OPS))
        case 1:
            node["inputs"] = [rng.choice(nodes)["name"] for _ in range(rng.randrange(4))]
        case 2:
            node["attrs"], node["op"] = copy.deepcopy(other["attrs"]), other["op"]
        case 3:
            node["tensors"] = dict(other["tensors"])
        case _:
            node["name"] = other["name"]


def some_tensor(rng, tensors):
    """A tensor of another type, shape or content; missing, renamed, or one more."""
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    match rng.randrange(7):
        case 0:
            del tensors[name]
        case 1:
            tensors[name + rng.choice(("", "x", "/threshold"))] = tensor.clone()
        case 2:
            dtypes = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool)
            tensors[name] = tensor.to(rng.choice(dtypes))
        case 3:
            shapes = ((), (0,), (1,), (3,), (4, 4), (1, 1, 1, 1), (97,), tuple(tensor.shape[::-1]))
            tensors[name] = torch.ones(rng.choice(shapes))
        case 4:
            tensors[name] = tensor * rng.choice((0, -1, 1e30, 1e-40, float("nan"), float("inf")))
        case 5:
            tensors[name] = tensor[..., None] if rng.random() < 0.5 else tensor.flatten()
        case _:
            tensors[name] = tensors[rng.choice(sorted(tensors))].clone()


def evaluated(rng, run, documents, share):
    """Change a checkpoint, seal it, load it, and evaluate a share of what loads: whether it did."""
    document, tensors = copy.deepcopy(rng.choice(documents))
    # nodes first, while they are nodes
    for what in sorted(rng.random() for _ in range(rng.choice((1, 1, 1, 2, 4)))):
        if what < 0.2:
            some_node(rng, document)
        elif what < 0.75:
            some_value(rng, document)
        elif tensors:
            some_tensor(rng, tensors)
    file = run / "mutated.safetensors"
    try:
        file.write_bytes(b"".join(sealed(document, tensors, KEY)))
    except (ValueError, UnicodeEncodeError, RecursionError):  # JSON that no file can hold
        return False
    try:
        loaded = snnconv.load(file)
        if loaded.spiking is None or loaded.spiking.timesteps > 64:
            return False
        if rng.random() >= share:
            return True
        snnconv.evaluate(file, data=f"npz:{run}/data.npz", run=run, limit=2, metric=("accuracy",))
    except UnforeseenError:
        raise
    except SnnconvError:
        return False
    return True


def fuzz(made, count, seed, share=1.0):
    run, documents = made
    taken = 0
    for k in range(count):
        started = time.perf_counter()
        try:
            taken += evaluated(random.Random(seed + k), run, documents, share)
        except Exception as error:
            raise AssertionError(f"mutation {seed + k}: {type(error).__name__}") from error
        assert time.perf_counter() - started < LONGEST, f"mutation {seed + k}"
    return taken


def test_made_up_checkpoints_are_refused_or_evaluated(made):
    taken = fuzz(made, 500, 0)
    assert 20 < taken < 400  # both happen


@pytest.mark.long
def test_many_made_up_checkpoints_are_refused_or_evaluated(made):
    fuzz(made, 2000, 10_000, share=0.25)
