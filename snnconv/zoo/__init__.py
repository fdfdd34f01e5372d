"""The papers' architectures, those for images in their CIFAR form, and two small networks.

Every factory takes ``channels``, ``size`` and ``classes`` from the data set, ``pool`` (``avg`` or
``max``), and ``width``, a factor on every hidden channel count. ``m5`` is for signals
``[channels, size]``, the others are for images ``[channels, size, size]``. Those on texts
``[length]`` take ``tokens`` and ``classes`` from the data set, ``width`` and their own sizes.
"""

from collections.abc import Callable, Mapping

from torch import nn

from snnconv.zoo.resnet import resnet18, resnet19, resnet20, resnet34
from snnconv.zoo.small import cnn, mlp
from snnconv.zoo.speech import m5
from snnconv.zoo.text import gru, lstm
from snnconv.zoo.vgg import vgg11, vgg13, vgg16

ZOO: Mapping[str, Callable[..., nn.Module]] = {
    "cnn": cnn,
    "gru": gru,
    "lstm": lstm,
    "m5": m5,
    "mlp": mlp,
    "resnet18": resnet18,
    "resnet19": resnet19,
    "resnet20": resnet20,
    "resnet34": resnet34,
    "vgg11": vgg11,
    "vgg13": vgg13,
    "vgg16": vgg16,
}

SIGNALS = frozenset({"m5"})
"""Those that take ``[channels, size]``."""

TEXTS = frozenset({"gru", "lstm"})
"""Those that take ``[length]``, token numbers."""
