import sys

import pytest

import snnconv.core.registry
from snnconv.core.registry import Registry
from snnconv.errors import ExitCode, UsageError, did_you_mean


@pytest.fixture
def drinks(tmp_path, monkeypatch):
    """A registry of a package of its own."""
    folder = tmp_path / "snnconv" / "drinks"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "_cups.py").write_text("raise AssertionError('a helper is no method')\n")
    (folder / "green_tea.py").write_text('"""Leaves,\n\nin water."""\n\nDRINK = "tea"\n')
    (folder / "with_.py").write_text('r"""Company."""\nDRINK = "with"\n')
    (folder / "silent.py").write_text("DRINK = None\n")
    (folder / "notes.txt").write_text("no method")
    monkeypatch.setattr(snnconv.core.registry, "ROOT", folder.parent)
    monkeypatch.setattr(sys.modules["snnconv"], "__path__", [str(folder.parent)])
    yield Registry[str]("drinks", "drink", "drinks", "DRINK")
    for name in [name for name in sys.modules if name.startswith("snnconv.drinks")]:
        del sys.modules[name]


def test_names_are_file_names(drinks):
    assert drinks.names() == ["green-tea", "silent", "with"]


def test_listing_imports_nothing(drinks):
    for name in drinks.names():
        drinks.summary(name)
    assert not [name for name in sys.modules if name.startswith("snnconv.drinks")]


def test_a_method_is_loaded_by_its_name(drinks):
    assert drinks.load("green-tea") == "tea"
    assert drinks.load("with") == "with"
    assert "snnconv.drinks._cups" not in sys.modules


def test_summaries_are_first_lines(drinks):
    assert [drinks.summary(name) for name in drinks.names()] == ["Leaves,", "", "Company."]


@pytest.mark.parametrize("verb", ["load", "summary"])
@pytest.mark.parametrize("name", ["green-teas", "green_tea", "with_", "_cups", "", "../plugins"])
def test_an_unknown_name(drinks, verb, name):
    with pytest.raises(UsageError, match="there is no drink of that name") as caught:
        getattr(drinks, verb)(name)
    assert caught.value.code == ExitCode.USAGE
    assert caught.value.found == f"'{name}'"
    assert "green-tea, silent, with" in caught.value.remedy


def test_a_typo_finds_its_name():
    assert did_you_mean("vgg61", ["vgg16", "mlp"]) == "did you mean 'vgg16'? (one of: mlp, vgg16)"


def test_a_stranger_finds_the_list():
    assert did_you_mean("transformer", ["vgg16", "mlp"]) == "use one of: mlp, vgg16"
    assert did_you_mean("vgg16", []) == "there is none to choose from"
