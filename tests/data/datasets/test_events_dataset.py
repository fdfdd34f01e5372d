import importlib.util
import sys
import types

import numpy as np
import pytest
import torch

from snnconv.data.dataset import batches, load_dataset
from snnconv.data.datasets.events import count
from snnconv.errors import UnsupportedError, UsageError

RNG = np.random.default_rng(0)
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ALL = torch.arange


def recording(n=500, seed=0):
    """Rows of x, y, polarity and milliseconds, in the order of time."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 128, (n, 2))
    time = np.sort(rng.integers(1_000, 9_000, n))
    return np.column_stack([places, rng.integers(0, 2, n), time])


def gestures(folder, users=2):
    """A small DVS128 Gesture as tonic unpacks it; gives its recordings by path."""
    made = {}
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        for user in range(1, users + 1):
            place = folder / part / f"user{user:02}_led"
            place.mkdir(parents=True)
            for label in (0, 3, 10):
                rows = recording(seed=len(made))
                np.save(place / f"{label}.npy", rows)
                made[f"{part}/user{user:02}_led/{label}"] = rows
    return made


def cifar(folder, each=10):
    """The files of a small CIFAR10-DVS as tonic unpacks it, empty."""
    for name in CIFAR:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            (folder / name / f"cifar10_{name}_{number}.aedat4").touch()


def brute(rows, frames, size, full):
    """Event by event."""
    found = np.zeros((frames, 2, size, size))
    start, stop = rows[:, 3].min(), rows[:, 3].max()
    for x, y, polarity, time in rows.tolist():
        span = int((time - start) * frames / (stop - start + 1))
        found[span, 1 - polarity, y * size // 128, x * size // 128] += 1
    return np.minimum(found / full, 1)


# DVS128 Gesture


@pytest.mark.parametrize("around", [True, False])
def test_gestures_are_counted_event_by_event(tmp_path, around):
    folder = tmp_path / "DVSGesture" if around else tmp_path
    made = gestures(folder)
    spec = f"events:{tmp_path}?frames=4&size=8&full=5"

    data = load_dataset(spec)

    info = data.info
    assert (info.spec, info.shape, info.frames) == (spec, (2, 8, 8), 4)
    assert info.classes[3] == "right arm clockwise"
    assert len(info.classes) == 11
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 10, 3, 0, 10, 3]
    x = data.test.images(torch.tensor([2, 3]))
    assert x.dtype == torch.float32
    expected = [
        brute(made[f"ibmGestureTest/{name}"], 4, 8, 5) for name in ("user01_led/3", "user02_led/0")
    ]
    np.testing.assert_allclose(x.numpy(), np.stack(expected), rtol=1e-6)
    assert x.max() == 1  # so there is something to cut


def test_what_is_not_said(tmp_path):
    gestures(tmp_path)
    data = load_dataset(f"events:{tmp_path}")
    assert (data.info.frames, data.info.shape) == (10, (2, 48, 48))
    ((_, x, _),) = batches(data.train, data.info, ALL(6), 9, frames_per_run=10)
    assert x.shape == (10, 6, 2, 48, 48)
    assert (x == 0).float().mean() > 0.5  # a silent place stays 0


def test_a_relative_folder_lies_below_the_root(tmp_path):
    gestures(tmp_path / "sets" / "DVSGesture")
    assert len(load_dataset("events:sets", tmp_path).train.labels) == 6


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (np.zeros((0, 4), int), "no events in it"),
        (np.zeros((3, 3), int), "an array of shape [3, 3], where events are [n, 4]"),
        (np.array([[128, 0, 1, 0]]), "events outside the 128 x 128 places of the camera"),
        (np.array([[0, -1, 1, 0]]), "events outside the 128 x 128 places of the camera"),
        (np.array([["x", "y", "p", "t"]]), "numbers of type <U1"),
    ],
)
def test_a_recording_that_is_none(tmp_path, rows, found):
    gestures(tmp_path)
    file = tmp_path / "ibmGestureTrain" / "user01_led" / "0.npy"
    np.save(file, rows)
    with pytest.raises(UnsupportedError) as caught:
        load_dataset(f"events:{tmp_path}").train.images(ALL(1))
    assert str(file) in caught.value.problem
    assert found in caught.value.found


def test_a_damaged_file(tmp_path):
    gestures(tmp_path)
    file = tmp_path / "ibmGestureTrain" / "user01_led" / "0.npy"
    file.write_bytes(b"nothing")
    with pytest.raises(UnsupportedError, match="can't be read as events"):
        load_dataset(f"events:{tmp_path}").train.images(ALL(1))


def test_a_file_of_no_class(tmp_path):
    gestures(tmp_path)
    np.save(tmp_path / "ibmGestureTest" / "user01_led" / "11.npy", recording())
    with pytest.raises(UnsupportedError, match="a class of the name '11'"):
        load_dataset(f"events:{tmp_path}")


# CIFAR10-DVS


@pytest.fixture
def tonic(monkeypatch):
    """In the place of tonic: recordings made of the files' names."""
    io = types.ModuleType("tonic.io")
    fields = [("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?")]

    def read_aedat4(file):
        rows = recording(seed=len(file))
        return np.array([(t, x, y, p) for x, y, p, t in rows.tolist()], dtype=fields)

    io.read_aedat4 = read_aedat4
    for name, module in (("tonic", types.ModuleType("tonic")), ("tonic.io", io)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "aedat", types.ModuleType("aedat"))


