"""The laws that this package's own methods obey, as tests for methods of your own.

::

    from snnconv.testing import check

    check("my_neuron.py:MyNeuron")

asks a method for every law of its kind, and raises an error that names the laws that do not hold.
Neurons, norms, statistics, corrections, metrics, export formats, tasks and data sets have laws.
With pytest, each law is a test of its own::

    import pytest
    from snnconv.testing import laws

    @pytest.mark.parametrize("law", laws("my_neuron.py:MyNeuron"), ids=str)
    def test_law(law):
        law()

On the command line: ``python -m snnconv.testing my_neuron.py:MyNeuron``.
"""

from snnconv.testing.run import (
    check,
    check_correction,
    check_dataset,
    check_export,
    check_metric,
    check_neuron,
    check_norm,
    check_statistic,
    check_task,
    laws,
)

__all__ = [
    "check",
    "check_correction",
    "check_dataset",
    "check_export",
    "check_metric",
    "check_neuron",
    "check_norm",
    "check_statistic",
    "check_task",
    "laws",
]
