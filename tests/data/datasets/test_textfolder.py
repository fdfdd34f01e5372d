"""Texts in class folders, and what all text data sets share."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import snnconv
from snnconv.checkpoint import load as load_checkpoint
from snnconv.data.dataset import load_dataset
from snnconv.data.datasets._text import Text
from snnconv.data.datasets.textfolder import divided
from snnconv.errors import UnsupportedError, UsageError

TRAIN = {"cats": ["a cat, a CAT!", "the cat's tail"], "dogs": ["a dog", "the dog isn't a cat"]}
TEST = {"cats": ["one cat"], "dogs": ["a dog's dog"]}


def lay(folder, classes):
    for name, texts in classes.items():
        for k, text in enumerate(texts):
            file = Path(folder, name, f"{k}.txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode() if isinstance(text, str) else text)


def parts():
    lay("sets/train", TRAIN)
    lay("sets/test", TEST)


def words(data, split):
    """Samples as text again, padding as dots."""
    known = (".", "?", *data.info.vocabulary)
    rows = split.images(torch.arange(len(split.labels)))
    return [" ".join(known[int(token)] for token in row) for row in rows]


def test_facts_and_samples():
    parts()
    data = load_dataset("textfolder:sets?length=4")
    assert data.info.spec == "textfolder:sets?length=4"
    assert data.info.shape == (4,)
    assert data.info.classes == ("cats", "dogs")
    assert (data.info.mean, data.info.std) == ((0,), (1,))
    # by how often, then by the alphabet; 'cat' of the last training text is cut off
    assert data.info.vocabulary == ("a", "cat", "dog", "the", "cat's", "isn't", "tail")
    assert data.info.tokens == 9
    train = ["a cat a cat", "a dog . .", "the cat's tail .", "the dog isn't a"]
    assert words(data, data.train) == train
    assert words(data, data.test) == ["? cat . .", "a ? dog ."]
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    assert data.test.labels.tolist() == [0, 1]
    rows = data.train.images(torch.tensor([1]))
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[2, 4, 0, 0]]


def test_the_vocabulary_has_the_most_frequent_words():
    parts()
    data = load_dataset("textfolder:sets?length=4&words=2")
    assert data.info.vocabulary == ("a", "cat")
    assert words(data, data.train)[1] == "a ? . ."


def test_the_vocabulary_of_a_network_is_taken_where_there_is_one():
    parts()
    data = load_dataset("textfolder:sets?length=4&words=1", vocabulary=("dog", "one"))
    assert data.info.vocabulary == ("dog", "one")
    assert words(data, data.test) == ["one ? . .", "? ? dog ."]


def test_defaults_and_the_root():
    parts()
    data = load_dataset("textfolder:sets", Path())
    assert data.info.shape == (64,)
    assert data.info.tokens == 9


@pytest.mark.parametrize("name", [".hidden.txt", "notes.md"])
def test_other_files_are_passed_over(name):
    parts()
    Path("sets/train/cats", name).write_bytes(b"\xff")
    Path("sets/train/.git").mkdir()
    assert len(load_dataset("textfolder:sets").train.labels) == 4


# Without parts


def test_a_fifth_is_for_tests():
    lay("sets", {"a": [f"red {k}" for k in range(20)], "b": [f"blue {k}" for k in range(10)]})
    data = load_dataset("textfolder:sets")
    assert data.test.labels.bincount().tolist() == [4, 2]
    assert data.train.labels.bincount().tolist() == [16, 8]
    assert sorted(words(data, data.test)) == sorted(
        words(load_dataset("textfolder:sets"), data.test)
    )


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=25), min_size=1, max_size=3))
def test_equal_texts_are_on_one_side(classes):
    texts = [Text((str(k),), label) for label, own in enumerate(classes) for k in own]
    train, test = divided(texts)
    assert not {text.words for text in train} & {text.words for text in test}
    assert sorted(map(repr, train + test)) == sorted(map(repr, texts))
    # the first class is never moved by another: a fifth of its different texts, rounded down
    assert len({t.words for t in test if t.label == 0}) == len(set(classes[0])) // 5
    assert divided(texts) == (train, test)


def test_a_file_s_name_is_nothing_to_the_split():
    texts = [Text((str(k),), 0) for k in range(30)]
    sides = [set(part) for part in divided(texts)]
    assert [set(part) for part in divided(texts[::-1])] == sides


# What can't be used


@pytest.mark.parametrize(
    ("make", "problem", "found"),
    [
        (lambda: None, "there are no texts in sets", "no such folder"),
        (lambda: Path("sets").mkdir(), "there are no texts in sets", "no folder of a class in it"),
        (lambda: lay("sets/test", TEST), "there is no data set in sets", "test/, and no train/"),
        (lambda: lay("sets/train", TRAIN), "there is no data set in sets", "train/, and no test/"),
    ],
)
def test_no_texts(make, problem, found):
    make()
    with pytest.raises(UsageError) as caught:
        load_dataset("textfolder:sets")
    assert (caught.value.problem, caught.value.found) == (problem, found)
    assert "DIR/train/CLASS/*.txt" in caught.value.remedy


def without_texts():
    parts()
    for part in ("train", "test"):
        Path(f"sets/{part}/birds").mkdir()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (without_texts, "sets/train can't be used\n  found: no .txt file for: birds"),
        (lambda: (parts(), lay("sets/test", {"owls": ["hu"]})), "found: only in test/: owls"),
        (lambda: lay("sets", {"a": ["x"], "b": ["y"]}), "too few to divide"),
        (lambda: (parts(), lay("sets/train", {"cats": [b"\xff"]})), "cats/0.txt can't be read as"),
        (lambda: (parts(), lay("sets/train", {"cats": ["... !"]})), "found: no word in it"),
        (lambda: (parts(), lay("sets/train", {"cats": [""]})), "cats/0.txt can't be read as text"),
        (lambda: (parts(), Path("sets/train/cats/z.txt").mkdir()), "cats/z.txt can't be read as"),
    ],
)
def test_what_can_not_be_used_is_named(make, text):
    make()
    with pytest.raises(UnsupportedError) as caught:
        load_dataset("textfolder:sets")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("textfolder", "needs a path\n.*\n.*textfolder:DIR"),
        ("textfolder:sets?long=3", "no such option\n  found: 'long'\n  next:  .*length"),
        ("textfolder:sets?length=0", "the length of texts can't be used\n  found: '0'"),
        (
            "textfolder:sets?words=many",
            "the vocabulary can't be used\n  found: 'many'",
        ),
        ("textfolder:sets?words=5&length=x", "textfolder:DIR\\?length=64"),
    ],
)
def test_specs_that_can_not_be_taken(spec, text):
    parts()
    with pytest.raises(UsageError, match=text):
        load_dataset(spec)


# To spikes


@pytest.fixture
def trained():
    """Two classes by one word each, and a network that was trained a little."""
    rows = {
        name: [f"the {word} number{k} is here" for k in range(20)]
        for name, word in {"a": "red", "b": "blue"}.items()
    }
    lay("sets", rows)
    model = "lstm?embedding=8&hidden=8&layers=1"
    options = {"data": "textfolder:sets?length=5", "lr": 0.5, "batch_size": 8, "validation": 0.2}
    return snnconv.train(model, epochs=12, run="out", **options)


def test_from_texts_to_spikes(trained):
    assert trained.accuracy == 1
    with pytest.raises(
        UnsupportedError, match=r"'lstm', which no neuron.*\n.*--non-relu analog.*--recurrent hard"
    ):
        snnconv.calibrate(run="out")
    snnconv.calibrate(run="out", non_relu="analog")
    report = snnconv.convert(neuron="if", timesteps=32, run="out")
    assert report.analog == ["recurrent"]
    assert 0.9 < report.non_spiking_share < 1
    assert snnconv.evaluate(run="out").accuracy[-1] == 1


def test_with_hard_gates(trained):
    options = {"recurrent": "hard", "data": "textfolder:sets?length=5", "epochs": 2, "lr": 0.05}
    hard = snnconv.train("out/ann.safetensors", run="hard", **options)
    assert hard.accuracy == 1
    assert load_checkpoint(Path("hard/ann.safetensors")).data.vocabulary
    snnconv.calibrate(run="hard", non_relu="analog", method="max")
    report = snnconv.convert(neuron="if", timesteps=64, run="hard")
    assert report.sites_converted == 1 + 2 * 5 * 3
    assert report.non_spiking_share == 0  # what is left are products of gates and states
    found = snnconv.evaluate(run="hard", metric=("accuracy", "synops"))
    assert found.accuracy[-1] == found.ann_accuracy == 1
    with pytest.raises(UnsupportedError, match=r"no LSTM or GRU(.|\n)*drop --recurrent"):
        snnconv.train("hard/ann.safetensors", run="again", **options)


def test_a_network_reads_other_texts_by_its_own_words(trained):
    """Other texts of the same two words, and others before them: their own numbers would differ."""
    lay("others/train", {"a": ["z z z z blue"], "b": ["z z z z red"]})
    lay("others/test", {"a": ["the red x is here"] * 3, "b": ["the blue x is here"] * 3})
    snnconv.calibrate(run="out", non_relu="analog")
    snnconv.convert(timesteps=32, run="out")
    found = snnconv.evaluate(run="out", data="textfolder:others?length=5")
    assert found.ann_accuracy == 1
    with pytest.raises(UnsupportedError, match=r"vocabulary of 0, where the network has \d+"):
        snnconv.evaluate(run="out", data="digits")