@pytest.mark.usefixtures("tonic")
def test_the_first_nine_tenths_of_each_class_are_to_train_on(tmp_path):
    cifar(tmp_path / "CIFAR10DVS", 20)
    data = load_dataset(f"events:{tmp_path}?size=8")
    assert data.info.classes == CIFAR
    assert data.train.labels.bincount().tolist() == [18] * 10
    assert data.test.labels.bincount().tolist() == [2] * 10
    assert {file.stem.split("_")[-1] for file in data.test.files} == {"18", "19"}  # not 8 and 9
    assert data.test.labels[:10].tolist() == list(range(10))  # the first of them have all classes


@pytest.mark.usefixtures("tonic")
def test_cifar10_dvs_is_counted_event_by_event(tmp_path):
    cifar(tmp_path)
    data = load_dataset(f"events:{tmp_path}?frames=4&size=8&full=5")
    file = data.train.files[0]
    expected = brute(recording(seed=len(str(file))), 4, 8, 5)
    np.testing.assert_allclose(data.train.images(ALL(1))[0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("missing", ["tonic.io", "aedat"])
@pytest.mark.usefixtures("tonic")
def test_without_tonic_there_is_a_remedy(tmp_path, monkeypatch, missing):
    cifar(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=f"no {missing.partition('.')[0]}") as caught:
        load_dataset(f"events:{tmp_path}")
    assert "pip install '.[events]'" in caught.value.remedy


# What is missing or too much


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_there_and_nothing_is_downloaded(tmp_path, there):
    folder = tmp_path / "CIFAR10DVS"
    if there:
        folder.mkdir()
    with pytest.raises(UsageError, match="there are no recordings of events in") as caught:
        load_dataset(f"events:{folder}")
    assert ("no such folder" in caught.value.found) != there
    assert "--download" in caught.value.remedy
    assert not list(folder.glob("*"))


def test_two_data_sets_in_one_folder(tmp_path):
    gestures(tmp_path / "DVSGesture")
    cifar(tmp_path / "CIFAR10DVS", 1)
    with pytest.raises(UsageError, match="there are two data sets in") as caught:
        load_dataset(f"events:{tmp_path}")
    assert caught.value.remedy == f"name one of them: events:{tmp_path / 'DVSGesture'}"


@pytest.mark.usefixtures("tonic")
def test_an_empty_part(tmp_path):
    cifar(tmp_path, 0)
    with pytest.raises(UnsupportedError, match="none in the train split"):
        load_dataset(f"events:{tmp_path}")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("frames=1", "frames=1"),
        ("size=129", "'129'"),
        ("frames=two", "'two'"),
        ("full=0", "'0'"),
        ("frame=3", "'frame'"),
        ("frames", "'frames'"),
    ],
)
def test_an_option_that_is_none(tmp_path, query, found):
    gestures(tmp_path)
    with pytest.raises(UsageError) as caught:
        load_dataset(f"events:{tmp_path}?{query}")
    assert caught.value.found == found


