"""What corrections add, in a file: their names, and what has to hold of them."""

import json

import pytest
import torch
from helpers.checkpoints import calibrated, contents, corrected, refused, rewritten, spiking

from snnconv.checkpoint import load, save
from snnconv.checkpoint.corrections import Place, keeping, place, without
from snnconv.simulation.corrected import summed


@pytest.fixture
def file(tmp_path):
    return tmp_path / "net.safetensors"


def test_a_file_without_corrections_says_nothing_of_them(file):
    save(spiking(), file)
    metadata, tensors = contents(file)
    assert "corrections" not in json.loads(metadata["snnconv"])
    assert not [name for name in tensors if name.startswith("corrections")]


def test_corrections_are_listed_in_their_order(file):
    save(corrected(), file)
    found = load(file)
    assert [made.method for made in found.corrected] == ["bias", "mine.py:Mine"]
    assert [made.timesteps for made in found.corrected] == [8, None]
    assert found.network.keys() == spiking().network.keys()
    assert all(torch.equal(found.network[name], t) for name, t in spiking().network.items())


@pytest.mark.parametrize("key", ["1/current/2", "12/weight/a/b.weight", "2/potential/site 1"])
def test_names_of_tensors(key):
    assert place(key).key == key


def test_names_that_are_none():
    assert place("current/2").number == 0
    assert place("x/current/2") == Place(0, "current", "2")
    assert place("²/current/2").number == 0


def test_parts_add_up():
    made = corrected().corrections | {"2/current/6": torch.ones(4)}
    found = summed(made, "current")
    assert torch.equal(found["6"], torch.full((8, 4), 1.125))
    assert torch.equal(found["2"], torch.tensor([0.5, -0.25, 0.0]))
    assert summed(made, "weight").keys() == {"5.weight"}


def test_later_ones_move_up():
    assert without(corrected().corrections, 1).keys() == {"1/amplitude/6", "1/weight/5.weight"}
    assert without(corrected().corrections, 2).keys() == {
        "1/current/2",
        "1/current/6",
        "1/potential/2",
    }


def test_keeping_tensors():
    whole = corrected()
    made, kept = keeping(whole.corrected, whole.corrections, ["2/amplitude/6"])
    assert [one.method for one in made] == ["mine.py:Mine"]
    assert kept.keys() == {"1/amplitude/6"}
    keys = {"1/current/2", "1/current/6", "2/amplitude/6"}
    made, kept = keeping(whole.corrected, whole.corrections, keys)
    assert len(made) == 2
    assert kept.keys() == keys


@pytest.mark.parametrize(
    ("key", "tensor", "says"),
    [
        ("3/current/2", torch.ones(3), "of no correction among the 2 that are listed"),
        ("0/current/2", torch.ones(3), "of no correction among the 2 that are listed"),
        ("1/curent/2", torch.ones(3), "'curent', where there are current, potential"),
        ("1/current/5", torch.ones(3), "'5' is no site"),
        ("1/current/2", torch.ones(4), "shape [4], where it has [3] or [8, 3]"),
        ("1/current/2", torch.ones(4, 3), "shape [4, 3], where it has [3] or [8, 3]"),
        ("2/current/2", torch.ones(8, 3), "shape [8, 3], where it has [3]"),
        ("1/potential/2", torch.ones(3), "shape [3], where it has [3, 2, 2]"),
        ("1/amplitude/2", torch.full((3,), -1.0), "spikes that carry nothing, or less"),
        ("1/weight/1.running_var", torch.ones(3), "no synapse has a tensor '1.running_var'"),
        ("1/weight/0.weight", torch.ones(3), "shape [3], where it has [3, 1, 3, 3]"),
        ("1/current/2", torch.full((3,), torch.nan), "NaN or Inf"),
    ],
)
def test_tensors_that_do_not_fit(key, tensor, says, file):
    def change(document, tensors):
        tensors[f"corrections/{key}"] = tensor

    error = refused(rewritten(file, corrected(), change))
    assert says in error.found


def test_a_correction_of_another_timesteps(file):
    def change(document, tensors):
        document["corrections"][0]["timesteps"] = 4

    error = refused(rewritten(file, corrected(), change))
    assert error.found == "correction 1 (bias) for T = 4, in a network for T = 8"
    assert error.remedy == "correct again: snnconv correct"


def test_corrections_of_a_network_without_neurons(file):
    def change(document, tensors):
        document["corrections"] = [{"method": "bias", "params": {}, "samples": 1, "timesteps": 8}]

    assert (
        "of kind 'calibrated' with corrections"
        in refused(rewritten(file, calibrated(), change)).found
    )


@pytest.mark.parametrize("made", [5, "bias", {"method": "bias"}, [{"method": "bias"}], [None]])
def test_a_list_that_is_none(made, file):
    def change(document, tensors):
        document["corrections"] = made

    assert "malformed metadata" in refused(rewritten(file, corrected(), change)).found
