import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from snnconv.data.dataset import batches, load_dataset
from snnconv.data.layout import Form
from snnconv.data.split import count
from snnconv.errors import UnsupportedError, UsageError

RNG = np.random.default_rng(0)
Y = np.array([0, 1, 2, 1, 0, 2])


def arrays(shape=(3, 5, 4), dtype=np.uint8, **changes):
    """Six training and three test samples of three classes."""

    def samples(n):
        if dtype == np.uint8:
            return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)
        return RNG.random((n, *shape)).astype(dtype)

    made = {"x_train": samples(6), "y_train": Y, "x_test": samples(3), "y_test": Y[:3]}
    return made | changes


def write(file="own.npz", **kept):
    np.savez(file, **{name: array for name, array in kept.items() if array is not None})


def refused(found, kind=UnsupportedError, **changes):
    """Loading is refused with this text; gives the error."""
    write(**(arrays() | changes))
    with pytest.raises(kind, match=re.escape(found)) as caught:
        load_dataset("npz:own.npz")
    assert "own.npz" in caught.value.problem
    return caught.value


@pytest.mark.parametrize(
    ("given", "dtype", "shape"),
    [
        ((5, 4), np.uint8, (1, 5, 4)),
        ((3, 5, 4), np.uint8, (3, 5, 4)),
        ((7,), np.uint8, (7,)),
        ((7,), np.float32, (7,)),
        ((2, 9), np.float32, (2, 9)),
        ((3, 5, 4), np.float64, (3, 5, 4)),
        ((2, 3, 5, 4), np.float16, (2, 3, 5, 4)),
        ((2, 3, 5, 4), np.dtype(">f4"), (2, 3, 5, 4)),
    ],
)
def test_samples_and_facts_are_those_of_the_file(given, dtype, shape):
    content = arrays(given, dtype)
    write(**content)

    data = load_dataset("npz:own.npz")

    assert data.info.spec == "npz:own.npz"
    assert data.info.shape == shape
    assert data.info.classes == ("0", "1", "2")
    for split, part in ((data.train, "train"), (data.test, "test")):
        x = content[f"x_{part}"]
        expected = torch.from_numpy(x.astype(np.float32)).reshape(len(x), *shape)
        expected = expected / 255 if dtype == np.uint8 else expected
        images = split.images(torch.arange(len(x)))
        assert images.dtype == torch.float32
        assert torch.equal(images, expected)
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == content[f"y_{part}"].tolist()


@pytest.mark.parametrize("given", [(5, 4), (3, 5, 4), (7,), (2, 3, 2, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mean_and_std_bring_the_training_split_to_zero_and_one(given, dtype):
    write(**arrays(given, dtype))
    data = load_dataset("npz:own.npz")
    assert len(data.info.mean) == len(data.info.std) == data.info.shape[0]
    ((_, x, _),) = batches(data.train, data.info, torch.arange(6), 10)
    channels = x.transpose(0, 1).flatten(1)
    assert channels.mean(1).tolist() == pytest.approx([0] * len(channels), abs=1e-5)
    assert channels.std(1, unbiased=False).tolist() == pytest.approx([1] * len(channels), rel=1e-4)


def test_mean_and_std_are_summed_over_all_samples():
    x = RNG.random((200, 2, 3)).astype(np.float32)
    write(**arrays(x_train=x, x_test=x, y_train=np.arange(200) % 3, y_test=np.arange(200) % 3))
    info = load_dataset("npz:own.npz").info
    assert info.mean == tuple(float(f"{v:.6g}") for v in x.astype(float).mean((0, 2)))
    assert info.std == tuple(float(f"{v:.6g}") for v in x.astype(float).std((0, 2)))


def test_a_feature_that_never_varies_is_only_shifted():
    content = arrays((3,), np.float32)
    for part in ("x_train", "x_test"):
        content[part][:, 1] = 0.1
    write(**content)
    data = load_dataset("npz:own.npz")
    assert (data.info.mean[1], data.info.std[1]) == (0.1, 1.0)
    ((_, x, _),) = batches(data.train, data.info, torch.arange(6), 10)
    assert x[:, 1].tolist() == pytest.approx([0] * 6, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.25, 0.5), ([0.25], [0.5]), ([0.25] * 3, [0.5] * 3)])
def test_mean_and_std_of_the_file(mean, std):
    content = arrays()
    write(**content, mean=np.array(mean), std=np.array(std))
    data = load_dataset("npz:own.npz")
    assert data.info.mean == tuple(np.atleast_1d(mean))
    assert data.info.std == tuple(np.atleast_1d(std))
    ((_, x, _),) = batches(data.test, data.info, torch.arange(3), 10)
    expected = (torch.from_numpy(content["x_test"]).float() / 255 - 0.25) / 0.5
    assert torch.equal(x, expected)


@pytest.mark.parametrize(
    ("given", "dtype", "layout", "shape"),
    [
        ((5, 4), np.uint8, "CL", (5, 4)),
        ((5, 4), np.float32, "HW", (1, 5, 4)),
        ((5, 4), np.float32, "CL", (5, 4)),
        ((8, 8, 3), np.uint8, "CHW", (8, 8, 3)),
    ],
)
def test_layout_says_what_a_shape_means(given, dtype, layout, shape):
    write(**arrays(given, dtype), layout=np.array(layout))
    assert load_dataset("npz:own.npz").info.shape == shape


def test_class_names():
    write(**arrays(), classes=np.array(["ant", "bee", "cicada", "dragonfly"]))
    assert load_dataset("npz:own.npz").info.classes == ("ant", "bee", "cicada", "dragonfly")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64, np.float32])
