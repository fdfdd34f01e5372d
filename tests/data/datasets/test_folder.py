from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from snnconv.data.dataset import batches, load_dataset
from snnconv.data.layout import Form
from snnconv.errors import UnsupportedError, UsageError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ALL = torch.arange


def save(file, shape=(6, 4, 3), mode=None, seed=0):
    """Random pixels in a lossless file, and those pixels."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file)
    return pixels


def layout(shape=(6, 4, 3), test="test"):
    """Two classes, two training images and one test image each; their pixels in order."""
    pixels = {}
    for part, count in (("train", 2), (test, 1)):
        for label, name in enumerate(("ant", "bee")):
            for k in range(count):
                seed = 100 * label + 10 * k + (part == "train")
                pixels[part, label, k] = save(f"sets/{part}/{name}/{k}.png", shape, seed=seed)
    return pixels


@pytest.mark.parametrize("test", ["test", "val"])
def test_colour(test):
    pixels = layout(test=test)
    data = load_dataset("folder:sets")
    assert data.info.spec == "folder:sets"
    assert data.info.shape == (3, 6, 4)
    assert data.info.classes == ("ant", "bee")
    assert (data.info.mean, data.info.std) == IMAGENET
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    order = [("train", 1, 1), ("train", 0, 0)]
    expected = np.stack([pixels[key] for key in order]).transpose(0, 3, 1, 2)
    images = data.train.images(torch.tensor([3, 0]))
    assert torch.equal(images, torch.from_numpy(expected).float() / 255)
    expected = pixels[test, 1, 0].transpose(2, 0, 1)
    assert torch.equal(data.test.images(torch.tensor([1]))[0] * 255, torch.from_numpy(expected))


def test_grey():
    pixels = layout(shape=(6, 4))
    data = load_dataset("folder:sets")
    assert data.info.shape == (1, 6, 4)
    assert (data.info.mean, data.info.std) == ((0.5,), (0.25,))
    expected = torch.from_numpy(pixels["test", 0, 0]).float() / 255
    assert torch.equal(data.test.images(torch.tensor([0]))[0, 0], expected)


def test_test_is_taken_before_val():
    layout(test="val")
    layout(test="test")
    assert {file.parts[1] for file in load_dataset("folder:sets").test.files} == {"test"}


def test_other_images_become_rgb_where_the_first_is():
    layout()
    grey = save("sets/train/ant/1.png", (6, 4))
    save("sets/train/bee/0.png", (6, 4, 3), mode="P")
    save("sets/train/bee/1.png", (6, 4, 4))
    images = load_dataset("folder:sets").train.images(ALL(4))
    assert images.shape == (4, 3, 6, 4)
    assert torch.equal(images[1] * 255, torch.from_numpy(grey).float().expand(3, 6, 4))


def test_colour_is_refused_where_the_first_is_grey():
    layout(shape=(6, 4))
    save("sets/train/bee/0.png", (6, 4, 3))
    data = load_dataset("folder:sets")
    with pytest.raises(
        UnsupportedError, match=r"colour image, where the first .* is grey"
    ) as caught:
        data.train.images(ALL(4))
    assert "sets/train/bee/0.png" in caught.value.problem


@pytest.mark.parametrize(("spec", "root"), [("folder:sets", "."), ("folder:../sets", "elsewhere")])
def test_relative_to_the_root(spec, root):
    layout()
    Path("elsewhere").mkdir()
    assert len(load_dataset(spec, Path(root)).train.labels) == 4


def test_size_scales_the_shorter_side_and_cuts_the_middle():
    layout()
    # left half black, right half white: the middle has one column of each
    stripes = np.zeros((4, 8, 3), np.uint8)
    stripes[:, 4:] = 255
    Image.fromarray(stripes).save("sets/train/ant/0.png")
    data = load_dataset("folder:sets?size=2")
    assert data.info.spec == "folder:sets?size=2"
    assert data.info.shape == (3, 2, 2)
    (image,) = data.train.images(torch.tensor([0]))
    assert image[:, :, 0].max() < 0.3
    assert image[:, :, 1].min() > 0.7
    for x in (data.train.images(ALL(4)), data.test.images(ALL(2))):
        assert x.shape[1:] == (3, 2, 2)
        assert 0 <= x.min() <= x.max() <= 1


def test_size_takes_images_of_many_sizes():
    layout()
    save("sets/train/ant/1.png", (9, 17, 3))
    save("sets/train/bee/1.png", (3, 2, 3))
    data = load_dataset("folder:sets?size=5")
    seen = [x.shape for _, x, _ in batches(data.train, data.info, ALL(4), 3)]
    assert seen == [(3, 3, 5, 5), (1, 3, 5, 5)]


def test_images_of_two_sizes_are_refused_without_size():
    layout()
    save("sets/test/bee/0.png", (4, 6, 3))
    data = load_dataset("folder:sets")
    with pytest.raises(UnsupportedError) as caught:
        data.test.images(ALL(2))
    assert caught.value.problem == "sets/test/bee/0.png does not fit its data set"
    assert caught.value.found == ("height x width 4 x 6, where the first training image has 6 x 4")
    assert "--size N, or folder:DIR?resize=256&crop=224" in caught.value.remedy


def test_resize_and_crop_are_those_of_imagenet():
    """As torchvision's Resize(6) and CenterCrop(4)."""
    layout(shape=(12, 20, 3))
    data = load_dataset("folder:sets?resize=6&crop=4")
    image = functional.resize(Image.open(data.train.files[0]), [6])
    expected = functional.pil_to_tensor(functional.center_crop(image, [4])) / 255
    assert torch.equal(data.train.images(torch.tensor([0]))[0], expected)
    for query, found in (("resize=4&crop=6", "resize=4 and crop=6"), ("size=4&crop=4", "size=4")):
        with pytest.raises(UsageError, match=found):
            load_dataset(f"folder:sets?{query}")
    with pytest.raises(UnsupportedError, match="20 x 12 pixels, of which crop=16"):
        load_dataset("folder:sets?crop=16")
    assert load_dataset("folder:sets", form=Form(size=4)).info.shape == (3, 4, 4)


