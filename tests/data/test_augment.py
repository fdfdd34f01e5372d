import pytest
import torch

from snnconv.data.augment import NAMES, augmentation, mixture
from snnconv.errors import UsageError


def images(channels=3, size=16, n=12):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def augmented(names, batch, seed=0):
    apply = augmentation(names, batch.shape[1:])
    assert apply is not None
    torch.manual_seed(seed)
    return apply(batch)


def test_the_names():
    assert NAMES == ("flip", "crop", "resized-crop", "autoaugment", "cutout")


def test_none_asked_for_is_none():
    assert augmentation((), (3, 16, 16)) is None


@pytest.mark.parametrize("names", [*((name,) for name in NAMES), NAMES])
@pytest.mark.parametrize("channels", [1, 3])
def test_laws_of_every_augmentation(names, channels):
    batch = images(channels)
    kept = batch.clone()
    got = augmented(names, batch)
    assert got.shape == batch.shape
    assert got.dtype == batch.dtype
    assert 0 <= got.min() <= got.max() <= 1
    assert not torch.equal(got, batch)
    assert torch.equal(batch, kept)  # the data set's own images are left alone
    assert torch.equal(got, augmented(names, batch))
    assert not torch.equal(got, augmented(names, batch, seed=1))


def test_flip_mirrors_some_images_and_leaves_the_others():
    batch = images()
    got = augmented(["flip"], batch)
    kept = [torch.equal(a, b) for a, b in zip(got, batch, strict=True)]
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(got, batch, strict=True)]
    assert all(a != b for a, b in zip(kept, mirrored, strict=True))
    assert any(kept)
    assert any(mirrored)


def test_crop_shifts_by_an_eighth_of_the_side_at_most():
    batch = images(size=16)
    padded = torch.nn.functional.pad(batch, (2, 2, 2, 2))
    for k, image in enumerate(augmented(["crop"], batch)):
        windows = [padded[k, :, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
        assert sum(torch.equal(image, window) for window in windows) == 1


def test_cutout_blanks_a_quarter_inside_the_image():
    batch = images(size=16) * 0.9 + 0.1
    got = augmented(["cutout"], batch)
    blank = (got == 0).all(1)
    assert blank.flatten(1).sum(1).tolist() == [64] * len(batch)
    for hole in blank:
        rows, columns = hole.any(1), hole.any(0)
        assert (rows.sum(), columns.sum()) == (8, 8)
    kept = ~blank.unsqueeze(1).expand_as(got)
    assert torch.equal(got[kept], batch[kept])


def test_the_order_does_not_depend_on_how_they_were_asked_for():
    batch = images()
    assert torch.equal(augmented(NAMES, batch), augmented(NAMES[::-1], batch))


def test_an_unknown_name():
    with pytest.raises(UsageError) as caught:
        augmentation(["flip", "crops"], (3, 16, 16))
    assert caught.value.problem == "there is no augmentation of that name"
    assert caught.value.found == "'crops'"
    assert caught.value.remedy.startswith("did you mean 'crop'?")


def test_only_images_are_augmented():
    with pytest.raises(UsageError, match=r"samples of shape \[64\]"):
        augmentation(["flip"], (64,))


def test_a_resized_crop_is_a_part_of_the_image_at_its_size():
    ramp = torch.linspace(0, 1, 16).expand(8, 1, 16, 16).contiguous()
    got = augmented(["resized-crop"], ramp)
    spans = got.amax((1, 2, 3)) - got.amin((1, 2, 3))
    assert got.shape == ramp.shape
    assert ((spans > 0.2) & (spans <= 1)).all()
    assert spans.unique().numel() > 1


# Mixtures of two samples


@pytest.mark.parametrize("names", [("mixup",), ("cutmix",), ("mixup", "cutmix")])
def test_a_mixture_has_the_labels_of_its_shares(names):
    """Samples are constant images of their class number: a mean then tells the shares."""
    labels = torch.arange(16) % 4
    x = labels.float()[:, None, None, None].expand(16, 1, 8, 8).contiguous()
    mix = mixture(names, {"mixup": 1.0, "cutmix": 1.0}, 4, (1, 8, 8))
    changed = 0
    for _ in range(8):
        mixed, soft = mix(x, labels)
        assert soft.shape == (16, 4)
        assert torch.allclose(soft.sum(1), torch.ones(16))
        expected = (soft * torch.arange(4.0)).sum(1)
        assert torch.allclose(mixed.mean((1, 2, 3)), expected, atol=1e-5)
        changed += not torch.equal(mixed, x)
    assert changed > 0


def test_no_mixture_and_what_can_not_be_mixed():
    assert mixture((), {"mixup": 1.0, "cutmix": 1.0}, 4, (1, 8, 8)) is None
    with pytest.raises(UsageError, match="mixture") as caught:
        mixture(("mixpu",), {"mixup": 1.0, "cutmix": 1.0}, 4, (1, 8, 8))
    assert "mixup" in caught.value.remedy
    with pytest.raises(UsageError, match="for images"):
        mixture(("mixup",), {"mixup": 1.0, "cutmix": 1.0}, 4, (1, 800))
