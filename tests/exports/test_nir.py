"""A NIR graph, read back and run, elicits the network's spikes; so do other programs' neurons."""

import io

import pytest
import torch
from helpers.exports import IF, LEAKY, SCALED, Residual, T, both, same, subject, wave
from helpers.networks import NETS, checkpoint

from snnconv.errors import CheckFailedError, UnsupportedError
from snnconv.exports.base import Subject
from snnconv.exports.nir import Nir, Params
from snnconv.exports.parts import nir_run
from snnconv.exports.parts.nir_run import read
from snnconv.simulation.build import spiking_network

nir = pytest.importorskip("nir")
FORM = Nir(Params())


@pytest.mark.parametrize("how", [IF, LEAKY, SCALED], ids=["if", "leaky", "scaled"])
@pytest.mark.parametrize("pool", ["average", "sum"])
def test_a_residual_network_of_other_thresholds_everywhere(how, pool, tmp_path):
    own, values, found, _ = both(Nir(Params(pool=pool)), subject(Residual(), **how), tmp_path)
    same(own, values, found)


def test_a_network_of_one_axis(tmp_path):
    own, values, found, _ = both(FORM, subject(wave(), (1, 20), **IF), tmp_path, (1, 20))
    same(own, values, found)


def test_what_was_read_is_written_again_byte_by_byte(tmp_path):
    *_, (file, _) = both(FORM, subject(Residual(), **IF), tmp_path)

    def again(graph):
        content = io.BytesIO()
        nir.write(content, graph)
        (tmp_path / "again.nir").write_bytes(content.getvalue())
        return tmp_path / "again.nir"

    once = again(nir.read(file)).read_bytes()  # HDF5 lists the nodes by name
    assert again(nir.read(tmp_path / "again.nir")).read_bytes() == once
    first, second = nir.read(file), nir.read(tmp_path / "again.nir")
    assert first.edges == second.edges
    assert str(first.metadata) == str(second.metadata)
    for name, node in first.nodes.items():
        for key, value in node.to_dict().items():
            assert str(value) == str(second.nodes[name].to_dict()[key]), f"{name}.{key}"


@pytest.mark.parametrize("name", ["sinabs", "snntorch", "norse"])
def test_neurons_of_other_programs_elicit_the_same_spikes(name, tmp_path):
    pytest.importorskip(name)
    one = subject(Residual(), **LEAKY)
    own, values, found, (file, x) = both(FORM, one, tmp_path)
    peers = {peer.name: peer for peer in FORM.peers(file, one, x, T)}
    (ruled,) = [each for called, each in peers.items() if called.startswith(name) and "," in called]
    assert ruled.result is not None, ruled.cause
    same(own, values, found)
    torch.testing.assert_close(ruled.result.logits, own, rtol=1e-5, atol=1e-5)


def test_what_nir_has_no_words_for_is_named_at_once():
    signed = checkpoint(NETS["max"](), theta=0.5, neuron="signed", timesteps=T)
    one = Subject(signed, spiking_network(signed, engine="dense").eval(), "A network", "0" * 64)
    found = Nir(Params()).obstacles(one)
    assert found[0].place == "neuron 'signed'"
    assert any("max pooling" in each.found for each in found)
    assert all(each.remedy for each in found)
    half = checkpoint(NETS["max"](), theta=0.5, neuron="if", timesteps=T)
    one = Subject(half, spiking_network(half, engine="dense").eval(), "A network", "0" * 64)
    assert "--param v0=0" in Nir(Params()).obstacles(one)[0].remedy


@pytest.mark.parametrize("found", ["1.0.4", "1.0.0", "0.2"])
def test_an_older_nir_is_one_clear_error(found, tmp_path, monkeypatch):
    monkeypatch.setattr(nir_run, "version", lambda name: found)
    refused = pytest.raises(UnsupportedError, match="a NIR file can't be written")
    with refused as caught:
        both(FORM, subject(wave(), (1, 20), **IF), tmp_path, (1, 20))
    assert caught.value.found == f"nir {found}, which is older than 1.0.8"
    assert caught.value.remedy == "pip install --upgrade 'snnconv[nir]'"
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnsupportedError, match="a NIR file can't be read"):
        read(tmp_path / "any.nir")


def test_a_file_that_is_cut_is_refused(tmp_path):
    *_, (file, _) = both(FORM, subject(wave(), (1, 20), **IF), tmp_path, (1, 20))
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckFailedError, match="can't be read back by nir"):
        read(file)
