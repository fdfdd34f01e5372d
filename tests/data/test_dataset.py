import hashlib
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import DATASETS, Dataset, batches, load_dataset, normalise
from snnconv.data.split import ArraySplit, class_labels, count, digest, strata, subset
from snnconv.errors import UnsupportedError, UsageError


def split(shape=(2, 3, 3), n=10, labels=None):
    pixels = torch.randint(0, 256, (n, *shape), dtype=torch.uint8)
    return ArraySplit(pixels, torch.arange(n) % 2 if labels is None else labels, 255.0)


def info(shape=(2, 3, 3), mean=(0.5,), std=(0.25,), spec="own"):
    return DataInfo(spec=spec, shape=shape, classes=("a", "b"), mean=mean, std=std)


# The room


def test_the_room_holds_these_and_no_helpers():
    assert DATASETS.names() == [
        *("cifar10", "cifar100", "digits", "events", "fashion-mnist", "folder", "imdb", "npz"),
        *("python", "speech-commands", "textfolder"),
    ]


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_file_documents_itself_and_loads(name):
    file = Path(sys.modules["snnconv.data.dataset"].__file__).parent / "datasets"
    text = (file / f"{name.replace('-', '_')}.py").read_text()
    for section in ("Shape:", "Reference:", "Deviations:"):
        assert f"\n{section}\n    " in text
    assert DATASETS.summary(name)
    assert callable(DATASETS.load(name))


def test_an_unknown_name():
    with pytest.raises(UsageError) as caught:
        load_dataset("digit")
    assert caught.value.problem == "there is no data set of that name"
    assert caught.value.found == "'digit'"
    assert caught.value.remedy.startswith("did you mean 'digits'?")


@pytest.mark.parametrize("spec", ["digits:", "digits:small"])
def test_an_argument_that_is_not_taken(spec):
    with pytest.raises(UsageError, match="data set 'digits' takes nothing behind a colon"):
        load_dataset(spec)


# A user's factory

