"""The page: complete, self-contained, accessible, whatever the names and numbers in it."""

import math
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from helpers import examples
from helpers.examples_stages import finetune, learned, train
from helpers.pages import Page, box, coordinates, drawings, html, labels, shown

from snnconv.render.figure import runs
from snnconv.render.figures_steps import accuracy, agreement, distance, tradeoff
from snnconv.render.html import sentence

NAN, INF = math.nan, math.inf
CASES = {
    "three": lambda: (examples.three(), [finetune()]),
    "one": lambda: ([examples.evaluation()], []),
    "eight": lambda: (examples.eight(), []),
    "odd": lambda: (examples.odd(), []),
    "single": lambda: (examples.single(), []),
    "minimal": lambda: ([examples.minimal()], []),
    "mixed": lambda: ([examples.minimal(T=8), *examples.three(), *examples.single()], []),
    "families": lambda: ([examples.evaluation("a", layers=3), examples.evaluation("b")], []),
    "none": lambda: ([], []),
    "ten": lambda: ([examples.evaluation(f"run {i}", seed=i) for i in range(10)], []),
    "not finite": lambda: (
        [
            examples.evaluation(
                accuracy=[NAN, 0.5, INF, 0.9],
                firing_rate_steps=[NAN, INF],
                energy_total_mj_steps=[0.0, -1.0, NAN, INF],
                energy_synaptic_mj=INF,
                ann_accuracy=NAN,
            )
        ],
        [],
    ),
    "all zero": lambda: (
        [
            examples.evaluation(
                accuracy=[0.0] * 4, firing_rate_steps=[0.0] * 4, energy_ann_mj=0.0, T=4
            )
        ],
        [],
    ),
    "epochs": lambda: (
        [examples.evaluation()],
        [finetune("x", 1), finetune("y", 0), finetune("x")],
    ),
    "trained": lambda: (
        [examples.direct()],
        [train(), learned(finetune()), learned(train(neuron="lm-h"))],
    ),
    "two ANNs": lambda: (
        [*examples.eight(), *(run.model_copy(update={"samples": 99}) for run in examples.three())],
        [],
    ),
}


@pytest.fixture(scope="module", params=CASES)
def page(request):
    evaluations, trainings = CASES[request.param]()
    return html(evaluations, trainings)


def test_the_page_parses_and_its_ids_are_unique(page):
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {"html", "head", "title", "body", "main", "h1"} <= set(parsed.tags)


def test_links_and_descriptions_lead_somewhere(page):
    parsed = Page(page)
    for _, attributes in parsed.attributes:
        targets = [attributes[key] for key in ("aria-labelledby",) if key in attributes]
        if attributes.get("href"):
            assert attributes["href"].startswith("#")
            targets.append(attributes["href"][1:])
        for target in " ".join(targets).split():
            assert target in parsed.ids


def test_the_page_needs_nothing_else(page):
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "url(" not in page.replace("url(#", "")
    assert not {"link", "img", "iframe", "object"} & set(Page(page).tags)


def test_every_plot_has_name_description_and_axes(page):
    for svg in drawings(page):
        title, description = svg.find("title"), svg.find("desc")
        assert title.text.strip()
        assert description.text.strip()
        assert svg.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert labels(svg, "axis-label")
        assert labels(svg, "tick")


def test_every_coordinate_is_a_number(page):
    for svg in drawings(page):
        numbers = coordinates(svg)
        assert numbers
        assert all(map(math.isfinite, numbers))
    svgs = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    assert not re.search(r'"[^"<>]*\b(nan|NaN|None|inf|Infinity)\b', svgs)


def test_text_stays_within_its_plot(page):
    """As estimated: a label beyond the edge would be cut off on a phone."""
    for svg in drawings(page):
        width, height = float(svg.get("width")), float(svg.get("height"))
        for text in svg.iter("text"):
            left, right, top, bottom = box(text)
            assert -0.5 <= left <= right <= width + 0.5, shown(text)
            assert 0 <= top <= bottom <= height, shown(text)


def test_no_two_labels_of_a_plot_overlap(page):
    for svg in drawings(page):
        boxes = [(box(text), shown(text)) for text in svg.iter("text") if shown(text)]
        for i, ((left, right, top, bottom), one) in enumerate(boxes):
            for (start, end, upper, lower), other in boxes[i + 1 :]:
                apart = right <= start or end <= left or bottom <= upper or lower <= top
                assert apart, f"{svg.get('aria-labelledby')}: {one!r} and {other!r}"


def test_legends_lie_below_the_data(page):
    for svg in drawings(page):
        axis = max(float(text.get("y")) for text in labels(svg, "axis-label"))
        assert all(float(text.get("y")) > axis for text in labels(svg, "legend"))


def test_tables_have_heads(page):
    parsed = Page(page)
    heads = [attributes for tag, attributes in parsed.attributes if tag == "th"]
    assert all(head.get("scope") in ("col", "row", "rowgroup") for head in heads)
    assert parsed.tags.count("th") >= parsed.tags.count("table")


