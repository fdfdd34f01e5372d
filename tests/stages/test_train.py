import pytest
import torch
from helpers.runs import (
    InterruptedAt,
    calibrating,
    check_report,
    converting,
    evaluating,
    finetuning,
    same_bytes,
    training,
)

from snnconv.checkpoint import load, sha256
from snnconv.core.progress import Quiet
from snnconv.data.dataset import load_dataset
from snnconv.data.split import subset
from snnconv.errors import ExitCode, UnsupportedError, UsageError
from snnconv.frontends.ann_accuracy import accuracy
from snnconv.frontends.open import EMBEDDED
from snnconv.graph.network import Network
from snnconv.graph.rewrite import qcfs_thresholds


def on_test_split(checkpoint):
    data = load_dataset("digits")
    network = Network(checkpoint.graph, checkpoint.network)
    order = subset(data.test.labels, None, 0)
    return accuracy(network, data.test, checkpoint.data, order, 100, torch.device("cpu"), Quiet())


def test_the_report(run):
    data = check_report(run, "train", [], ["ann"])
    assert [row["epoch"] for row in data["epochs"]] == list(range(1, 13))
    assert data["accuracy"] == on_test_split(run.checkpoint("ann"))
    assert data["data"] == {
        "spec": "digits",
        "train_samples": 1442,
        "test_samples": 355,
        "frames": None,
        "notes": [],
    }
    tensors = run.checkpoint("ann").network.values()
    assert data["parameters"] == sum(tensor.numel() for tensor in tensors)


def test_the_checkpoint_knows_how_it_was_made(run):
    (step,) = run.checkpoint("ann").lineage
    assert (step.stage, step.parent) == ("train", None)
    assert step.config["model"] == "mlp?width=0.25"
    assert not {"run", "out", "threads"} & step.config.keys()


def test_the_same_work_gives_the_same_bytes(tmp_path):
    same_bytes(tmp_path, training, "ann")


def test_a_seed_gives_other_weights(run, tmp_path):
    training(tmp_path, seed=1)
    assert sha256(tmp_path / "ann.safetensors") != sha256(run.file("ann"))


def test_training_goes_on_from_a_checkpoint(run, tmp_path):
    report = training(tmp_path, model=str(run.file("ann")), epochs=1, lr=0.01)
    assert [file.sha256 for file in report.lineage.inputs] == [sha256(run.file("ann"))]
    past = load(tmp_path / "ann.safetensors").lineage
    assert [step.parent for step in past] == [None, sha256(run.file("ann"))]
    assert report.epochs[0].loss < run.reports["train"].epochs[0].loss


def test_from_a_checkpoint_equal_work_is_equal_bytes_wherever_it_lies(run, tmp_path):
    files = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        model = folder / f"{name}.safetensors"
        model.write_bytes(run.file("ann").read_bytes())
        training(folder, model=str(model), epochs=1)
        files.append((folder / "ann.safetensors").read_bytes())
    assert files[0] == files[1]


def other_data(folder, **info):
    import numpy as np

    rng = np.random.default_rng(0)
    shape = info.get("shape", (1, 8, 8))
    arrays = {
        f"{kind}_{part}": value
        for part in ("train", "test")
        for kind, value in (
            ("x", rng.random((40, *shape), dtype=np.float32)),
            ("y", np.arange(40) % 10),
        )
    }
    np.savez(folder / "data.npz", **arrays)
    return f"npz:{folder / 'data.npz'}"


def test_a_checkpoint_that_data_do_not_fit(run, tmp_path):
    data = other_data(tmp_path, shape=(1, 9, 9))
    with pytest.raises(UnsupportedError, match="does not fit the network") as caught:
        training(tmp_path, model=str(run.file("ann")), data=data)
    assert caught.value.code == ExitCode.UNSUPPORTED
    assert not (tmp_path / "ann.safetensors").exists()


def test_a_checkpoint_trained_on_other_data_carries_their_normalisation(run, tmp_path):
    data = other_data(tmp_path)
    training(tmp_path, model=str(run.file("ann")), data=data, epochs=1)
    found = load(tmp_path / "ann.safetensors").data
    assert found.spec == data
    assert found == load_dataset(data).info


def test_the_shipped_network_is_good():
    assert on_test_split(load(EMBEDDED)) >= 0.985


@pytest.mark.long
def test_the_shipped_network_can_be_trained_again(tmp_path):
    report = training(tmp_path, model="cnn", data="digits", epochs=30, limit=None)
    assert report.accuracy >= on_test_split(load(EMBEDDED)) - 0.01
    shipped = load(EMBEDDED).lineage[-1].config
    again = load(tmp_path / "ann.safetensors").lineage[-1].config
    assert shipped.items() <= again.items()  # options have come since


# QCFS


def quantizing(folder, **options):
    return training(folder, **{"activation": "qcfs", "epochs": 2, "lr": 0.02} | options)


