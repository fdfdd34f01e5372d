"""BatchNorm: each channel has mean 0 and variance 1 over the samples and steps of a batch.

``y = gamma*(x - mu)/sqrt(var + eps) + beta``; ``mu`` and ``var`` are those of a batch in training,
and running means of them in inference, where all of it is folded into the weights before it.

Shape:
    ``[T*B, C, *places] -> [T*B, C, *places]``.

Reference:
    Ioffe & Szegedy 2015, *Batch Normalization*.

Deviations:
    Statistics are over steps, too, as in STBP-tdBN.
"""

from snnconv.neurons.norms.base import Norm


class Batch(Norm):
    """The network's own BatchNorm."""

    finetunes = True


NORM = Batch
