import json
from dataclasses import replace
from typing import get_args

import pytest
import torch
from checkpoints import MADE, ann, calibrated, contents, refused, rewritten, spiking
from hypothesis import given
from hypothesis import strategies as st

from snnconv.checkpoint import canonical_json, load, save, sha256
from snnconv.graph.build import Network
from snnconv.kinds import SPIKING, Kind, file_name


@pytest.fixture
def file(tmp_path):
    return tmp_path / "net.safetensors"


# There and back


def test_the_examples_are_all_kinds():
    assert tuple(MADE) == get_args(Kind)


@pytest.mark.parametrize("kind", MADE)
def test_what_is_saved_is_loaded(kind, file):
    saved = MADE[kind]()
    save(saved, file)
    loaded = load(file)
    for part in ("kind", "graph", "data", "lineage", "calibrated", "spiking"):
        assert getattr(loaded, part) == getattr(saved, part)
    for section in ("network", "calibration", "neurons", "reference"):
        before, after = getattr(saved, section), getattr(loaded, section)
        assert before.keys() == after.keys()
        for name in before:
            assert torch.equal(after[name], before[name])
            assert after[name].dtype == before[name].dtype


@pytest.mark.parametrize("kind", MADE)
def test_save_load_save_gives_the_same_bytes(kind, tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    save(MADE[kind](), one)
    save(load(one), two)
    assert one.read_bytes() == two.read_bytes()
    assert sha256(one) == sha256(two)


def test_the_order_of_tensors_does_not_matter(tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    checkpoint = ann()
    save(checkpoint, one)
    save(replace(checkpoint, network=dict(reversed(checkpoint.network.items()))), two)
    assert one.read_bytes() == two.read_bytes()


def test_the_metadata_has_one_key(file):
    save(spiking(), file)
    metadata, tensors = contents(file)
    assert list(metadata) == ["snnconv"]
    document = json.loads(metadata["snnconv"])
    assert metadata["snnconv"] == canonical_json(document)
    assert {key.split("/")[0] for key in tensors} == {"network", "calibration", "neurons"}


def test_a_loaded_network_computes_the_same(file):
    saved, x = ann(), torch.randn(5, 1, 4, 4)
    save(saved, file)
    loaded = load(file)
    assert torch.equal(
        Network(loaded.graph, loaded.network).eval()(x),
        Network(saved.graph, saved.network).eval()(x),
    )


def test_tensors_that_share_memory(file):
    checkpoint, rows = spiking(), torch.rand(4)
    save(replace(checkpoint, neurons={"2/leak": rows, "6/leak": rows}), file)
    assert torch.equal(load(file).neurons["2/leak"], load(file).neurons["6/leak"])


def test_thresholds_are_found_by_site():
    assert {name: t.tolist() for name, t in spiking().thresholds().items()} == {
        "2": [0.5, 1.0, 1.5],
        "6": [6.0],
    }


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, width=32),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ).filter(lambda data: "Infinity" not in json.dumps(data))
)
def test_canonical_json_is_one_text(data):
    text = canonical_json(data)
    assert json.loads(text) == data
    assert canonical_json(json.loads(text)) == text
    if isinstance(data, dict):
        assert canonical_json(dict(reversed(data.items()))) == text


# Checkpoints of another stage or version


@pytest.mark.parametrize(
    ("made", "expected", "command"),
    [
        ("ann", ["calibrated"], "calibrate"),
        ("ann", SPIKING, "convert"),
        ("calibrated", ["ann"], "train"),
        ("converted", ["finetuned"], "finetune"),
        ("converted", ["trained"], "train"),
        ("finetuned", ["reparameterized"], "reparameterize"),
    ],
)
def test_the_wrong_kind_names_the_way_to_the_right_one(made, expected, command, file):
    save(MADE[made](), file)
    error = refused(file, expected)
    assert error.found.startswith(f"a checkpoint of kind '{made}', where this stage takes ")
    assert all(kind in error.found for kind in expected)
    assert error.remedy == f"snnconv {command} first, or name another file"
    assert load(file, iter([*expected, made])).kind == made


def document(**changes):
    return lambda data, tensors: data.update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (document(format=2), "checkpoint format 2; this snnconv reads up to 1"),
        (document(format=0), "no format version (0)"),
        (document(format="1"), "no format version ('1')"),
        (lambda data, tensors: data.pop("format"), "no format version (None)"),
        (document(kind="made"), "the unknown kind 'made'"),
        (document(kind=["ann"]), "the unknown kind ['ann']"),
        (document(kind="finetuned", spiking=None), "kind 'finetuned' without 'spiking'"),
        (document(calibration=None), "kind 'converted' without 'calibration'"),
        (lambda data, tensors: data.pop("graph"), "malformed metadata (KeyError: 'graph')"),
        (document(lineage=None), "malformed metadata (TypeError"),
        (document(lineage=[{"stage": "train"}]), "LineageStep.parent: Field required"),
        (document(data={"spec": "digits"}), "DataFacts.shape: Field required"),
        (document(data=None), "malformed metadata (DataFacts: "),
        (document(calibration={"method": "max"}), "CalibrationFacts.params: Field required"),
        (document(spiking={"neuron": 3}), "SpikingFacts.neuron: "),
        (document(graph=None), "malformed graph"),
    ],
)
def test_metadata_that_is_not_as_it_should_be(change, says, file):
    assert says in refused(rewritten(file, spiking(), change)).found


