"""A module of SpikingJelly's neurons elicits the network's spikes."""

import pytest
from helpers.exports import IF, LEAKY, SCALED, Residual, both, same, subject, wave

from snnconv.core.metadata import Parameters
from snnconv.errors import CheckFailedError
from snnconv.exports.spikingjelly import SpikingJelly

pytest.importorskip("spikingjelly")
FORM = SpikingJelly(Parameters())
HALF = {"neuron": "if", "params": {"v0": 0.5}}


@pytest.mark.parametrize("how", [IF, HALF, LEAKY, SCALED], ids=["if", "half", "leaky", "scaled"])
def test_a_residual_network_of_other_thresholds_everywhere(how, tmp_path):
    own, values, found, _ = both(FORM, subject(Residual(), **how), tmp_path)
    same(own, values, found)


def test_a_network_of_one_axis_with_the_file_alone(tmp_path):
    own, values, found, (file, _) = both(FORM, subject(wave(), (1, 20), **HALF), tmp_path, (1, 20))
    same(own, values, found)
    assert "snnconv" not in file.read_text().split('"""')[2]


def test_a_file_that_is_cut_is_an_error(tmp_path):
    one = subject(wave(), (1, 20), **IF)
    *_, (file, x) = both(FORM, one, tmp_path, (1, 20))
    file.write_text(file.read_text()[:900])
    with pytest.raises(CheckFailedError, match="does not run"):
        FORM.run(file, one, x, None, 2, 2)