@pytest.fixture(scope="module")
def quantized_run(run, tmp_path_factory):
    """Trained from the checkpoint with ReLUs."""
    folder = tmp_path_factory.mktemp("qcfs")
    return folder, quantizing(folder, model=str(run.file("ann")), levels=4)


def test_qcfs_gives_a_calibrated_checkpoint_with_the_thetas_it_learned(run, quantized_run):
    folder, report = quantized_run
    made = load(folder / "calibrated.safetensors", ["calibrated"])
    assert not (folder / "ann.safetensors").exists()
    assert {site.op for site in made.graph.sites} == {"qcfs"}
    learned = qcfs_thresholds(made.graph, made.network)
    assert all(torch.equal(theta, made.thresholds()[name]) for name, theta in learned.items())
    assert made.calibrated.method == "qcfs"
    assert made.calibrated.params == {"levels": 4}
    assert report.levels == 4
    assert report.thresholds == {name: float(theta) for name, theta in learned.items()}
    assert report.accuracy == on_test_split(made) > run.reports["train"].accuracy - 0.1


def test_thetas_start_from_calibration_and_move(run, quantized_run, tmp_path):
    quantizing(tmp_path, model=str(run.file("ann")), epochs=0)
    start = load(tmp_path / "calibrated.safetensors").thresholds()
    end = load(quantized_run[0] / "calibrated.safetensors").thresholds()
    for name, theta in start.items():
        found = run.checkpoint("calibrated").thresholds()[name].mean()  # of all channels
        assert 0.5 < float(theta / found) < 2
        assert theta != end[name]


def test_it_converts_as_it_is_and_is_compared_with_itself(quantized_run, tmp_path):
    folder, report = quantized_run
    found = {}
    for neuron, T, params in (("if", 64, {}), ("lm-ht", 2, {"levels": 2})):
        made = folder / "calibrated.safetensors"
        converting(tmp_path, checkpoint=made, neuron=neuron, timesteps=T, param=params)
        found[neuron] = evaluating(tmp_path, limit=None)
        assert found[neuron].ann_accuracy == report.accuracy
    assert found["if"].accuracy[-1] > report.accuracy - 0.03
    assert abs(found["lm-ht"].accuracy[-1] - report.accuracy) <= 0.005  # four levels in all


def test_calibration_changes_nothing_of_it(quantized_run, tmp_path):
    file = quantized_run[0] / "calibrated.safetensors"
    report = calibrating(tmp_path, model=str(file), method="max")
    assert report.method == "qcfs"
    assert report.relative_error_bound == 0
    before, after = load(file), load(tmp_path / "calibrated.safetensors")
    assert all(torch.equal(t, after.thresholds()[n]) for n, t in before.thresholds().items())


def test_from_scratch_theta_is_as_told(tmp_path):
    quantizing(tmp_path, theta=3.0, epochs=0)
    found = load(tmp_path / "calibrated.safetensors").thresholds()
    assert {float(theta) for theta in found.values()} == {3.0}


def test_max_pooling_becomes_average_pooling_unless_kept(tmp_path):
    model = "cnn?pool=max&width=0.25"
    for pool, expected in (("average", ["avg_pool"] * 2), ("keep", ["max_pool"] * 2)):
        report = quantizing(tmp_path, model=model, epochs=0, pool=pool)
        graph = load(tmp_path / "calibrated.safetensors").graph
        assert [node.op for node in graph.nodes if node.op.endswith("pool")] == expected
        assert len(report.pools_averaged) == (2 if pool == "average" else 0)


def test_a_quantized_network_is_not_trained_as_if_it_were_none(quantized_run, tmp_path):
    with pytest.raises(UsageError, match="QCFS") as caught:
        training(tmp_path, model=str(quantized_run[0] / "calibrated.safetensors"))
    assert "--activation qcfs" in caught.value.remedy


def test_the_same_quantized_work_gives_the_same_bytes(tmp_path):
    same_bytes(tmp_path, quantizing, "calibrated", epochs=1)


# With neurons, from scratch


def spiking(folder, **options):
    given = {"model": "cnn?width=0.25", "neuron": "if", "timesteps": 3, "epochs": 1, "lr": 0.1}
    return training(folder, **given | options)