def test_a_later_format_asks_for_a_later_version(file):
    error = refused(rewritten(file, ann(), document(format=2)))
    assert error.remedy == "pip install --upgrade snnconv"


def node(index, **changes):
    return lambda data, tensors: data["graph"]["nodes"][index].update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (node(2, op="softplus"), "node '2' has the unknown operation 'softplus'"),
        (node(2, inputs=["7"]), "node '2' reads ['7'], which no earlier node gives"),
        (node(2, name="1"), "two nodes are named '1'"),
        (node(0, tensors={}), "tensors no node uses: ['0.weight']"),
        (node(4, op="linear"), "node '4' (linear) has no weight"),
        (node(0, attrs={"stride": [1, 1]}), "node '0' (conv) can't be computed (KeyError"),
        (node(4, attrs={"shape": [5]}), "node '4' (reshape) can't be computed (RuntimeError"),
        (node(2, attrs={}), "node '2' (relu) can't be computed (KeyError: 'ceiling'"),
        (lambda data, tensors: data["graph"].update(input_shape=[2, 4, 4]), "node '0' (conv)"),
        (lambda data, tensors: data["graph"].update(output="8"), "the output '8' is no node"),
        (lambda data, tensors: tensors.pop("network/5.bias"), "tensors missing: ['5.bias']"),
        (
            lambda data, tensors: tensors.update({"network/9.weight": torch.ones(1)}),
            "tensors no node uses: ['9.weight']",
        ),
        (lambda data, tensors: tensors.update({"extra": torch.ones(1)}), "unknown tensor 'extra'"),
        (
            lambda data, tensors: tensors.update({"network/5.weight": torch.ones(4, 7)}),
            "node '5' (linear) can't be computed",
        ),
        (
            lambda data, tensors: tensors.update({"reference/5.weight": torch.ones(4, 3)}),
            "reference tensors that are not those of the network",
        ),
    ],
)
def test_a_graph_and_tensors_that_do_not_fit(change, says, file):
    assert says in str(refused(rewritten(file, ann(), change)))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("network/7.bias", "NaN or Inf in tensor '7.bias' of the network"),
        ("calibration/2/threshold", "NaN or Inf in tensor '2/threshold' of the calibration"),
        ("neurons/6/leak", "NaN or Inf in tensor '6/leak' of the neurons"),
    ],
)
def test_a_tensor_that_is_not_finite_is_named(key, says, value, file):
    def change(data, tensors):
        tensors[key][0] = value

    assert refused(rewritten(file, spiking(), change)).found == says


@pytest.mark.parametrize(
    ("theta", "says"),
    [
        (None, "thresholds for ['2'], sites ['2', '6']"),
        (torch.zeros(1), "a threshold that is not positive at '6'"),
        (torch.tensor([1.0, 1.0, -1.0, 1.0]), "a threshold that is not positive at '6'"),
        (torch.ones(3), "a threshold of shape [3] at '6'"),
        (torch.ones(1, 4), "a threshold of shape [1, 4] at '6'"),
    ],
)
@pytest.mark.parametrize("made", [calibrated, spiking])
def test_thresholds_that_can_not_be(made, theta, says, file):
    checkpoint = made()
    changed = {**checkpoint.calibration, "6/threshold": theta}
    kept = {name: tensor for name, tensor in changed.items() if tensor is not None}
    save(replace(checkpoint, calibration=kept), file)
    error = refused(file)
    assert error.found == says
    assert error.remedy == "calibrate again: snnconv calibrate"


@pytest.mark.parametrize("theta", [torch.tensor(6.0), torch.ones(1), torch.ones(4)])
def test_thresholds_by_layer_and_by_channel(theta, file):
    checkpoint = calibrated()
    calibration = {**checkpoint.calibration, "6/threshold": theta}
    save(replace(checkpoint, calibration=calibration), file)
    assert torch.equal(load(file).thresholds()["6"], theta)


def test_names_in_a_run_folder():
    assert {file_name(kind) for kind in get_args(Kind)} == {
        "ann.safetensors",
        "calibrated.safetensors",
        "converted.safetensors",
        "trained.safetensors",
        "finetuned.safetensors",
        "reparameterized.safetensors",
    }
