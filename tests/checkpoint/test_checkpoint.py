import json
import re
from dataclasses import replace
from typing import get_args

import pytest
import safetensors.torch
import torch
from helpers.checkpoints import MADE, ann, calibrated, contents, refused, rewritten, spiking
from hypothesis import given
from hypothesis import strategies as st

from snnconv.checkpoint import canonical_json, load, save, sha256
from snnconv.checkpoint.file import intact, unsealed
from snnconv.core.kinds import SPIKING, Kind
from snnconv.core.names import file_name
from snnconv.errors import CheckFailedError
from snnconv.frontends.open import EMBEDDED
from snnconv.graph.network import Network


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
    checkpoint, row = spiking(), torch.rand(1)
    save(replace(checkpoint, neurons=dict.fromkeys(checkpoint.neurons, row)), file)
    assert all(torch.equal(found, row) for found in load(file).neurons.values())


def test_a_single_number_is_saved_with_any_stride(file):
    number = torch.empty_strided((1,), (4,)).fill_(3)
    save(replace(spiking(), neurons=dict.fromkeys(spiking().neurons, number)), file)
    assert {found.item() for found in load(file).neurons.values()} == {3}


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
        (document(format=3), "checkpoint format 3; this snnconv reads up to 2"),
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
        (document(data={"spec": "digits"}), "DataInfo.shape: Field required"),
        (document(data=None), "malformed metadata (DataInfo: "),
        (document(calibration={"method": "max"}), "CalibrationInfo.params: Field required"),
        (document(spiking={"neuron": 3}), "SpikingInfo.neuron: "),
        (document(graph=None), "malformed graph"),
    ],
)
def test_metadata_that_is_not_as_it_should_be(change, says, file):
    assert says in refused(rewritten(file, spiking(), change)).found


def test_a_later_format_asks_for_a_later_version(file):
    error = refused(rewritten(file, ann(), document(format=3)))
    assert error.remedy == "pip install --upgrade snnconv"


def node(index, **changes):
    return lambda data, tensors: data["graph"]["nodes"][index].update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (node(2, op="softplus"), "node '2' has the unknown operation 'softplus'"),
        (node(2, inputs=["7"]), "node '2' reads ['7'], which no earlier node gives"),
        (node(2, name="1"), "two nodes are named '1'"),
        (node(0, tensors={}), "node '0' has no weight (conv)"),
        (node(4, tensors={"weight": "5.weight"}), "node '4' has tensors it has no use for: weight"),
        (node(2, inputs=["0", "1"]), "node '2' has 2 inputs, where relu reads 1"),
        (node(0, attrs={"stride": [0, 1]}), "(conv, stride.0: Input should be greater than"),
        (node(3, attrs={"kernel": [2, 2**40]}), "(avg_pool, kernel.1: Input should be less than"),
        (node(4, op="linear", attrs={}), "node '4' has no weight (linear)"),
        (
            node(0, attrs={"stride": [1, 1]}),
            "(conv, padding: Field required)",
        ),
        (node(4, attrs={"shape": [5]}), "node '4' (reshape) can't be computed (RuntimeError"),
        (
            node(2, attrs={}),
            "(relu, ceiling: Field required)",
        ),
        (lambda data, tensors: data["graph"].update(input_shape=[2, 4, 4]), "node '0' (conv)"),
        (lambda data, tensors: data["data"].update(shape=[1, 4, 5]), "and data of [1, 4, 5]"),
        (lambda data, tensors: data["data"].update(classes=["a"]), "of shape [2] for 1 classes"),
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
        ("neurons/6/mu_d", "NaN or Inf in tensor '6/mu_d' of the neurons"),
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
    before = replace(checkpoint, calibration=kept)
    with pytest.raises(CheckFailedError, match=re.escape(says)):
        save(before, file)
    assert not file.exists()

    def change(data, tensors):
        tensors.pop("calibration/6/threshold")
        tensors.update({f"calibration/{name}": t for name, t in kept.items()})

    error = refused(rewritten(file, checkpoint, change))
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
        "corrected.safetensors",
        "trained.safetensors",
        "finetuned.safetensors",
        "reparameterized.safetensors",
    }


# Types


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32])
@pytest.mark.parametrize(
    "key", ["network/5.weight", "calibration/2/threshold", "neurons/6/mu_d", "calibration/2/counts"]
)
def test_tensors_of_other_types_are_refused(key, dtype, file):
    def change(data, tensors):
        tensors[key] = tensors[key].to(dtype)

    if key.endswith("counts") and dtype is torch.float64:
        assert load(rewritten(file, spiking(), change)).kind == "converted"
        return
    error = refused(rewritten(file, spiking(), change))
    name = str(dtype).removeprefix("torch.")
    assert error.found == f"the tensor '{key}' of type {name}, where it has to be float32"
    assert "tensor.float()" in error.remedy


