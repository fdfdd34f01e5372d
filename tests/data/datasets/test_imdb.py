from pathlib import Path

import pytest
import torch

from snnconv.data.dataset import load_dataset
from snnconv.errors import UnsupportedError, UsageError

REVIEWS = {
    "train/pos": ["Great.<br /><br />Really great", "fine", "fine film"],
    "train/neg": ["bad", "bad film"],
    "train/unsup": ["unseen"],
    "test/pos": ["great film"],
    "test/neg": ["Bad, unseen"],
}


def lay(reviews):
    for place, texts in reviews.items():
        Path("aclImdb", place).mkdir(parents=True)
        for k, text in enumerate(texts):
            Path("aclImdb", place, f"{k}_7.txt").write_text(text)


def test_facts_and_samples():
    lay(REVIEWS)
    data = load_dataset("imdb:aclImdb?length=3")
    assert data.info.classes == ("neg", "pos")
    assert data.info.vocabulary == ("bad", "film", "fine", "great", "really")
    assert data.info.spec == "imdb:aclImdb?length=3"
    assert data.train.labels.tolist() == [0, 1, 0, 1, 1]  # in turn, as far as there are both
    assert data.train.images(torch.arange(5)).tolist() == [
        [2, 0, 0],
        [5, 6, 5],
        [2, 3, 0],
        [4, 0, 0],
        [4, 3, 0],
    ]
    assert data.test.images(torch.arange(2)).tolist() == [[2, 1, 0], [5, 3, 0]]


def test_what_is_missing_is_named():
    with pytest.raises(UsageError, match="no film reviews in aclImdb\n  found: no such folder"):
        load_dataset("imdb:aclImdb")
    lay({"train/pos": ["x"], "train/neg": [], "test/pos": ["y"]})
    with pytest.raises(UsageError) as caught:
        load_dataset("imdb:aclImdb")
    assert caught.value.found == "no .txt file in train/neg, test/neg"
    assert "aclImdb_v1.tar.gz" in caught.value.remedy


def test_what_can_not_be_taken():
    lay(REVIEWS)
    with pytest.raises(UsageError, match="data set 'imdb' has no such option\n  found: 'len'"):
        load_dataset("imdb:aclImdb?len=3")
    Path("aclImdb/test/pos/0_7.txt").write_bytes(b"\xff")
    with pytest.raises(UnsupportedError, match=r"aclImdb/test/pos/0_7\.txt can't be read as text"):
        load_dataset("imdb:aclImdb")
