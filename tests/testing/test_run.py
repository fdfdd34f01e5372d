"""How laws are asked: by name, by object, on the command line."""

import sys

import pytest

from snnconv.errors import CheckFailedError, ExitCode, UsageError
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF
from snnconv.testing import check, check_neuron, laws
from snnconv.testing.__main__ import main
from snnconv.testing.base import variants

OWN = """
from snnconv.neurons.if_ import IF, State


class Sound(IF):
    pass


class Leaky(IF):
    def step(self, current, state, keep):
        return super().step(current, State(0.75 * state.potential), keep)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_law_is_a_test_with_a_name():
    names = [str(law) for law in laws("if")]
    assert "samples do not see each other [v0=0]" in names
    assert "samples do not see each other" in names
    assert len(names) == len(set(names))


def test_a_neuron_of_a_file(own, capsys):
    check_neuron("own.py:Sound")
    with pytest.raises(CheckFailedError, match="what a membrane is given") as caught:
        check("own.py:Leaky")
    assert caught.value.code == ExitCode.CHECK_FAILED
    assert main(["own.py:Sound"]) == ExitCode.DONE
    printed = capsys.readouterr().out
    assert "  holds     samples do not see each other\n" in printed
    assert "BROKEN" not in printed
    assert main(["--kind", "neurons", "own.py:Leaky"]) == ExitCode.CHECK_FAILED
    printed = capsys.readouterr()
    assert "  BROKEN    what a membrane is given it keeps or puts out\n" in printed.out
    assert "Charge is conserved" in printed.out
    assert "laws broken" in printed.err
    assert sorted(path.name for path in own.iterdir() if path.name != "__pycache__") == ["own.py"]


def test_what_can_not_be_asked_is_said(capsys):
    assert main(["lm-ht", "--kind", "neurons"]) == ExitCode.DONE
    assert "left out  chunks of time change nothing: it must be given all" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("mspat", None, "msat"),
        ("own.py:nothing", None, "nothing of that name"),
        ("own.py:State", None, "no neuron: "),
        ("own.py:Sound", "metrics", "no metric: "),
        ("if", "corals", "metrics, neurons, norms, statistics"),
        ("absent.py:X", None, "no such file"),
    ],
)
def test_what_has_no_laws(own, name, kind, found):
    with pytest.raises(UsageError, match=found):
        laws(name, kind)


def test_an_error_of_the_command_has_no_traceback(own, capsys):
    assert main(["own.py:nothing"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_without_hypothesis_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "snnconv.testing.neurons")
    with pytest.raises(UsageError, match=r"pip install 'snnconv\[testing\]'"):
        laws("if")


def test_settings_are_examples_or_each_alternative_alone():
    class Own(IF.params_type):
        examples = ()
        leak: bool = False

    assert variants(Own) == [{}, {"leak": True}]
    assert variants(IF.params_type) == [{}, {"v0": 0}]
    assert {"omega": "identity", "levels": 1, "v0": 0} in variants(
        NEURONS.load("lm-ht").params_type
    )