def test_a_download_is_tonics(tmp_path, monkeypatch):
    made, sets = [], types.ModuleType("tonic.datasets")

    def gesture(save_to, train):
        made.append((save_to, train))
        if not train:
            gestures(tmp_path / "DVSGesture")

    sets.DVSGesture = gesture
    monkeypatch.setitem(sys.modules, "tonic", types.ModuleType("tonic"))
    monkeypatch.setitem(sys.modules, "tonic.datasets", sets)
    assert len(load_dataset(f"events:{tmp_path / 'DVSGesture'}", download=True).test.labels) == 6
    assert made == [(str(tmp_path), True), (str(tmp_path), False)]


def test_a_download_that_fails(tmp_path, monkeypatch):
    sets = types.ModuleType("tonic.datasets")

    def fails(save_to):
        raise OSError(f"no route to {save_to}")

    sets.CIFAR10DVS = fails
    monkeypatch.setitem(sys.modules, "tonic", types.ModuleType("tonic"))
    monkeypatch.setitem(sys.modules, "tonic.datasets", sets)
    with pytest.raises(UsageError, match="CIFAR10DVS can't be downloaded"):
        load_dataset(f"events:{tmp_path / 'CIFAR10DVS'}", download=True)
    with pytest.raises(UsageError, match="a folder named 'mine', which is no data set"):
        load_dataset(f"events:{tmp_path / 'mine'}", download=True)


# tonic as referee, where it is installed

installed = pytest.mark.skipif(
    importlib.util.find_spec("tonic") is None, reason="tonic is not installed"
)


@installed
@pytest.mark.parametrize("frames", [2, 5])
def test_frames_are_those_of_tonic(frames):
    from tonic.transforms import ToFrame

    end = 1_000 * frames  # so that the spans of both are of the same length
    rows = recording()
    rows[:, 3] = np.sort(RNG.integers(0, end, len(rows)))
    rows[[0, -2, -1], 3] = 0, end - 1, end  # tonic leaves out the last event
    fields = [("x", "i2"), ("y", "i2"), ("p", "?"), ("t", "i8")]
    events = np.array(list(map(tuple, rows.tolist())), dtype=fields)
    theirs = ToFrame(sensor_size=(128, 128, 2), n_time_bins=frames)(events)
    ours = count(tuple(rows[:-1].T), frames, 128)
    assert ours.sum() > 100
    assert np.array_equal(ours, theirs[:, ::-1])


@installed
def test_gestures_are_those_of_tonic(tmp_path):
    from tonic import datasets

    class DVSGesture(datasets.DVSGesture):
        """Takes a folder with fewer recordings than the data set has."""

        def _check_exists(self):
            return True

    gestures(tmp_path / "DVSGesture")
    data = load_dataset(f"events:{tmp_path}?frames=4&size=128")
    for split, train in ((data.train, True), (data.test, False)):
        theirs = DVSGesture(str(tmp_path), train=train)
        labels = dict(zip(theirs.data, theirs.targets, strict=True))
        assert {str(f): int(k) for f, k in zip(split.files, split.labels, strict=True)} == labels
        events, _ = theirs[0]
        index = [str(file) for file in split.files].index(theirs.data[0])
        read = split.read(split.files[index])
        for name, column in zip("xyp", read, strict=False):
            assert np.array_equal(events[name].astype(int), column), name
