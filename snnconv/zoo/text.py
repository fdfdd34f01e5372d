"""Recurrent networks on texts.

Shape:
    ``[B, length]`` token numbers ``-> [B, classes]``.

Reference:
    The form of the MSAT paper's network on IMDB, which the paper describes as a bidirectional LSTM
    of three layers.

Deviations:
    The sizes are this project's own, because the paper gives none. Padding counts in the mean like
    any token. Matrices of states start orthogonal, those of inputs by Glorot's rule, and an LSTM's
    forget gate at a bias of 1: from PyTorch's initial values, SGD did not learn at all.
"""

from torch import Tensor, nn

from snnconv.zoo.parts import scaled


class Recurrent(nn.Module):
    """Lookup, bidirectional recurrence, mean over the sequence, two linear layers.

    Args:
        kind: the recurrence.
        tokens: how many token numbers there are.
        embedding: width of the lookup.
        hidden: width of the recurrence, of each direction, and of the first linear layer.
        layers: of the recurrence.
    """

    def __init__(
        self,
        kind: type[nn.LSTM | nn.GRU],
        tokens: int,
        classes: int,
        embedding: int,
        hidden: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding)
        self.recurrent = kind(embedding, hidden, layers, batch_first=True, bidirectional=True)
        _initialise(self.recurrent)
        self.classifier = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[B, length] -> [B, classes]``."""
        sequence, _ = self.recurrent(self.embedding(x.long()))
        logits: Tensor = self.classifier(sequence.mean(1))
        return logits


def _initialise(recurrent: nn.LSTM | nn.GRU) -> None:
    """Initialise by Glorot for inputs, orthogonally for states, with a forget gate's bias."""
    hidden = recurrent.hidden_size
    for name, tensor in recurrent.named_parameters():
        if "bias" in name:
            nn.init.zeros_(tensor)
            if "bias_ih" in name and isinstance(recurrent, nn.LSTM):
                nn.init.ones_(tensor[hidden : 2 * hidden])  # of i, f, g, o
            continue
        start = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
        for gate in tensor.split(hidden):
            start(gate)


def lstm(
    tokens: int = 5002,
    classes: int = 2,
    width: float = 1.0,
    embedding: int = 64,
    hidden: int = 64,
    layers: int = 3,
) -> nn.Module:
    """For texts: lookup, a bidirectional LSTM of three layers, mean, two linear layers."""
    sizes = scaled(embedding, width), scaled(hidden, width)
    return Recurrent(nn.LSTM, tokens, classes, *sizes, layers)


def gru(
    tokens: int = 5002,
    classes: int = 2,
    width: float = 1.0,
    embedding: int = 64,
    hidden: int = 64,
    layers: int = 3,
) -> nn.Module:
    """For texts: the same with a GRU."""
    sizes = scaled(embedding, width), scaled(hidden, width)
    return Recurrent(nn.GRU, tokens, classes, *sizes, layers)
