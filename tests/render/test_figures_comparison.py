"""Figures of a comparison: what their axes show."""

from snnconv.core.scores import ACCURACY, Score
from snnconv.render.figures_comparison import near_the_best


def test_an_axis_keeps_what_is_near_the_best_by_the_scores_direction():
    scale = near_the_best(ACCURACY, [10.0, 92.0, 99.5])
    assert 85 <= scale.lo <= 92
    assert scale.hi == 100
    scale = near_the_best(Score(name="e", title="Error", higher=False), [0.0, 4.0, 60.0])
    assert scale.lo == 0
    assert 4 <= scale.hi < 20
    scale = near_the_best(Score(name="c", title="Correlation"), [-3.0, -30.0])
    assert -6 <= scale.lo <= -3 <= scale.hi
