"""Presets: each of the package can be planned, and what is wrong with a user's is said."""

import pytest

from snnconv.comparison import grid
from snnconv.config import STAGES, CompareConfig
from snnconv.config.presets import CONVERSIONS
from snnconv.errors import UsageError


def test_the_room():
    assert CONVERSIONS.names() == [
        "burst",
        "calibration-light",
        "calibration-potential",
        "calibration-weights",
        "cos",
        "differential",
        "ftbc",
        "lm-ht-uniform",
        "ltb",
        "ltl",
        "msat",
        "msat-confidence",
        "opt",
        "parallel",
        "parallel-da",
        "percentile",
        "qcfs-free",
        "rmp",
        "signed",
        "signed-4",
        "signed-fine",
        "snm",
        "srp",
        "tpp",
    ]


@pytest.mark.parametrize("name", CONVERSIONS.names())
def test_a_preset_says_where_it_comes_from_and_can_be_planned(name):
    preset = CONVERSIONS.load(name)
    assert preset.title
    assert preset.reference
    assert preset.deviations
    plan = grid.plan(CompareConfig(), name, preset, 4)
    assert [stage for stage, _ in plan][:2] == ["calibrate", "convert"]
    assert plan[-1][0] == "evaluate"
    for stage, config in plan:
        assert isinstance(config, STAGES[stage])
    assert plan[1][1].timesteps == 4


def test_all_is_every_preset():
    assert list(CONVERSIONS.chosen(("all",))) == CONVERSIONS.names()
    assert list(CONVERSIONS.chosen(("SIGNED", "all"))) == [
        "signed",
        *(n for n in CONVERSIONS.names() if n != "signed"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = 'x'\nreference = 'y'\n[convert]\nneuron = 'if'\n[convrt]\n", "convrt"),
        ("title = 'x'\n", "reference"),
        ("title = ", "Invalid value"),
        ("title = 'x'\nreference = 'y'\n[convert]\nneuron = 'if'\nstepz = 4\n", "stepz"),
    ],
)
def test_a_faulty_file(tmp_path, text, said):
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        grid.plan(CompareConfig(), "own", CONVERSIONS.load(str(file)), 4)
    assert said in str(caught.value)


def test_names_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="signed"):
        CONVERSIONS.load("singed")
    with pytest.raises(UsageError, match="can't be read"):
        CONVERSIONS.load(str(tmp_path / "none.toml"))
    file = tmp_path / "signed.toml"
    file.write_text("title = 'x'\nreference = 'y'\n")
    with pytest.raises(UsageError, match="one name"):
        CONVERSIONS.chosen(("signed", str(file)))
