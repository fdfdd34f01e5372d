"""What Python programs give as data: every kind gives the samples and labels that it holds."""

from itertools import islice, repeat

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data import Dataset as TorchDataset

import snnconv
from snnconv.data.dataset import batches, load_dataset
from snnconv.data.layout import Form
from snnconv.data.objects import loaders
from snnconv.data.objects.held import hold, part_of
from snnconv.data.split import count
from snnconv.errors import SnnconvError, UnsupportedError, UsageError
from snnconv.testing import laws

N = 12
X = torch.rand(N, 2, 3, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3
ALL = torch.arange(N)


class Plain(TorchDataset):
    """Pairs by index; the label behind a ``target_transform``."""

    classes = ("ant", "bee", "cicada")

    def __init__(self, targets=None, read=None):
        self.targets, self.read = targets, read

    def __len__(self):
        return N

    def __getitem__(self, index):
        if self.read is not None:
            self.read.append(index)
        return X[index].numpy(), int(Y[index])


class Stream(IterableDataset):
    def __init__(self, n=N, promised=None):
        self.n, self.promised = n, promised

    def __iter__(self):
        return iter([(X[k], Y[k]) for k in range(self.n)])


class Sized(Stream):
    def __len__(self):
        return self.promised


def batched(*arrays, size=5):
    return [tuple(a[k : k + size] for a in arrays) for k in range(0, N, size)]


KINDS = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy().astype(np.uint16)),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "a list of both": lambda: [X, Y],
    "mapping": lambda: {"x": X, "y": Y},
    "Dataset": Plain,
    "Dataset with targets": lambda: Plain(Y.tolist()),
    "Dataset with other targets": lambda: Plain((Y + 1).tolist()),
    "TensorDataset": lambda: TensorDataset(X, Y),
    "Subset": lambda: Subset(TensorDataset(torch.cat([X, X]), torch.cat([Y, Y])), range(N, 2 * N)),
    "ConcatDataset": lambda: ConcatDataset(
        [TensorDataset(X[:5], Y[:5]), TensorDataset(X[5:], Y[5:])]
    ),
    "DataLoader": lambda: DataLoader(TensorDataset(X, Y), batch_size=5),
    "DataLoader that shuffles": lambda: DataLoader(
        TensorDataset(X, Y), batch_size=5, shuffle=True, drop_last=True
    ),
    "DataLoader without batches": lambda: DataLoader(TensorDataset(X, Y), batch_size=None),
    "DataLoader of a stream": lambda: DataLoader(Stream(), batch_size=5),
    "IterableDataset": Stream,
    "batches": lambda: batched(X, Y),
    "a generator": lambda: iter(batched(X.numpy(), Y.numpy())),
    "mappings": lambda: [{"image": x, "label": y} for x, y in batched(X, Y)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_and_labels_are_those_of_the_object(kind):
    before = torch.get_rng_state()
    data = load_dataset(hold(KINDS[kind]()))
    assert torch.equal(torch.get_rng_state(), before)
    assert data.train is data.test
    assert torch.equal(data.train.labels, Y)
    assert torch.equal(data.train.images(ALL.flip(0)), X.flip(0))
    named = kind.startswith("Dataset")
    assert data.info.classes == (Plain.classes if named else ("0", "1", "2"))
    ((_, x, _),) = batches(data.train, data.info, ALL, N)
    assert torch.equal(x, X)  # as a network takes them
    assert bool(data.notes) is (kind == "DataLoader that shuffles")


@pytest.mark.parametrize("data", [X, X.numpy(), TensorDataset(X), [X[:5], X[5:]]])
def test_without_labels(data):
    split = load_dataset(hold(data)).train
    assert split.labels is None
    assert count(split) == N
    assert torch.equal(split.images(ALL), X)


@pytest.mark.parametrize(
    "y", [torch.rand(N), torch.rand(N, 2).double(), torch.rand(N, 3, 4) > 0.5, Y[:, None].int()]
)
def test_labels_of_any_shape(y):
    for data in ((X, y), TensorDataset(X, y), batched(X, y)):
        made = load_dataset(hold(data), task="regression")
        assert torch.equal(
            made.train.labels, y.float() if y.is_floating_point() else y.to(made.train.labels.dtype)
        )
        assert made.info.classes == ()


def test_equal_data_have_one_name_and_others_have_another():
    assert hold((X, Y)) == hold((X.clone(), Y.clone()))
    names = {hold(data) for data in ((X, Y), (X + 1, Y), (X, Y + 1), (X[:-1], Y[:-1]), X)}
    assert len(names) == 5


def test_two_splits():
    data = load_dataset(hold({"train": (X, Y), "val": Plain(), "test": (X[:5], Y[:5])}))
    assert (count(data.train), count(data.test)) == (N, 5)
    with pytest.raises(UsageError, match=r"a mapping of 'a'"):
        hold({"a": X})


def test_a_dataset_of_snnconv_is_taken_as_it_is():
    info = snnconv.DataInfo(
        spec="own", shape=(2, 3, 4), classes=("a", "b", "c"), mean=(0.5,), std=(2,)
    )
    part = snnconv.ArraySplit(X, Y, 1.0)
    data = load_dataset(hold(snnconv.Dataset(info, part, part)))
    assert data.info.mean == (0.5,)
    assert data.train is part


def test_bytes_are_pixels():
    pixels = (X[:, 0] * 255).to(torch.uint8)
    data = load_dataset(hold((pixels, Y)))
    assert data.info.shape == (1, 3, 4)
    assert torch.equal(data.train.images(ALL), pixels[:, None] / 255)


def test_whole_numbers_are_tokens():
    data = load_dataset(hold((Y[:, None].expand(N, 5) + 4, Y)))
    assert (data.info.shape, data.info.tokens) == ((5,), 7)
    with pytest.raises(UnsupportedError, match="neither pixels nor token numbers"):
        load_dataset(hold((Y[:, None, None].expand(N, 5, 5), Y)))


def test_layout_and_size():
    last = X.permute(0, 2, 3, 1)
    data = load_dataset(hold((last, Y)), form=Form("NHWC"))
    assert torch.equal(data.train.images(ALL), X)
    assert data.info.layout == "NHWC"
    data = load_dataset(hold((X, Y)), form=Form(size=2))
    assert (data.info.shape, data.info.size) == ((2, 2, 2), 2)
    assert data.train.images(ALL).shape == (N, 2, 2, 2)
    square = torch.zeros(N, 8, 8, 3)
    with pytest.raises(UnsupportedError, match="layout='NHWC'"):
        load_dataset(hold((square, Y)))
    with pytest.raises(UsageError, match="there is no layout of that name"):
        load_dataset(hold((X, Y)), form=Form("CWX"))


def test_samples_are_read_when_they_are_needed():
    read = []
    data = load_dataset(hold(Plain(Y.tolist(), read)))
    assert set(read) <= set(torch.linspace(0, N - 1, 8).long().tolist()) | {N // 2}
    read.clear()
    data.train.images(torch.tensor([3, 8]))
    assert read == [3, 8]


def test_a_sampler_that_draws_again_and_again():
    drawn = WeightedRandomSampler([1.0] * 3 + [0.0] * (N - 3), 50)
    part = part_of(DataLoader(TensorDataset(X, Y), sampler=drawn))
    assert len(part) == 3
    assert "its samples are taken by their indices, each once" in part.note


def test_a_stream_that_ends_early_is_told():
    part = part_of(Sized(5, promised=9))
    assert len(part) == 5
    assert part.note == "the data ended after 5 of 9 samples"
    part = part_of(DataLoader(Sized(5, promised=9), batch_size=2))
    assert part.note == "the data ended after 3 of 5 batches"


def test_a_stream_that_does_not_end(monkeypatch):
    monkeypatch.setattr(loaders, "free_memory", lambda: 4 * X.nbytes)
    with pytest.raises(UnsupportedError, match="batches that have not ended after 3") as caught:
        part_of(repeat((X, Y)))
    assert "itertools.islice" in caught.value.remedy
    assert len(part_of(islice(repeat((X, Y)), 2))) == 2 * N


class Broken(TorchDataset):
    def __init__(self, item, length=3):
        self.item, self.length = item, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.item(index)


class Endless(TorchDataset):
    def __getitem__(self, index):
        return X[0], 0


NAN = X.clone()
NAN[3, 0, 1, 1] = torch.nan


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: 3, "a int"),
        (lambda: [], "no samples"),
        (lambda: (X, Y[:5]), "12 samples in x and 5 labels in y"),
        (lambda: (X[:, 0, 0, 0], Y), r"x of shape \[12\]"),
        (lambda: (NAN, Y), "NaN or Inf in 1 samples of x, the first at index 3"),
        (lambda: np.array([[1, 2], [3]], dtype=object), "x of Python objects"),
        (lambda: (X, ["ant"] * N), "labels of a str"),
        (lambda: (X, None, 3)[2], "a int"),
        (lambda: (X, torch.ones(N, dtype=torch.complex64)), "labels of type complex64"),
        (lambda: X.to(torch.complex64), "x of type complex64"),
        (Endless, "a Endless without a length"),
        (lambda: Broken(lambda k: 1 / k), "sample 0 can't be read: ZeroDivisionError"),
        (lambda: Broken(lambda k: ("text", 0)), "sample 0 of a str"),
        (lambda: Broken(lambda k: {"a": X[0], "b": X[0]}), "samples of 'a', 'b', none of which"),
        (lambda: Broken(lambda k: (X[0], torch.zeros(k + 1))), r"labels of shape \[1\] and, at "),
        (lambda: Broken(lambda k: ()), "an empty tuple"),
        (lambda: Broken(lambda k: (X[0, : k + 1], k)), r"shape \[1, 3, 4\] and, at index 1, \[2"),
        (lambda: Broken(lambda k: (X[0], k), 0), "no samples"),
        (
            lambda: [(X, Y), (X[:, 0], Y)],
            r"batches of samples of shape \[2, 3, 4\] and, at index 1",
        ),
        (lambda: [(X, Y), (X,)], "some have labels"),
        (lambda: [(X, Y[:3])], "12 samples and 3 labels in batch 0"),
        (lambda: (1 / (2 - k) * X for k in range(3)), "broke off after 2 batches: ZeroDivision"),
    ],
)
def test_what_is_refused(make, found):
    with pytest.raises(SnnconvError, match=found) as caught:
        data = load_dataset(hold(make()))
        list(batches(data.train, data.info, torch.arange(count(data.train)), 5))
    assert caught.value.remedy


