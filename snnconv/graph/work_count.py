"""How much work a network has, and which of it a spiking network still does."""

from dataclasses import dataclass

from snnconv.graph.operations.work import Work


@dataclass(frozen=True)
class WorkCount:
    """The work for one sample, and which of it a spiking network still does.

    Attributes:
        total: the ANN's: of all matrices and convolutions, and of all functions.
        first: that of nodes that depend on the input alone. They are computed once, or for every
            frame that is shown.
        once: the part of ``first`` that functions compute.
        each_step: that of other functions, with what their running means take, and of layers that
            analog values feed. It is done at every step.
        idle: multiply-accumulates with weights in ``first`` that neurons could have fed: behind
            functions, or inside one, as those of an LSTM.
    """

    total: Work
    first: Work
    once: Work
    each_step: Work
    idle: float = 0

    @property
    def non_spiking_share(self) -> float:
        """The share of multiply-accumulates with weights that spikes do not replace.

        Those of layers that read the input, with no function between, are in neither number.
        """
        behind = self.total.weights - self.first.weights + self.idle
        return (self.idle + self.each_step.weights) / max(1, behind)

    @property
    def function_share(self) -> float:
        """The share of the ANN's operations that functions compute."""
        return self.total.functions / max(1, sum(self.total.numbers))
