"""Networks of functions from files: the spikes are those of the module, whatever wrote the file."""

import runpy
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs/results/front_ends.py"
MEASURE = runpy.run_path(str(RESULTS))["measure"]
UNFOLDED = "patches by `unfold`, class token"


def long(*given):
    return pytest.param(*given, marks=pytest.mark.long)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "front_ends"),
    [
        ("LSTM", ("pt2",)),
        ("GRU", ("torchscript",)),
        (UNFOLDED, ("torchscript",)),
        long("LSTM", ("torchscript", "dynamo")),
        long("GRU", ("pt2", "dynamo")),
        long(UNFOLDED, ("pt2", "dynamo")),
        long("Swin v2", ("pt2",)),
        long("MaxViT", ("pt2", "torchscript", "dynamo")),
    ],
)
def test_every_way_gives_the_same_spikes(name, front_ends):
    found = MEASURE(name, front_ends)
    assert found["transfer_sites"] > 1
    # sums in another order may round otherwise
    assert all(found[way] < 0.01 for way in front_ends), found
