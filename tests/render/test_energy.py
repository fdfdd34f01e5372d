"""The honest pair of energies, and what is never said."""

import pytest
from helpers import examples
from helpers.pages import html

from snnconv.render.describe.evaluation import evaluate
from snnconv.render.energy import as_accurate, pair, parts, sentence, star, twin_wins
from snnconv.render.markdown import markdown
from snnconv.reports import Difference


def run(spiking=0.95, twin=0.95, ratio=1.5, p=None, **changes):
    """A run of 360 samples whose twin has this accuracy, and whose energy is this share of it."""
    test = None if p is None else Difference(only_this_right=9, only_other_right=1, p=p)
    return examples.evaluation(
        T=1,
        accuracy=[spiking],
        twin_accuracy=twin,
        against_twin=test,
        energy_twin_ratio=ratio,
        energy_total_ratio=0.2,
        **changes,
    )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"twin": 0.97}, True),
        ({"twin": 0.94, "p": 0.3}, True),
        ({"twin": 0.90, "p": 0.01}, False),
        ({"twin": 0.94}, True),  # without a test: their intervals overlap
        ({"twin": 0.50}, False),
        ({"twin": None}, None),
    ],
)
def test_the_twin_is_as_accurate_within_chance(changes, same):
    assert as_accurate(run(**changes)) is same
    assert twin_wins(run(**changes)) is (same is True)
    assert not twin_wins(run(**changes, ratio=0.9))
    assert not twin_wins(run(**changes, ratio=None))


def test_the_pair():
    first, second = pair(run())
    assert (first.value, first.remark) == ("20.00%", "operations alone")
    assert second.value == "150.00%"
    assert second.remark == (
        "twin of 1 bit, 95.00% accurate; the twin is as accurate within chance, and cheaper"
    )
    better = Difference(only_this_right=1, only_other_right=9, p=0.02)
    won = run(spiking=0.93).model_copy(update={"against_twin": better})
    assert pair(won)[1].remark.endswith("the twin is more accurate and cheaper")
    assert pair(run(ratio=0.5))[1].remark.endswith("the spiking network is cheaper")
    assert pair(run(twin=0.5))[1].remark.endswith("the twin is less accurate")
    assert len(pair(run(ratio=None))) == 1
    names = [fact.name for fact in evaluate(run())[0].items]
    assert names.index("energy / float32 ANN's") + 1 == names.index("energy / quantized twin's")


def test_the_sentence_says_both():
    said = sentence(run())
    assert "20.00% of its float32 ANN's energy by operations alone" in said
    assert said.endswith("150.00% of the energy of its quantized twin (1 bit, 95.00% accurate)")
    assert "twin" not in sentence(run(ratio=None))
    assert sentence(run(energy_total_mj=None)) == ""


CHEAPER = "cheaper than the"


@pytest.mark.parametrize(
    "losing", [[run()], [run(), run(ratio=0.5)], [run(twin=0.97), run(twin=0.94, p=0.2)]]
)
def test_cheaper_than_the_ann_is_never_said_where_a_twin_wins(losing):
    pages = [html(losing), markdown(losing), star(losing), *map(sentence, losing)]
    for page in pages:
        assert CHEAPER not in page
    assert "as accurate within chance, and cheaper" in pages[0]


def test_cheaper_is_said_where_no_twin_wins():
    runs = [run(ratio=0.5), run(twin=0.5)]
    assert CHEAPER in star(runs)
    assert CHEAPER in html(runs)
    assert "were not measured" in star([run(ratio=None)])


def test_the_twins_that_win_are_counted():
    assert "its quantized twin is as accurate" in star([run()])
    assert "1 of 2 runs' quantized twins is as accurate" in star([run(), run(ratio=0.5)])
    assert "2 of 2 runs' quantized twins are as accurate" in star([run(), run()])


def test_under_a_hundred_samples_no_sentence_judges():
    page = html([run(samples=99)])
    assert "which is" not in page
    assert pair(run(samples=99))[1].remark == "twin of 1 bit, 95.00% accurate"


def test_parts_of_an_energy():
    assert parts({"weights": 3.0, "inout": 0.99, "operations": 0.01}) == (
        "weights 75%, events in and out 25%"
    )
    assert parts(None) == parts({"weights": 0.0}) == ""
