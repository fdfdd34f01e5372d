"""A parameter of each layer that conversion finds: MSAT's V_T."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.runs import calibrating, converting, correcting, evaluating, finetuning, training

from snnconv.calibration.layers import activations, by_layer
from snnconv.checkpoint import load, save
from snnconv.errors import CheckFailedError
from snnconv.neurons.msat import MSAT, Params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("layers")
    training(made, epochs=2)
    for name, options in {"mse": {}, "max": {"method": "max", "granularity": "layer"}}.items():
        calibrating(made, out=made / f"{name}.safetensors", samples=100, **options)
        converting(
            made,
            checkpoint=made / f"{name}.safetensors",
            neuron="msat",
            param={"preset": "resnet20", "v_t": "auto"},
            timesteps=5,
            out=made / f"{name}-auto.safetensors",
        )
    return made


def error(sizes, weights, value, T=5):
    """Of constant currents, by the neuron with this V_T for all layers."""
    neuron = MSAT(Params(preset="resnet20", v_t=value), torch.ones(1), T)
    with torch.no_grad():
        spikes, _ = neuron(sizes.expand(T, 1, -1))
    return float((spikes.values.double().mean(0)[0] - sizes).square() @ weights)


@pytest.mark.parametrize("name", ["mse", "max"])
def test_each_layer_has_the_value_of_least_error(folder, name):
    """By brute force over 300 values."""
    kept, made = (load(folder / f"{name}{end}.safetensors") for end in ("", "-auto"))
    assert set(made.neurons) == {f"{site}/v_t" for site in made.thresholds()}
    for site, theta in made.thresholds().items():
        seen = activations(kept, site, theta)
        least = min(error(*seen, value) for value in np.linspace(-5, 5, 301).tolist())
        found = float(made.neurons[f"{site}/v_t"])
        assert -5 <= found <= 5
        assert error(*seen, found) <= 1.02 * least
        assert error(*seen, found) <= error(*seen, -1.0)


def test_neurons_run_with_their_layers_value(folder):
    """One value for all layers, given as a number, is the same network bit by bit."""
    made = load(folder / "mse-auto.safetensors")
    same = replace(made, neurons={name: torch.tensor([-0.7]) for name in made.neurons})
    save(same, folder / "same.safetensors")
    params = same.spiking.params | {"v_t": -0.7}
    given = replace(same, neurons={}, spiking=same.spiking.model_copy(update={"params": params}))
    save(given, folder / "given.safetensors")
    one, other = (
        evaluating(folder, checkpoint=folder / f"{name}.safetensors") for name in ("same", "given")
    )
    assert (one.accuracy, one.sops_per_sample) == (other.accuracy, other.sops_per_sample)
    assert one.logits_relative_error == other.logits_relative_error
    assert by_layer(given, given, MSAT, Params()) == {}


def test_later_stages_keep_it(folder, tmp_path):
    before = load(folder / "mse-auto.safetensors").neurons
    correcting(tmp_path, checkpoint=folder / "mse-auto.safetensors", method="bias")
    tuned = {"checkpoint": folder / "mse-auto.safetensors", "timesteps": None, "epochs": 1}
    finetuning(tmp_path, **tuned)
    for kind in ("corrected", "finetuned"):
        after = load(tmp_path / f"{kind}.safetensors").neurons
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_file_that_has_lost_it_is_refused(folder, tmp_path):
    made = load(folder / "mse-auto.safetensors")
    with pytest.raises(CheckFailedError, match="v_t"):
        save(replace(made, neurons={}), tmp_path / "lost.safetensors")


def test_it_is_said_in_the_report(folder, tmp_path):
    report = converting(
        tmp_path, checkpoint=folder / "mse.safetensors", neuron="msat", param={"v_t": "auto"}
    )
    made = load(tmp_path / "converted.safetensors")
    assert report.params["v_t"] == "auto"
    assert report.params_by_site == {name: float(of) for name, of in made.neurons.items()}