def test_in_another_process_the_name_is_nothing():
    with pytest.raises(UsageError, match="given to a function in another Python process"):
        load_dataset("python:tuple-000000000000")


@pytest.mark.parametrize("kind", ["tensors", "Dataset", "DataLoader that shuffles"])
def test_the_laws_of_data_sets_hold(kind):
    spec = hold(KINDS[kind]())
    for case in laws(spec, "datasets"):
        case()


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Streamed:
    """What snnconv uses of Hugging Face's ``IterableDataset``."""

    __module__ = "datasets.iterable_dataset"

    def __init__(self, columns, features):
        self.columns, self.features = columns, features
        self.column_names = list(columns)

    def __iter__(self):
        return (
            dict(zip(self.columns, row, strict=True))
            for row in zip(*self.columns.values(), strict=True)
        )


class Table(Streamed):
    """What snnconv uses of its ``Dataset``, for where the package is not installed."""

    __module__ = "datasets.arrow_dataset"

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: column[key] for name, column in self.columns.items()}

    def to_iterable_dataset(self):
        return Streamed(self.columns, self.features)

    def select(self, rows):
        return Table(
            {name: [c[k] for k in rows] for name, c in self.columns.items()}, self.features
        )

    def remove_columns(self, name):
        return Table({k: c for k, c in self.columns.items() if k != name}, self.features)


@pytest.fixture(scope="module", params=["as the package does", "the package itself"])
def table(request):
    """Twelve images and labels as a data set of Hugging Face's."""
    images = [Image.fromarray((x[0] * 255).byte().numpy()) for x in X]
    columns = {"image": images, "label": Y.tolist()}
    if request.param == "as the package does":
        return Table(columns, {"label": ClassLabel(list(Plain.classes))})
    datasets = pytest.importorskip("datasets", reason="needs the extra: huggingface")
    names = datasets.ClassLabel(names=list(Plain.classes))
    features = datasets.Features({"image": datasets.Image(), "label": names})
    return datasets.Dataset.from_dict(columns, features=features)


def test_a_data_set_of_hugging_face(table):
    for data in (table, table.to_iterable_dataset()):
        made = load_dataset(hold(data))
        assert made.info.classes == Plain.classes
        assert torch.equal(made.train.labels, Y)
        assert torch.equal(made.train.images(ALL) * 255, (X[:, :1] * 255).floor())
    parts = type("DatasetDict", (dict,), {})(train=table, test=table.select(range(5)))
    assert count(load_dataset(hold(parts)).test) == 5
    unlabelled = load_dataset(hold(table.remove_columns("label")))
    assert unlabelled.train.labels is None