def test_labels_of_any_type_that_are_whole_numbers(dtype):
    write(**arrays(y_train=Y.astype(dtype), y_test=Y[:3].astype(dtype)))
    assert load_dataset("npz:own.npz").train.labels.tolist() == Y.tolist()


def test_relative_to_the_root():
    Path("sets").mkdir()
    write("sets/own.npz", **arrays())
    assert load_dataset("npz:own.npz", Path("sets")).info.spec == "npz:own.npz"


def test_an_absolute_path_whatever_the_root():
    write(**arrays())
    path = Path.cwd() / "own.npz"
    assert load_dataset(f"npz:{path}", Path("sets")).info.spec == f"npz:{path}"


# What is refused


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["x_train", "x_test"])
def test_nan_and_inf(name, value):
    content = arrays((2, 9), np.float32)
    content[name][2, 1, 3] = value
    error = refused(f"NaN or Inf in 1 samples of {name}, the first at index 2", **content)
    assert error.remedy == "repair or remove them"


@pytest.mark.parametrize(("value", "found"), [(-0.5, "values -0.5.."), (200, "..200 in x_train")])
def test_floats_outside_the_unit_interval(value, found):
    content = arrays((2, 9), np.float32)
    content["x_train"][0, 0, 0] = value
    assert "--scale 255" in refused(found, **content).remedy


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64, np.str_])
def test_samples_of_other_types(dtype):
    x = np.ones((6, 3, 5, 4)).astype(dtype)
    assert "give uint8" in refused(f"x_train of type {x.dtype}", x_train=x).remedy


@pytest.mark.parametrize("shape", [(), (6,), (0, 3, 5, 4), (6, 0)])
def test_wrong_ranks(shape):
    x = np.zeros(shape, np.uint8)
    assert "give [n, F]" in refused(f"x_train {list(shape)} uint8", x_train=x).remedy


def test_square_images_with_channels_last():
    content = arrays((8, 8, 3))
    error = refused("x_train [6, 8, 8, 3] uint8: square images with their channels last", **content)
    assert "--layout NHWC" in error.remedy
    data = load_dataset("npz:own.npz", form=Form("NHWC"))
    assert (data.info.shape, data.info.layout) == ((3, 8, 8), "NHWC")
    expected = torch.from_numpy(content["x_train"]).permute(0, 3, 1, 2) / 255
    assert torch.equal(data.train.images(torch.arange(6)), expected)


def test_splits_of_two_shapes():
    refused(
        "x_train [6, 3, 5, 4] uint8, x_test [3, 3, 4, 5] uint8", x_test=arrays((3, 4, 5))["x_test"]
    )


def test_splits_of_two_types():
    refused("x_test [3, 3, 5, 4] float32", x_test=arrays(dtype=np.float32)["x_test"])


@pytest.mark.parametrize("layout", ["TCHW", "CL", "", "CXY"])
def test_a_layout_that_does_not_fit(layout):
    error = refused(f"layout '{layout}' for x_train [6, 3, 5, 4]", layout=np.array(layout))
    assert "as NCHW, NHWC" in error.remedy