@pytest.mark.parametrize(
    ("neuron", "param"),
    [
        ("if", {}),
        ("msat", {}),
        ("glif", {}),
        ("lm-ht", {"levels": 2, "omega": "identity", "v0": 0.0}),
    ],
)
def test_neurons_learn_from_scratch(tmp_path, neuron, param):
    report = spiking(tmp_path, neuron=neuron, param=param, epochs=4, batch_size=20)
    made = load(tmp_path / "trained.safetensors", ["trained"])
    assert made.spiking.timesteps == report.timesteps == 3
    assert made.spiking.neuron == report.neuron == neuron
    assert report.epochs[-1].loss < report.epochs[0].loss
    assert report.epochs[-1].accuracy > 0.3  # of ten classes
    assert {t for theta in made.thresholds().values() for t in theta.tolist()} == {1.0}
    found = evaluating(tmp_path, limit=None, metric=("accuracy", "firing-rate"))
    assert found.accuracy[-1] == pytest.approx(report.accuracy, abs=0.01)  # BatchNorm folded
    assert found.firing_rate_mean == pytest.approx(report.firing_rate, rel=0.02)
    finetuned = finetuning(tmp_path, timesteps=3, epochs=1)
    assert finetuned.accuracy_epoch0 > 0.3
    after = load(tmp_path / "finetuned.safetensors")
    assert [step.stage for step in after.lineage] == ["train", "finetune"]
    assert not after.reference  # no ANN was converted


def test_what_was_trained_with_neurons_has_no_ann_beside_it(tmp_path):
    spiking(tmp_path)
    for stage in (lambda folder: None, lambda folder: finetuning(folder, timesteps=3, epochs=1)):
        stage(tmp_path)
        found = evaluating(tmp_path, limit=5)
        assert found.trained_directly
        assert len(found.accuracy) == 3
        assert found.ann_accuracy is found.steps_to_ann is found.agreement is None
        assert found.logits_relative_error is found.sin_ratio_steps is None
        assert all(row.sin_ratio is row.conversion_error is None for row in found.layers)
        assert all(row.sops_per_sample is not None for row in found.layers)
        assert found.energy_ann_mj > 0  # what an ANN of its form would take


def test_thresholds_of_neurons_are_as_told(tmp_path):
    report = spiking(tmp_path, theta=0.5, epochs=0, model="cnn?pool=max&width=0.25")
    assert set(report.thresholds.values()) == {0.5}
    assert len(report.pools_averaged) == 2


def test_the_same_spiking_work_gives_the_same_bytes(tmp_path):
    same_bytes(tmp_path, spiking, "trained", slice=2, augment=("flip",))


def test_the_surrogate_is_kept_and_follows_finite_differences(tmp_path):
    given = {"surrogate": "dspike", "surrogate_param": {"adapt": True, "weights": 3, "step": 0.5}}
    spiking(tmp_path, epochs=2, **given)
    made = load(tmp_path / "trained.safetensors")
    (was,) = {float(t) for name, t in made.neurons.items() if name.endswith("temperature")}
    assert made.spiking.surrogate.name == "dspike"
    assert abs(was - 3) in (0, 0.5, 1)
    finetuning(tmp_path, timesteps=3, epochs=0)
    kept = load(tmp_path / "finetuned.safetensors")
    assert kept.spiking.surrogate == made.spiking.surrogate
    assert kept.neurons.keys() == made.neurons.keys()
    finetuning(tmp_path, timesteps=3, epochs=0, surrogate="atan")
    changed = load(tmp_path / "finetuned.safetensors")
    assert (changed.spiking.surrogate.name, changed.neurons) == ("atan", {})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"surrogate": "atan", "surrogate_param": {"layers": {"nowhere": 1}}}, "'nowhere'"),
        ({"neuron": None, "surrogate": "atan"}, "--surrogate"),
        ({"neuron": "lm-ht", "surrogate": "atan"}, "'atan', where their file states"),
        ({"neuron": None, "param": {"v0": 0.0}}, "--param"),
        ({"neuron": None, "slice": 2}, "--slice"),
        ({"activation": "qcfs"}, "--neuron if and --activation qcfs"),
        ({"model": "some.safetensors"}, "the checkpoint some.safetensors"),
        ({"param": {"v1": 0.0}}, "'v1'"),
        ({"neuron": "lm-ht", "slice": 2}, "each of their steps depends on all 3"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, found):
    with pytest.raises(UsageError) as caught:
        spiking(tmp_path, **options)
    assert found in caught.value.found
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [training, spiking, quantizing])
def test_a_training_that_was_cut_short_goes_on_to_the_same_bytes(tmp_path, kind):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    kind(whole, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        kind(cut, progress=InterruptedAt("epoch 3/3"), epochs=3)
    assert (cut / "train.resume.safetensors").exists()
    kind(cut, epochs=3, resume=True)
    made = sorted(whole.glob("*.safetensors"))
    assert len(made) == 2  # its own name, and that of the newest
    assert {file.read_bytes() for file in made} == {(cut / f.name).read_bytes() for f in made}


def test_a_checkpoint_is_trained_on_its_own_data(tmp_path):
    data = other_data(tmp_path, shape=(1, 9, 9))
    training(tmp_path, data=data, epochs=0)
    training(tmp_path, model=str(tmp_path / "ann.safetensors"), epochs=0)
    assert load(tmp_path / "ann.safetensors").data.spec == data