def test_names_are_shown_as_they_are():
    page = html(examples.odd())
    text = Page(page).text
    assert examples.ODD in text
    assert "</svg>|`*_?[31m" in text
    assert "\x1b" not in page
    assert "\x07" not in page


def test_a_long_name_is_shortened_and_whole_under_the_pointer():
    page = html(examples.odd())
    short = [t for svg in drawings(page) for t in labels(svg, "tick") if "\u2026" in shown(t)]
    assert short
    assert all(text.find("title").text == "x" * 80 for text in short)


def test_what_was_not_measured_is_said():
    text = Page(html([examples.minimal()])).text
    assert "Not shown: accuracy was not measured: snnconv evaluate --metric accuracy" in text
    assert "Not shown: the SIN ratio was not measured: snnconv evaluate --metric sin" in text
    assert not drawings(html([examples.minimal()]))


def test_scores_of_other_tasks_have_words_of_their_own():
    found = examples.evaluation(
        task="segmentation",
        accuracy=None,
        accuracy_interval=None,
        agreement=None,
        score_kinds=[{"name": "mean-iou", "title": "Mean IoU"}],
        scores={"mean-iou": [0.5] * 8},
        headline_errors={8: 0.01},
        T=8,
    )
    page = html([found])
    assert "scores 50.00% in mean IoU (within 2.00% at 95 %)" in page
    assert "Below a score: two standard errors (jackknife)." in page
    assert "Not shown: only a classifier puts samples into classes." in page
    assert "Wilson" not in page


def test_runs_that_lack_a_measurement_are_named():
    text = Page(html([examples.minimal("bare"), examples.evaluation()])).text
    assert "Not measured: \u201cbare\u201d." in text


def test_runs_that_cover_one_another_are_named():
    runs = [
        examples.evaluation("a"),
        examples.evaluation("b"),
        examples.evaluation("c", seed=5, speed=2),
    ]
    text = Page(html(runs)).text
    assert "\u201cb\u201d lies exactly on \u201ca\u201d." in text
    assert "\u201cc\u201d lies" not in text


def test_every_plot_is_there():
    found = {svg.find("title").text for svg in drawings(html(examples.three(), [finetune()]))}
    assert found == {
        "Accuracy over time steps",
        "Close to the ANN",
        "Accuracy against energy",
        "Agreement with the ANN",
        "Energy per sample",
        "Firing rate over time steps",
        "Firing rate by layer",
        "Synaptic operations by layer",
        "Wrongly firing neurons (SIN ratio)",
        "SIN ratio by layer: cnn, if",
        "Conversion error by layer",
        "Parts of the error: cnn, if",
        "Parts of the error: cnn, msat",
        "Parts of the error: cnn, lm-ht",
        "Thresholds over the activations they were found from",
        "Validation accuracy",
        "Training loss",
    }


def test_a_max_pooling_has_no_row_among_the_neurons():
    run = examples.evaluation()
    pool = run.layers[1].model_copy(
        update={"name": "pool", "threshold": None, "firing_rate": None, "conversion_error": None}
        | dict.fromkeys(("error_clipping", "error_rounding", "error_rest", "sin_ratio"))
    )
    run = run.model_copy(update={"layers": [*run.layers, pool]})
    for svg in drawings(html([run])):
        names = [shown(tick) for tick in labels(svg, "tick")]
        counted = svg.find("title").text == "Synaptic operations by layer"
        assert ("pool" in names) is counted


def test_hundreds_of_layers_are_one_click_away():
    page = html([examples.evaluation(layers=60)])
    before, *folded = page.split("<details>")
    for title in ("Firing rate by layer (60 layers)", "(60 sites)", "60 layers</summary>"):
        assert title not in before
        assert any(title in part.partition("</details>")[0] for part in folded)
    assert "Firing rate by layer (" not in html([examples.evaluation(layers=48)])


def test_histograms_stand_in_the_networks_order():
    run = examples.evaluation(layer_names=["9", "10", "2"])
    run = run.model_copy(update={"histograms": sorted(run.histograms, key=lambda h: h.name)})
    (svg, *_) = [s for s in drawings(html([run])) if s.find("title").text.startswith("Thresholds")]
    assert [shown(text) for text in labels(svg, "group")] == ["9", "10", "2"]


def test_equal_reports_give_equal_pages():
    assert html(examples.three(), [finetune()]) == html(examples.three(), [finetune()])