# What neurons learned


@pytest.mark.parametrize("kind", ["trained", "finetuned", "reparameterized"])
def test_a_network_without_what_its_neurons_learned_is_refused(kind, file):
    def change(data, tensors):
        for key in [key for key in tensors if key.startswith("neurons/")]:
            del tensors[key]

    error = refused(rewritten(file, MADE[kind](), change))
    assert error.found.startswith("learned tensors that are not those of lm-h neurons: missing: [")
    assert error.remedy == "fine-tune again: snnconv finetune"
    assert load(rewritten(file, spiking("converted"), change)).neurons == {}  # they start anew


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d, t: t.pop("neurons/6/mu_d"), "missing: ['6/mu_d']"),
        (lambda d, t: t.update({"neurons/6/omega": torch.ones(1)}), "with no use: ['6/omega']"),
        (lambda d, t: t.update({"neurons/7/mu_d": torch.ones(1)}), "with no use: ['7/mu_d']"),
        (lambda d, t: t.update({"neurons/6/mu_d": torch.ones(8)}), "'6/mu_d' of shape [8], where"),
        (lambda d, t: d["spiking"].update(neuron="lm-ht", params={}), "not those of lm-ht neurons"),
        (lambda d, t: d["spiking"].update(neuron="if", params={}), "not those of if neurons"),
        (lambda d, t: d["spiking"].update(neuron="iff"), "no neuron of that name"),
        (lambda d, t: d["spiking"].update(params={"v0": 7}), "parameter v0 of neuron 'lm-h'"),
        (lambda d, t: d["spiking"].update(timesteps=2**40), "SpikingInfo.timesteps"),
    ],
)
def test_what_neurons_learned_has_to_be_theirs(change, says, file):
    assert says in refused(rewritten(file, spiking("finetuned"), change)).found


def test_neurons_that_no_memory_could_hold(file):
    def change(data, tensors):
        data["spiking"].update(neuron="lm-ht", params={}, timesteps=2**16)
        for key in [key for key in tensors if key.startswith("neurons/")]:
            del tensors[key]

    assert (
        "LM-HT neurons can't be made for T = 65536"
        in refused(rewritten(file, spiking(), change)).found
    )


# Digests


def test_one_flipped_bit_is_seen_wherever_it_is(file):
    save(spiking(), file)
    raw = file.read_bytes()
    _, tensors = contents(file)
    start = 8 + int.from_bytes(raw[:8], "little")
    for place in range(8, len(raw)):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        error = refused(file)
        if place >= start:
            assert error.found.endswith("has changed since it was written (its digest differs)")
            assert error.found.split("'")[1] in tensors


def test_metadata_that_somebody_edited(file):
    save(spiking(), file)
    document, tensors = unsealed(file, "snnconv")
    document["spiking"]["timesteps"] = 9
    safetensors.torch.save_file(tensors, file, {"snnconv": canonical_json(document)})
    assert "metadata that have changed since they were written" in refused(file).found
    del document["digests"]
    safetensors.torch.save_file(tensors, file, {"snnconv": canonical_json(document)})
    assert "metadata that have changed since they were written" in refused(file).found


def test_tensors_that_were_swapped_renamed_or_dropped(file):
    save(spiking(), file)
    metadata, tensors = contents(file)
    one, other = "network/7.bias", "neurons/6/mu_d"
    for changed in (
        {**tensors, one: tensors[one].flip(0)},
        {name: t for name, t in tensors.items() if name != one},
        {**tensors, "network/more": torch.ones(1)},
        {**tensors, other: tensors[other].reshape(1, 1)},
    ):
        safetensors.torch.save_file(changed, file, metadata)
        assert refused(file).found.startswith("the tensor '")


def test_format_1_has_no_digests_and_is_read(file):
    """The embedded network is one; so is whatever was written before."""
    assert load(EMBEDDED).kind == "ann"
    metadata, _ = contents(EMBEDDED)
    assert json.loads(metadata["snnconv"])["format"] == 1
    save(spiking(), file)
    document, tensors = unsealed(file, "snnconv")
    old = {**intact(document, tensors), "format": 1}
    safetensors.torch.save_file(tensors, file, {"snnconv": canonical_json(old)})
    assert load(file).spiking == spiking().spiking
