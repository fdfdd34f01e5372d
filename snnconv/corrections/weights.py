"""Weight correction: the weights before each site are trained towards the ANN's activation.

With ``x`` the mean output over time of the sites before, ``W`` the weights between them and a site,
and ``a`` the ANN's activation there, Adam minimises::

    mean((q(z(W, x)) - a)^2),   q(z) = unit*clip(floor(z/unit + v0), 0, levels)

where ``z`` is the site's mean current and ``q`` the output of its neurons for this current, held
constant for T steps. Sites come in the order of the graph, with earlier sites already corrected,
and there are no labels: the ANN is the teacher, and each layer is trained alone. Biases do not
change.

Shape:
    A change of a weight's own shape, of each synapse before a site.

Reference:
    Li et al. 2021, *A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks
    Calibration*, weights calibration (their advanced pipeline); the gradient passes the floor
    straight through.

Deviations:
    The authors take 5,000 to 10,000 iterations of 32 images at a rate of 1e-5, falling along half a
    cosine; the default here is 500 at 1e-4. A weight that several layers share does not change.
    Layers behind the last site are not trained.
"""

from collections.abc import Mapping

from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.corrections._layers import Layer, LayerCorrection, LayerParams
from snnconv.corrections.base import Site
from snnconv.graph.operations.activation import quantize

_ROUNDS = 0.5  # of a unit: what `quantize` has for v0


class Weights(LayerCorrection):
    """Changes of the weights before each site."""

    params_type = LayerParams
    params: LayerParams

    def kept(self, values: Tensor) -> Tensor:
        """Return their mean over time."""
        return values.sum(0, keepdim=True) / len(values)

    def loss(
        self, site: Site, layer: Layer, tensors: Mapping[str, Tensor], given: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the loss of the neurons' outputs for the mean current."""
        current = layer.compute(tensors, {name: mean[0] for name, mean in given.items()})
        return (_output(site, current) - site.ann).square().mean()


def _output(site: Site, current: Tensor) -> Tensor:
    """Return the mean output of a site's neurons under a constant current, with its corrections."""
    grid = site.neuron.params.grid(site.timesteps)
    end = site.neuron.threshold * grid.end
    if site.before.current is not None:
        each = site.before.current
        current = current + per_neuron(each if each.dim() == 1 else each.mean(0), current.dim())
    if site.before.potential is not None:
        current = current + site.before.potential / site.timesteps
    shift = per_neuron(end, current.dim()) / grid.levels * (grid.v0 - _ROUNDS)
    output = quantize(current + shift, end, grid.levels)
    if site.before.amplitude is not None:
        output = output * per_neuron(1 + site.before.amplitude, output.dim())
    return output


CORRECTION = Weights