@pytest.mark.parametrize("part", ["train", "test"])
def test_lengths_of_samples_and_labels(part):
    count = {"train": 6, "test": 3}[part]
    found = f"{count} samples in x_{part}, {count - 1} labels in y_{part}"
    refused(found, **{f"y_{part}": Y[: count - 1]})


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (-1, "label -1 in y_train, at index 4"),
        (np.nan, "NaN or Inf in 1 labels of y_train, the first at index 4"),
        (-np.inf, "NaN or Inf in 1 labels of y_train, the first at index 4"),
    ],
)
def test_labels_that_no_task_has(label, found):
    y = Y.astype(float if label != -1 else int)
    y[4] = label
    refused(found, y_train=y)


@pytest.mark.parametrize("dtype", [np.str_, np.complex64])
def test_labels_of_other_types(dtype):
    y = Y.astype(dtype)
    assert (
        "numpy.unique(y, return_inverse=True)"
        in refused(f"y_train of type {y.dtype}", y_train=y).remedy
    )


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (Y + 0.5, torch.float32),
        (RNG.random((6, 2)), torch.float32),
        (RNG.integers(0, 2, (6, 4)), torch.int64),
        (RNG.integers(0, 2, (6, 5, 4)).astype(np.uint8), torch.int64),
        (RNG.random((6, 4)) > 0.5, torch.bool),
    ],
)
def test_labels_of_other_tasks(y, dtype):
    write(**arrays(y_train=y, y_test=y[:3]))
    data = load_dataset("npz:own.npz")
    assert data.train.labels.dtype == dtype
    assert torch.equal(data.train.labels, torch.from_numpy(y).to(dtype))
    assert data.info.classes == ()  # the network says how many outputs there are


# One x, divided; and no labels


@pytest.mark.parametrize("labelled", [True, False])
def test_x_alone_is_divided(labelled):
    y = np.repeat([0, 1, 2], [20, 10, 10])
    x = np.arange(40, dtype=np.uint8)[:, None]
    np.savez("own.npz", x=x, **({"y": y} if labelled else {}))
    data = load_dataset("npz:own.npz")
    (note,) = data.notes
    assert ("from each class" in note) is labelled
    seen = [split.images(torch.arange(count(split))) for split in (data.train, data.test)]
    seen = [(values * 255).round().int().flatten() for values in seen]
    assert sorted(torch.cat(seen).tolist()) == list(range(40))  # all of them, each once
    assert len(seen[1]) == 8
    if labelled:
        assert data.test.labels.bincount().tolist() == [4, 2, 2]
        for values, split in zip(seen, (data.train, data.test), strict=True):
            assert torch.equal(split.labels, torch.from_numpy(y)[values.long()])
    else:
        assert data.train.labels is data.test.labels is None
    again = load_dataset("npz:own.npz")
    assert torch.equal(again.test.indices, data.test.indices)


def test_a_class_left_out():
    y = np.array([0, 1, 3, 1, 0, 3])
    refused("no sample of class 2 in y_train, whose labels go up to 3", y_train=y)


def test_a_class_that_only_the_test_split_has():
    refused("class 3 in y_test, but none above 2 in y_train", y_test=np.array([0, 3, 1]))


def test_labels_without_a_name():
    write(**arrays(), classes=np.array(["ant", "bee"]))
    with pytest.raises(UnsupportedError, match=r"labels 0\.\.2 in the train split for 2 classes"):
        load_dataset("npz:own.npz")


def test_classes_that_are_no_list():
    refused("classes [] int64", classes=np.array(3))


@pytest.mark.parametrize(
    ("mean", "std", "found"),
    [
        ([0.5, 0.5], [1.0], "mean [0.5, 0.5]"),
        ([np.nan], [1.0], "mean [nan]"),
        (["a"], [1.0], "mean ['a']"),
        ([0.5], [1.0, 0.0, 1.0], "std [1.0, 0.0, 1.0]"),
        ([0.5], [-1.0], "std [-1.0]"),
        ([0.5], None, "std is missing, but the other is there"),
        (None, [0.5], "mean is missing, but the other is there"),
    ],
)
def test_means_and_stds_that_can_not_be_taken(mean, std, found):
    given = {"mean": mean, "std": std}
    given = {name: np.array(values) for name, values in given.items() if values is not None}
    assert "one number each, or 3" in refused(found, **given).remedy


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_missing_arrays(name):
    assert "numpy.savez" in refused(f"no {name}; it has ", **{name: None}).remedy


