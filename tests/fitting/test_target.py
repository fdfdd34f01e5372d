"""Targets as files: each figure has a source, and what is none is refused."""

import pytest

from snnconv.errors import UsageError
from snnconv.fitting.target import FIGURES, TARGETS

HEAD = 'title = "A chip"\n[sources]\npage = "https://example.org"\n'


@pytest.mark.parametrize("name", TARGETS.names())
def test_each_figure_of_the_package_has_a_source(name):
    chip = TARGETS.load(name)
    assert chip.figures
    assert {figure.source for figure in chip.figures.values()} == set(chip.sources)
    assert all("http" in each or "this package" in each for each in chip.sources.values())
    assert chip.title in TARGETS.titles().values()


def test_every_figure_says_what_it_is():
    from snnconv.fitting.target import Target

    assert all(Target.model_fields[name].description for name in FIGURES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + '[wheels]\nvalue = 4\nsource = "page"\n', "wheels"),
        (HEAD + '[cores]\nvalue = 4\nsource = "page"\ncolour = "red"\n', "cores.colour"),
        (HEAD + "[cores]\nvalue = 4\n", "cores.source"),
        (HEAD + '[cores]\nvalue = 4\nsource = "book"\n', "names the source 'book'"),
        (HEAD + '[cores]\nvalue = "many"\nsource = "page"\n', "cores.value"),
        (HEAD + '[cores]\nvalue = -4\nsource = "page"\n', "cores.value"),
        (HEAD + '[cores]\nvalue = true\nsource = "page"\n', "cores.value"),
        (HEAD + '[kernels]\nvalue = [3, 0]\nsource = "page"\n', "kernels.value"),
        (HEAD + '[kernels]\nvalue = []\nsource = "page"\n', "kernels.value"),
        (HEAD + "cores = 4\n", "cores"),
        ('title = "A chip"\n', "sources"),
        (
            HEAD
            + '[weight_memory]\nvalue = [1, 2]\nsource = "page"\n'
            + '[neuron_memory]\nvalue = [1]\nsource = "page"\n',
            "the memories are of [1, 2] cores",
        ),
        ("title = ", "can't be read"),
    ],
)
def test_what_is_no_target_is_refused(tmp_path, text, said):
    file = tmp_path / "chip.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        TARGETS.load(str(file))
    error = caught.value
    assert said in f"{error.problem} {error.found} {error.remedy}"
    assert str(file) in error.problem


def test_an_unknown_name_has_a_remedy():
    with pytest.raises(UsageError, match="there is no target of that name") as caught:
        TARGETS.load("dynapcn")
    assert "dynapcnn" in caught.value.remedy
    with pytest.raises(UsageError, match="can't be read") as caught:
        TARGETS.load("nowhere.toml")
    assert caught.value.found == "No such file or directory"
    assert "check the path, or use one of: akida-1" in caught.value.remedy