@pytest.mark.parametrize("at", ["sets/val", "sets/train", "sets"])
def test_one_folder_of_classes_is_divided(at):
    for k in range(10):
        for name in ("ant", "bee"):
            save(f"{at}/{name}/{k}.png", (6, 4))
    data = load_dataset("folder:sets")
    assert "drawn from each class by seed 0" in data.notes[0]
    assert data.info.classes == ("ant", "bee")
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert sorted([*data.train.indices.tolist(), *data.test.indices.tolist()]) == list(range(20))


def test_nothing_but_the_first_image_is_decoded_on_loading():
    layout()
    Path("sets/train/bee/1.png").write_bytes(b"no image")
    data = load_dataset("folder:sets")
    assert data.train.images(torch.tensor([0, 1, 2])).shape == (3, 3, 6, 4)
    with pytest.raises(UnsupportedError, match=r"sets/train/bee/1\.png can't be decoded"):
        data.train.images(torch.tensor([3]))


def test_a_file_cut_short():
    layout(shape=(60, 40, 3))
    file = Path("sets/train/ant/0.png")
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(UnsupportedError, match=r"sets/train/ant/0\.png can't be decoded"):
        load_dataset("folder:sets")


def test_sixteen_bit_is_refused():
    layout()
    Image.fromarray(np.full((6, 4), 60_000, np.uint16)).save("sets/train/ant/0.png")
    with pytest.raises(UnsupportedError, match="mode 'I;16', more than 8 bit"):
        load_dataset("folder:sets")


def test_class_sets_must_agree():
    layout()
    Path("sets/test/bee").rename("sets/test/wasp")
    with pytest.raises(UnsupportedError, match=r"only in train/: bee; only in test/: wasp"):
        load_dataset("folder:sets")


def test_a_class_without_images():
    layout()
    Path("sets/train/cicada").mkdir()
    with pytest.raises(UnsupportedError, match="no valid file for the classes cicada") as caught:
        load_dataset("folder:sets")
    assert caught.value.problem == "the images in sets/train can't be used"


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        ([], "no such folder"),
        (["sets"], "no folders in it"),
    ],
)
def test_missing_folders(folders, found):
    for folder in folders:
        Path(folder).mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        load_dataset("folder:sets")
    assert caught.value.problem == "there is no data set in sets"
    assert caught.value.found == found
    assert "DIR/train/CLASS/*" in caught.value.remedy


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("folder", "needs a path"),
        ("folder:", "needs a path"),
        ("folder:?size=4", "needs a path"),
        ("folder:sets?side=4", "no such option\n  found: 'side'\n  next:  .*size"),
        ("folder:sets?size=0", "size of images can't be used\n  found: '0'"),
        ("folder:sets?size=big", "found: 'big'"),
        ("folder:sets?size=2.5", "found: '2.5'"),
        ("folder:sets?size=true", "found: 'True'"),
        ("folder:sets?size", "write it as NAME=VALUE"),
    ],
)
def test_specs_that_can_not_be_taken(spec, text):
    layout()
    with pytest.raises(UsageError, match=text):
        load_dataset(spec)
