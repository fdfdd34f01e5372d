"""Trainings in the page: which, under what name, and what of them is drawn."""

from helpers import examples
from helpers.examples_stages import epochs, finetune, learned, train
from helpers.pages import Page, drawings, html, labels, shown

from snnconv.render.figure import runs
from snnconv.render.figures_training import training
from snnconv.render.training_curves import behind, curves
from snnconv.reports import LineageRow


def drawn(reports):
    return training(curves(reports, []))


def test_training_curves_need_a_training():
    assert "Validation accuracy by epoch" not in html(examples.three())
    page = html(examples.three(), [finetune()])
    assert "Validation accuracy by epoch" in page
    # the curve carries the name and the style of the run that evaluated what was trained
    assert "Fine-tuning of cnn, msat" in Page(page).text
    assert "cnn, msat, before: 62.00%" in Page(page).text
    assert drawn([train(0), finetune(n=0)]) == []


def test_rates_and_what_neurons_learn_are_drawn():
    plain = ["training-accuracy", "training-loss"]
    assert [figure.name for figure in drawn([train(3)])] == plain
    more = ["training-firing-rate", "training-mu_D", "training-lambda_S"]
    for report in (learned(train(3, neuron="lm-h")), learned(finetune(n=3))):
        figures = drawn([train(2), report])
        assert [figure.name for figure in figures] == plain + more
        assert all("<svg" in figure.draw(figure.name, 640.0) for figure in figures)


def test_an_ann_and_what_became_of_it_share_their_axes():
    page = html(examples.three(), [train(), finetune()])
    (svg, *_) = [s for s in drawings(page) if s.find("title").text == "Validation accuracy"]
    legend = [shown(text) for text in labels(svg, "legend")]
    assert legend == ["ANN (cnn, relu)", "cnn, msat", "cnn, msat, before: 62.00%"]
    text = Page(page).text
    assert "Training of ANN (cnn, relu)" in text
    assert "Fine-tuning keeps the best epoch" in text
    assert "keeps the last epoch" in text


def test_only_fine_tuning_has_an_epoch_0():
    (alone,) = curves([train(neuron="if")], [])
    (tuned,) = curves([finetune()], [])
    assert alone.label == "IF, T = 4"
    assert (alone.start_accuracy, tuned.start_accuracy) == (None, 0.62)
    assert alone.rows == epochs(30, 0.2, 0.99)


def test_equal_names_are_numbered_and_looks_differ_from_those_of_runs():
    everybody = runs(examples.three())
    found = curves([train(), train()], everybody)
    assert [curve.label for curve in found] == ["ANN (cnn, relu)", "ANN (cnn, relu) (2)"]
    assert not {curve.style for curve in found} & {run.style for run in everybody}


def test_a_training_is_behind_what_was_made_from_it():
    report, run = train(), examples.evaluation()
    assert not behind(report, [run])
    (written,) = report.lineage.outputs
    step = LineageRow(stage="calibrate", parent=written.sha256, config={})
    assert behind(report, [run, run.model_copy(update={"history": [step]})])
    itself = run.lineage.model_copy(update={"inputs": [written]})
    assert behind(report, [run.model_copy(update={"lineage": itself})])
