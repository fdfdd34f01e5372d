import pytest
import torch
from helpers import examples

from snnconv.metrics.lm_h_errors import LmHErrors
from snnconv.neurons.lm_h import LMH, Params
from snnconv.render.layers import layer_table
from snnconv.reports import LayerRow
from snnconv.testing.networks import images, measured, spiking, vgg

KINDS = {"lm-h-errors": LmHErrors}


def errors(snn, timesteps, **how):
    return measured(snn, images(3), torch.zeros(3, dtype=torch.long), timesteps, KINDS, **how)


def test_two_steps_by_hand():
    """One neuron behind one weight, with a dendrite that keeps a quarter of both potentials."""
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 2)
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)  # doubled: the current is 1*x + 1
    snn = spiking(net, (1, 1, 1), 2.0, LMH, Params(v0=0.25), T=2)
    (neuron,) = snn.neurons.values()
    with torch.no_grad():
        neuron.mu_d.fill_(torch.logit(torch.tensor(0.75)))  # mu_D = 1/4
        neuron.mu_s.fill_(torch.logit(torch.tensor(0.25)))  # mu_S = -1/4
        neuron.lambda_d.fill_(torch.logit(torch.tensor(0.25)))  # lambda_D = 3/4
        neuron.lambda_s.fill_(torch.logit(torch.tensor(0.75)))  # lambda_S = 5/4
    x = torch.full((1, 1, 1, 1), 0.5)
    found = measured(snn, x, torch.zeros(1, dtype=torch.long), 2, KINDS)
    # I = 1.5. v_S[0] = 0.5, v_D[1] = -0.5/4 + 1.5, and 5/4*0.5 + 3/4*1.375 stays below theta = 2.
    # v_D[2] = 1.375/4 - 1.65625/4 + 1.5, and 5/4*1.65625 + 3/4*1.4296875 = 3.142578125 fires.
    delta_d = (1.375 + 1.4296875) / 4 - 1.375 / 4
    delta_s = (1.65625 + 1.142578125) - (0.5 + 1.65625)  # lambda_S + mu_S = 1
    assert found.totals["delta_d"] == pytest.approx(abs(delta_d) / 2 / 2)
    assert found.totals["delta_s"] == pytest.approx(abs(delta_s) / 2 / 2)
    assert pytest.approx(1.5 - (delta_d + delta_s) / 2) == 2 / 2  # one spike of theta in two steps
    assert list(found.layers.values()) == [found.totals]


def test_at_the_start_there_is_no_error_of_dendrites_and_chunks_change_nothing():
    snn = spiking(vgg(), kind=LMH, T=6)
    whole, parts = errors(snn, 6), errors(snn, 6, chunk=2)
    assert whole.totals["delta_d"] == 0
    assert whole.totals["delta_s"] > 0
    assert whole.totals == pytest.approx(parts.totals)
    assert not errors(spiking(vgg()), 6).totals


def test_layers_say_their_errors_in_the_report():
    found = errors(spiking(vgg(), kind=LMH, T=6), 6)
    assert found.layers["1"].keys() <= LayerRow.model_fields.keys()
    report = examples.evaluation(layers=2)
    first = report.layers[0].model_copy(update={"delta_d": 0.125, "delta_s": 0.5})
    shown = layer_table(report.model_copy(update={"layers": [first, report.layers[1]]}))
    hints = {column.title: column.hint for column in shown.columns}
    assert "units of theta" in hints["delta_D"]
    cells = dict(zip(hints, shown.rows[0], strict=True))
    assert (cells["delta_D"], cells["delta_S"]) == ("0.125", "0.500")
    assert "delta_D" not in {column.title for column in layer_table(report).columns}
