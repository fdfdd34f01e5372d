"""What a terminal, a pipe and a script get."""

import io
import json
import sys

import pytest
from helpers import examples, examples_stages
from pydantic import BaseModel

from snnconv.render.compare import comparison
from snnconv.render.describe import describe
from snnconv.render.terminal import Terminal
from snnconv.reports import ErrorReport, canonical

REPORTS = {
    "train": examples_stages.train,
    "calibrate": examples_stages.calibrate,
    "convert": examples_stages.convert,
    "finetune": examples_stages.finetune,
    "evaluate": examples.evaluation,
    "minimal": examples.minimal,
    "deep": lambda: examples.eight()[4],
    "odd": lambda: examples.odd()[0],
}


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes a colour terminal. Within the test: pytest puts its own stdout in place before it."""

    def make(columns: int = 100, **variables: str) -> Tty:
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name, raising=False)
        settings = {"TERM": "xterm-256color", "COLUMNS": str(columns), **variables}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", Tty())
        return sys.stdout

    return make


@pytest.mark.parametrize("name", REPORTS)
def test_a_pipe_gets_plain_lines(name, capsys):
    Terminal().show(REPORTS[name]())
    out, err = capsys.readouterr()
    assert err == ""
    assert all(c == "\n" or c.isprintable() for c in out)
    assert not any("\u2500" <= c <= "\u259f" for c in out)
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_an_evaluation_is_complete(capsys):
    report = examples.evaluation()
    Terminal().show(report)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    words = {word.strip() for line in lines for word in line}
    assert {"98.89%", "97.2 to 99.6 % at 95 %, n = 360", "first at step 12", "1.84 ms"} <= words
    assert {"against the ANN", "0.00 points"} <= words
    assert {"611 MiB", "14.3 uJ", "spikes per neuron and step", "synaptic operations"} <= words
    assert {f"conv{i}.relu" for i in (1, 2, 3, 4)} <= words
    assert {"1", "2", "4", "8", "16", "32"} <= words


def test_wide_tables_are_not_cut(capsys):
    Terminal().show(examples.eight()[0])
    Terminal().show_blocks([comparison(examples.eight())])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("features.39.block.act") for line in lines)
    assert max(map(len, lines)) > 130
    assert sum(line.startswith("resnet34 on CIFAR-100, neuron") for line in lines) == 8


def test_long_lists_are_not_dumped(capsys):
    Terminal().show(examples_stages.train(200))
    out = capsys.readouterr().out
    assert "192 epochs in between are in the report's file" in out
    assert len(out.splitlines()) < 25


def test_the_kept_epoch_is_always_shown(capsys):
    report = examples_stages.finetune(n=100).model_copy(update={"epoch_best": 50})
    Terminal().show(report)
    out = capsys.readouterr().out
    assert "\n   50  " in out
    assert "* kept" in out


def test_a_comparison_has_a_row_per_run(capsys):
    Terminal().show_blocks([comparison(examples.three())])
    out = capsys.readouterr().out
    head = next(line for line in out.splitlines() if line.startswith("run"))
    bounds = ["95", "%"]
    steps = ["t=2", "t=4", "t=8", "t=16", "t=32"]
    accuracies = ["ANN", "ANN", *bounds, *steps, "at", "T", *bounds]
    assert head.split() == ["run", "T", "n", *accuracies, "rate", "SOPs", "energy", "of", "twin's"]
    assert "8.09 uJ (56.8%)" in out
    assert "* best" in out


def test_json_is_alone_on_stdout(capsys):
    report = examples.evaluation()
    terminal = Terminal(as_json=True)
    terminal.say("working")
    terminal.show(report)
    terminal.show_blocks([comparison([report])])
    out, err = capsys.readouterr()
    assert out == canonical(report)
    assert json.loads(out)["label"] == "cnn, if"
    assert "working" in err
    assert "Comparison" in err


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("name", REPORTS)
def test_a_terminal_gets_a_table_that_fits(name, width, terminal):
    tty = terminal(width)
    Terminal().show(REPORTS[name]())
    lines = tty.getvalue().splitlines()
    assert "\x1b[1m" in tty.getvalue()
    assert max(len(_bare(line)) for line in lines) <= width
    assert "\u2026" not in tty.getvalue()


@pytest.mark.parametrize("width", [60, 80])
def test_a_comparison_is_a_table_in_a_narrow_terminal_too(width, terminal):
    tty = terminal(width)
    Terminal().show_blocks([comparison(examples.three())])
    lines = [_bare(line) for line in tty.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    (row,) = [line for line in lines if "8.09 uJ (56.8%)" in line]
    assert row.split()[:6] == ["cnn,", "msat", "32", "360", "98.89%", "98.89%"]


def test_a_narrow_terminal_says_what_it_leaves_out(terminal):
    tty = terminal(80)
    Terminal().show_blocks([comparison(examples.three())])
    out = _bare(tty.getvalue())
    assert "not shown for lack of width: ANN 95 %, t=2, t=4, t=8, t=16" in out
    assert "8.09 uJ (56.8%)" in out


def test_a_very_narrow_terminal_gets_whole_lines(terminal):
    tty = terminal(40)
    Terminal().show_blocks([comparison(examples.three())])
    assert "8.09 uJ (56.8%)" in tty.getvalue()
    assert "98.61%*" in tty.getvalue()  # at t = 4


def test_no_color_is_honoured(terminal):
    tty = terminal()
    Terminal().show_blocks([comparison(examples.three())])
    assert "\x1b[1;32m" in tty.getvalue()
    tty = terminal(NO_COLOR="1")
    Terminal().show_blocks([comparison(examples.three())])
    assert "8.09 uJ" in tty.getvalue()
    assert "32m" not in tty.getvalue()


@pytest.mark.parametrize("name", ["[red]x[/red]", ":smile:", "\x1b[31mx", "[/]"])
def test_names_are_not_markup(name, terminal):
    tty = terminal()
    Terminal().show(examples.evaluation(name, layer_names=[name, "b"]))
    out = _bare(tty.getvalue())
    assert name.replace("\x1b", "?") in out
    assert "\x1b[31m" not in tty.getvalue()


def test_errors_and_lines_go_to_stderr(capsys):
    terminal = Terminal()
    terminal.say("a line \x1b[31m")
    terminal.error(ErrorReport(problem="problem", found="found", remedy="remedy", code=2))
    with terminal.task("label", 3) as advance:
        advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "a line ?[31m",
        "error: problem",
        "  found: found",
        "  next:  remedy",
    ]


def test_a_stream_that_can_not_encode_a_name_gets_a_question_mark(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Terminal().show(examples.evaluation("r\u00e9seau"))
    sys.stdout.flush()
    assert b"r?seau" in raw.getvalue()


def test_a_report_without_description_is_shown_as_json(capsys):
    class Other(BaseModel):
        x: int = 1

    Terminal().show(Other())
    assert json.loads(capsys.readouterr().out) == {"x": 1}


def _bare(text: str) -> str:
    """Without colours."""
    parts = text.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])


def test_settings_that_nobody_gave_are_said_in_words_or_not_at_all():
    given = {"method": "mse", "params": {"scale": 1.0, "timesteps": None, "v0": None}}
    facts, sites = describe(examples_stages.calibrate().model_copy(update=given))
    (method,) = (fact for fact in facts.items if fact.name == "method")
    assert method.value == "mse"
    assert method.remark.endswith("; convert finds it again for its T and neuron")
    assert all(f"{column.title}: {column.hint}" in sites.note for column in sites.columns[1:])