SOURCE = """
import torch
from snnconv import ArraySplit, DataInfo, Dataset
from snnconv.errors import UsageError

number = 3

def make(n=4, classes=2):
    info = DataInfo(
        spec="whatever", shape=(1, 2, 2), classes=tuple("abc"[:classes]), mean=(0.5,), std=(0.5,)
    )
    part = ArraySplit(torch.zeros(n, 1, 2, 2), torch.arange(n) % 2, 1.0)
    return Dataset(info, part, part)

def nothing():
    return None

def fails():
    raise RuntimeError("out of luck")

def wrong():
    return DataInfo(spec="x", shape=(1,), classes=("a",), mean=(0.5,), std=(0.0,))

def lacking():
    return DataInfo(spec="x", shape=(1,), classes=("a",), mean=(0.5,))

def explains():
    raise UsageError("no luck", "none", "try again")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module, importable as ``own_package.sets`` and there as ``sets.py``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_package").mkdir()
    Path("own_package/__init__.py").touch()
    for file in ("own_package/sets.py", "sets.py"):
        Path(file).write_text(SOURCE)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("own_package", "snnconv_user_")):
            del sys.modules[name]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("where", ["own_package.sets", "sets.py", "./own_package/sets.py"])
def test_a_factory(where):
    data = load_dataset(f"{where}:make")
    assert data.info.spec == f"{where}:make"  # as a checkpoint needs it, to find its data again
    assert len(data.train.labels) == 4
    data = load_dataset(f"{where}:make?n=6&classes=3")
    assert data.info.spec == f"{where}:make?n=6&classes=3"
    assert (len(data.train.labels), len(data.info.classes)) == (6, 3)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("spec", "kind", "text"),
    [
        ("sets.py:mak", UsageError, "sets.py has no factory 'mak'\n.*\n.*did you mean 'make'"),
        ("sets.py:number", UsageError, "sets.py has no factory 'number'"),
        ("none.py:make", UsageError, "none.py can't be read\n  found: no such file"),
        ("own_package:make", UsageError, "there is no data set of that name"),
        ("own_package.none:make", UsageError, "module 'own_package.none' can't be imported"),
        ("sets.py:make?m=3", UsageError, "options of 'sets.py:make.*\n.*argument 'm'"),
        ("sets.py:nothing", UnsupportedError, "'sets.py:nothing' gives no data set\n.*a NoneType"),
        ("sets.py:fails", UnsupportedError, "found: RuntimeError: out of luck"),
        ("sets.py:wrong", UnsupportedError, "DataInfo: std.0 is 0.0: give more than 0"),
        ("sets.py:lacking", UnsupportedError, "DataInfo: std: field required"),
        ("sets.py:explains", UsageError, "no luck"),
        ("sets.py:make?n=0", UnsupportedError, "an empty train split"),
        (
            "sets.py:make?classes=1",
            UnsupportedError,
            "labels 0..1 in the train split for 1 classes",
        ),
        ("sets.py", UsageError, "there is no data set of that name"),
    ],
)
def test_a_factory_that_can_not_be_taken(spec, kind, text):
    with pytest.raises(kind, match=text) as caught:
        load_dataset(spec)
    assert type(caught.value) is kind


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("where", ["own_package.broken", "broken.py"])
@pytest.mark.parametrize("text", ["1 / 0", "import no_such_package_here", "def"])
def test_a_file_that_can_not_be_imported(where, text):
    for file in ("own_package/broken.py", "broken.py"):
        Path(file).write_text(text)
    with pytest.raises(UsageError, match=r"can't be (run|imported)"):
        load_dataset(f"{where}:make")
    # a half-made module must not be found by the next import
    assert not {"own_package.broken", "snnconv_user_broken"} & set(sys.modules)


@pytest.mark.usefixtures("own")
def test_a_file_does_not_take_the_place_of_a_module():
    json = sys.modules["json"]
    Path("json.py").write_text(SOURCE)
    load_dataset("json.py:make")
    assert sys.modules["json"] is json


# What a loaded data set is checked for


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": "torch.zeros(5).long()"}, r"4 samples and 5 labels in the train split"),
        ({"labels": "torch.tensor(3)"}, r"train labels of shape \[\]"),
        ({"labels": "torch.tensor([0, 1, float('nan'), 0])"}, r"train labels, .* of sample 2"),
        ({"labels": "torch.zeros(4).long() - 1"}, r"labels -1\.\.-1 in the train split"),
        (
            {"mean": "(0.5, 0.5)"},
            r"mean \[0.5, 0.5\] and std \[0.5\] for samples of shape \[3, 2\]",
        ),
        ({"shape": "()"}, r"samples of shape \[\]"),
    ],
)
def test_splits_and_facts_that_contradict_each_other(tmp_path, changes, text):
    given = {"labels": "torch.zeros(4).long()", "mean": "(0.5,)", "std": "(0.5,)"}
    given |= {"shape": "(3, 2)"} | changes
    file = tmp_path / "sets.py"
    file.write_text(
        "import torch\n"
        "from snnconv import ArraySplit, DataInfo, Dataset\n"
        "def make():\n"
        f"    info = DataInfo(spec='', shape={given['shape']}, classes=('a', 'b'),\n"
        f"                      mean={given['mean']}, std={given['std']})\n"
        f"    part = ArraySplit(torch.zeros(4, 3, 2), {given['labels']}, 1.0)\n"
        "    return Dataset(info, part, part)\n"
    )
    with pytest.raises(UnsupportedError, match=text) as caught:
        load_dataset(f"{file}:make")
    assert caught.value.problem == f"data set '{file}:make' can't be used"


@pytest.mark.parametrize(
    "labels", [None, torch.rand(30), torch.rand(30, 3) > 0.5, torch.randint(0, 5, (30, 2, 2))]
)
def test_labels_of_other_tasks_are_drawn_at_random_and_come_with_their_samples(labels):
    part = ArraySplit(torch.arange(30).reshape(30, 1, 1, 1), labels, 1.0)
    assert count(part) == 30
    chosen = subset(strata(part), 8, 1)
    assert not torch.equal(chosen, subset(strata(part), 8, 2))
    assert set(chosen.tolist()) <= set(subset(strata(part), 20, 1).tolist())
    one = info(shape=(1, 1, 1), mean=(0.0,), std=(1.0,))
    for indices, x, found in batches(part, one, chosen, 3):
        assert torch.equal(x.flatten(), indices.float())
        assert (found is None) is (labels is None)
        assert found is None or torch.equal(found, labels[indices])
    with pytest.raises(UnsupportedError, match="training needs the class of each sample, which"):
        class_labels(part, "own", "training")


def test_labels_of_both_splits_are_of_one_kind(tmp_path):
    file = tmp_path / "sets.py"
    file.write_text(
        "import torch\n"
        "from snnconv import ArraySplit, DataInfo, Dataset\n"
        "def make():\n"
        "    info = DataInfo(spec='', shape=(3,), classes=('a',), mean=(0,), std=(1,))\n"
        "    x = torch.zeros(4, 3)\n"
        "    one, other = ArraySplit(x, None, 1.0), ArraySplit(x, torch.zeros(4), 1.0)\n"
        "    return Dataset(info, one, other)\n"
    )
    with pytest.raises(UnsupportedError) as caught:
        load_dataset(f"{file}:make")
    assert caught.value.found == (
        "train labels none, test labels values of shape [] of torch.float32"
    )


# Normalisation and batches


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 6), (4, 2, 5, 6)])
def test_normalisation_by_channel_and_by_one_number(shape):
    x = torch.rand(7, *shape)
    mean, std = (0.1, 0.2, 0.3, 0.4), (0.5, 1.0, 2.0, 4.0)
    got = normalise(x, info(shape, mean, std))
    for channel in range(4):
        expected = (x[:, channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(got[:, channel], expected)
    torch.testing.assert_close(normalise(x, info(shape, (0.5,), (0.25,))), (x - 0.5) / 0.25)
    assert got.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_normalisation_refuses_what_is_not_finite(value):
    x = torch.rand(2, 2, 3, 3)
    x[1, 0, 2, 2] = value
    with pytest.raises(UnsupportedError, match="'own' can't be used\n  found: NaN or Inf"):
        normalise(x, info())


@given(n=st.integers(1, 30), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_batches_give_every_index_once_in_the_order_asked_for(n, size, seed):
    part, known = split(n=n), info(mean=(0.5, 0.25), std=(0.5, 2.0))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    got = list(batches(part, known, order, size))
    assert torch.equal(torch.cat([indices for indices, _, _ in got]), order)
    assert all(len(indices) == size for indices, _, _ in got[:-1])
    for indices, x, labels in got:
        mean, std = (torch.tensor(v).reshape(1, 2, 1, 1) for v in (known.mean, known.std))
        assert torch.equal(x, (part.pixels[indices].float() / 255.0 - mean) / std)
        assert torch.equal(labels, part.labels[indices])


def test_batches_of_another_shape_than_the_network_takes():
    with pytest.raises(UnsupportedError) as caught:
        next(batches(split(), info(shape=(1, 8, 8)), torch.arange(10), 5))
    assert caught.value.problem == "the data do not fit the network"
    assert caught.value.found == "samples of shape [2, 3, 3], network input [1, 8, 8]"
    assert "--data" in caught.value.remedy


# Subsets

labelled = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(torch.tensor)
seeds = st.integers(0, 5)


@pytest.mark.parametrize(("n", "count"), [(None, 10), (3, 3), (10, 10), (99, 10)])
def test_a_subset_has_as_many_samples_as_it_can(n, count):
    assert len(subset(split().labels, n, 0)) == count


@given(labelled, seeds)
def test_all_samples_are_every_index_once(labels, seed):
    every = list(range(len(labels)))
    for n in (None, len(labels), len(labels) + 1):
        assert subset(labels, n, seed).tolist() == every


@given(labelled, seeds)
def test_subsets_are_nested_in_ascending_order(labels, seed):
    smaller = set()
    for n in range(len(labels) + 1):
        found = subset(labels, n, seed).tolist()
        assert found == sorted(set(found))
        assert len(found) == n
        assert smaller <= set(found)
        smaller = set(found)


@given(labelled, seeds)
def test_every_class_has_its_share_rounded_up_or_down(labels, seed):
    total = len(labels)
    for n in range(total + 1):
        found = labels[subset(labels, n, seed)]
        for label in labels.unique():
            share = n * int((labels == label).sum()) / total
            assert abs(int((found == label).sum()) - share) < 1


def test_classes_of_very_different_sizes():
    """The case in which taking classes by the middle of their intervals goes astray."""
    labels = torch.tensor([0] * 50 + list(range(1, 51)))
    for n in range(101):
        assert abs(int((labels[subset(labels, n, 3)] == 0).sum()) - n / 2) < 1


@given(labelled, seeds, st.integers(0, 60))
def test_a_subset_hangs_on_labels_and_seed_alone(labels, seed, n):
    one = subset(labels, n, seed)
    torch.manual_seed(n)
    assert torch.equal(one, subset(labels.clone(), n, seed))


def test_a_seed_draws_of_its_own():
    labels = torch.arange(1000) % 10
    assert not torch.equal(subset(labels, 100, 0), subset(labels, 100, 1))
    # every sample is as likely as any other
    seen = torch.zeros(1000)
    for seed in range(200):
        seen[subset(labels, 100, seed)] += 1
    assert seen.std() < 1.5 * (200 * 0.1 * 0.9) ** 0.5
    assert abs(float(seen[:500].sum() - seen[500:].sum())) < 500


def test_of_one_class_a_subset_is_a_random_part():
    found = subset(torch.zeros(100, dtype=torch.int64), 30, 0)
    assert len(found) == 30
    assert found.max() > 50 > found.min()


def test_by_hand():
    """Eight, four and four of sixteen: of four samples two, one and one."""
    labels = torch.tensor([0] * 8 + [1] * 4 + [2] * 4)
    assert labels[subset(labels, 4, 0)].tolist() == [0, 0, 1, 2]
    assert labels[subset(labels, 8, 0)].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_a_digest_by_hand():
    raw = bytes([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    assert digest(torch.tensor([1, 256])) == hashlib.sha256(raw).hexdigest()


def test_a_dataset_is_frozen():
    data = Dataset(info(), split(), split())
    with pytest.raises(AttributeError):
        data.train = split()


@pytest.mark.parametrize("name", ["scale", "std"])
def test_facts_that_no_float32_can_divide_by_are_refused(name):
    given = {"spec": "x", "shape": (1,), "classes": ("a",), "mean": (0.0,), "std": (1.0,)}
    tiny = 1e-320 if name == "scale" else (1e-320,)
    with pytest.raises(ValueError, match=rf"{name}(.|\n)*1e-30"):
        DataInfo(**given | {name: tiny})