def test_every_missing_array_is_named():
    write(images=np.zeros(3))
    with pytest.raises(UnsupportedError, match="no x_train, x_test; it has images"):
        load_dataset("npz:own.npz")


class Trap:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("name", ["x_train", "classes"])
def test_nothing_is_unpickled(name):
    trap = np.array([Trap(), Trap()], dtype=object)
    refused("allow_pickle=False", **{name: trap})
    assert not Path("sprung").exists()


@pytest.mark.parametrize("content", [b"", b"some text", b"\x80\x04N."])
def test_no_archive(content):
    Path("own.npz").write_bytes(content)
    with pytest.raises(UnsupportedError, match=r"no zip archive, as \.npz files are"):
        load_dataset("npz:own.npz")


def test_a_damaged_archive():
    write(**arrays())
    raw = bytearray(Path("own.npz").read_bytes())
    raw[200] ^= 255
    Path("own.npz").write_bytes(raw)
    with pytest.raises(UnsupportedError, match="Bad CRC-32"):
        load_dataset("npz:own.npz")


def test_no_file():
    with pytest.raises(UsageError) as caught:
        load_dataset("npz:own.npz", Path("sets"))
    assert caught.value.problem == "sets/own.npz can't be read"
    assert caught.value.found == "no such file"
    Path("folder").mkdir()
    with pytest.raises(UsageError, match="found: a folder"):
        load_dataset("npz:folder")
    with pytest.raises(UsageError, match="the data set needs a path"):
        load_dataset("npz:")


# Frames


@pytest.mark.parametrize(("layout", "shape"), [("TF", (7,)), ("TCL", (2, 9)), ("TCHW", (2, 5, 4))])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_frames(layout, shape, dtype):
    content = arrays((4, *shape), dtype, layout=layout)
    write(**content)
    data = load_dataset("npz:own.npz")
    assert (data.info.frames, data.info.shape) == (4, shape)
    scale = 255 if dtype == np.uint8 else 1
    expected = torch.from_numpy(content["x_train"] / scale).float()
    torch.testing.assert_close(data.train.images(torch.arange(6)), expected)


def test_mean_and_std_are_those_of_what_the_ann_sees():
    write(**arrays((4, 2, 5, 4), layout="TCHW"))
    data = load_dataset("npz:own.npz")
    ((_, x, _),) = batches(data.train, data.info, torch.arange(6), 10)
    assert x.shape == (6, 2, 5, 4)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_mean_and_std_of_frames_are_one_a_channel():
    write(**arrays((4, 2, 5, 4), layout="TCHW", mean=[0.1, 0.2], std=[0.3, 0.4]))
    assert load_dataset("npz:own.npz").info.std == (0.3, 0.4)
    refused(
        "mean [0.1, 0.2, 0.3, 0.4]",
        x_train=arrays((4, 2, 5, 4))["x_train"],
        x_test=arrays((4, 2, 5, 4))["x_test"],
        layout="TCHW",
        mean=[0.1, 0.2, 0.3, 0.4],
        std=[1.0],
    )


def test_one_frame_is_no_time():
    error = refused("one frame for each sample", **arrays((1, 2, 5, 4), layout="TCHW"))
    assert "remove the T" in error.remedy


@pytest.mark.parametrize(
    ("label", "found"), [(-1, "label -1 in y_train"), (1000, "no sample of class")]
)
def test_samples_are_unpacked_only_if_their_labels_can_be_used(label, found):
    n = 4096
    labels = np.zeros(n, np.int64)
    labels[7] = label
    samples = np.zeros((n, 1, 128, 128), np.uint8)  # 64 MiB, packed into 64 KiB
    np.savez_compressed("own.npz", x_train=samples, y_train=labels, x_test=samples[:1], y_test=[0])
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedError, match=found):
            load_dataset("npz:own.npz")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


def test_letters_that_there_are_not():
    """NumPy reads any number as a letter, and Python fails at the first look at the text."""
    refused("characters that can't occur", layout=np.array([0x01000043, 76], "<u4").view("<U2"))