def test_nothing_heavy_is_imported():
    code = (
        "import sys, snnconv.render.html, snnconv.render.markdown, snnconv.render.terminal;"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_different_anns_have_lines_of_their_own():
    runs = [examples.evaluation("a", ann=0.9), examples.evaluation("b", ann=0.8)]
    svg = drawings(html(runs))[0]
    legend = [shown(text) for text in labels(svg, "legend")]
    assert legend == ["a", "b", "ANN of a: 90.00%", "ANN of b: 80.00%"]
    dashes = [
        line.get("stroke-dasharray") for line in svg.iter("line") if line.find("title") is not None
    ]
    assert len(set(dashes)) == 2


def test_shared_anns_and_thresholds_have_short_names_and_are_spelled_out():
    same = [examples.evaluation(name, ann=0.9) for name in ("a, if", "b, if", "c, if")]
    runs = [*same, examples.evaluation("d", ann=0.8)]
    page = html(runs)
    svg = drawings(page)[0]
    legend = [shown(text) for text in labels(svg, "legend")]
    assert legend[4:] == ["ANN of a, if and 2 more: 90.00%", "ANN of d: 80.00%"]
    text = Page(page).text
    assert "One ANN for \u201ca, if\u201d, \u201cb, if\u201d, \u201cc, if\u201d." in text


def test_runs_below_the_enlarged_plot_are_named():
    runs = [examples.evaluation("good"), examples.evaluation("poor", accuracy=[0.1] * 32)]
    assert "Too low at every step: \u201cpoor\u201d." in Page(html(runs)).text


def test_plots_say_their_ends_in_words():
    svg = drawings(html([examples.evaluation("a", accuracy=[0.5, 0.75], T=2)]))[0]
    assert "a: 50.00% at t = 1, 75.00% at t = 2." in svg.find("desc").text


def test_a_network_trained_directly_has_no_ann_beside_it():
    page = html([examples.direct()])
    text = Page(page).text
    assert "without an ANN, because neurons were there in training" in text
    assert "there is no ANN to compare with" in text
    assert "compared with the ANN" not in text
    found = {svg.find("title").text: svg for svg in drawings(page)}
    assert not {"Close to the ANN", "Agreement with the ANN"} & set(found)
    for title in ("Accuracy over time steps", "Accuracy against energy"):
        assert not any("ANN" in shown(t) for t in labels(found[title], "legend"))
    both = Page(html([examples.evaluation(), examples.direct()])).text
    assert "Without an ANN: \u201clm-h, given, trained\u201d." in both


def test_colours_stand_out_from_their_ground():
    """WCAG 2: 4.5 for text, 3 for what is drawn; what is fainter has an outline that is not."""
    for block in re.findall(r":root \{(.*?)\}", html([]), re.S):
        colours = dict(re.findall(r"--(\w+): #(\w{6})", block))
        assert colours
        for name, colour in colours.items():
            if name in ("bg", "raised", "line", "shape", "p1", "p2"):
                continue
            needed = 4.5 if name in ("ink", "soft", "link") else 3.0
            assert contrast(colour, colours["bg"]) >= needed, name


def contrast(one, other):
    lights = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        lights.append(0.2126 * r + 0.7152 * g + 0.0722 * b)
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_a_sentence_says_how_sure_it_is():
    (run,) = runs([examples.evaluation()])
    said = sentence(run)
    assert said.startswith(
        "classifies 98.89% (95 %: 97.2 to 99.6) of 360 samples correctly after 32 steps, as its ANN"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # an older file: the intervals of 99.2 and 98.9 % overlap, those of 99.2 and 94.4 % don't
        ({"ann_accuracy": 357 / 360}, "within chance of its ANN (-0.28 points)"),
        ({"accuracy": [340 / 360], "ann_accuracy": 357 / 360}, "4.72 points below its ANN"),
        (
            {"accuracy": [354 / 360], "ann_accuracy": 355 / 360, "against_ann": (0, 1, 1.0)},
            "within chance of its ANN (-0.28 points, p = 1.00)",
        ),
        (
            {"accuracy": [347 / 360], "ann_accuracy": 355 / 360, "against_ann": (0, 8, 2 / 256)},
            "2.22 points below its ANN, p = 0.008",
        ),
    ],
)
def test_a_difference_from_the_ann_in_words(changes, expected):
    if test := changes.get("against_ann"):
        keys = ("only_this_right", "only_other_right", "p")
        changes = changes | {"against_ann": dict(zip(keys, test, strict=True))}
    T = len(changes.get("accuracy", [0.0] * 32))
    (run,) = runs([examples.evaluation(T=T, **changes)])
    assert expected in sentence(run)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"samples": 99}, "99 samples, where 100 are the least"),
        ({"classes": 1}, "the samples have one class only"),
    ],
)
def test_without_enough_samples_or_classes_there_is_no_headline(changes, why):
    report = examples.evaluation(ann=0.999, **changes)
    (run,) = runs([report])
    said = sentence(run)
    assert said.endswith(f" Nothing is said about the difference from its ANN: {why}.")
    assert "below" not in said
    assert "within" not in said
    assert why in html([report])


def test_a_run_that_needs_all_steps_is_one_marker_without_a_line():
    everybody = runs([examples.evaluation(T=4), examples.late()])
    for make in (accuracy, distance, agreement, tradeoff):
        figure = make(everybody)
        for _, svg in figure.drawings():
            paths = [
                e for e in ElementTree.fromstring(svg).iter("path") if "line" in e.get("class")
            ]
            assert len(paths) == 1, figure.name  # the other run's
            titles = [e.text for e in ElementTree.fromstring(svg).iter("title")]
            assert sum(text.startswith("lm-ht: ") for text in titles) == 1
    assert "has an answer at step 4 only" in accuracy(everybody).caption
    assert "has an answer at step 4 only" in tradeoff(everybody).caption
