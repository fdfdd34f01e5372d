import sys

import pytest

import snnconv.core.registry
from snnconv.core.registry import Room, did_you_mean
from snnconv.errors import ExitCode, UsageError


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A room of the package, in a package of its own."""
    folder = tmp_path / "snnconv" / "drinks"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "_cups.py").write_text("raise AssertionError('a helper is no method')\n")
    (folder / "green_tea.py").write_text('"""Leaves,\n\nin water."""\n\nDRINK = "tea"\n')
    (folder / "with_.py").write_text('r"""Company."""\nDRINK = "with"\n')
    (folder / "silent.py").write_text("DRINK = None\n")
    (folder / "notes.txt").write_text("no method")
    monkeypatch.setattr(
        snnconv.core.registry, "__file__", str(folder.parent / "core" / "registry.py")
    )
    monkeypatch.setattr(sys.modules["snnconv"], "__path__", [str(folder.parent)])
    yield Room[str]("drinks", "drink", "DRINK")
    for name in [name for name in sys.modules if name.startswith("snnconv.drinks")]:
        del sys.modules[name]


def test_names_are_file_names(room):
    assert room.names() == ["green-tea", "silent", "with"]


def test_listing_imports_nothing(room):
    for name in room.names():
        room.summary(name)
    assert not [name for name in sys.modules if name.startswith("snnconv.drinks")]


def test_a_method_is_loaded_by_its_name(room):
    assert room.load("green-tea") == "tea"
    assert room.load("with") == "with"
    assert "snnconv.drinks._cups" not in sys.modules


def test_summaries_are_first_lines(room):
    assert [room.summary(name) for name in room.names()] == ["Leaves,", "", "Company."]


@pytest.mark.parametrize("verb", ["load", "summary"])
@pytest.mark.parametrize("name", ["green-teas", "green_tea", "with_", "_cups", "", "../plugins"])
def test_an_unknown_name(room, verb, name):
    with pytest.raises(UsageError, match="there is no drink of that name") as caught:
        getattr(room, verb)(name)
    assert caught.value.code == ExitCode.USAGE
    assert caught.value.found == f"'{name}'"
    assert "green-tea, silent, with" in caught.value.remedy


def test_a_typo_finds_its_name():
    assert did_you_mean("vgg61", ["vgg16", "mlp"]) == "did you mean 'vgg16'? (one of: mlp, vgg16)"


def test_a_stranger_finds_the_list():
    assert did_you_mean("transformer", ["vgg16", "mlp"]) == "use one of: mlp, vgg16"
    assert did_you_mean("vgg16", []) == "there is none to choose from"
