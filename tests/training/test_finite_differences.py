import torch

from snnconv.core.metadata import SurrogateInfo
from snnconv.neurons.surrogates.base import make_surrogate
from snnconv.training.finite_differences import differences, evenly, follow_differences

ADAPTS = {"adapt": True, "step": 0.5, "epsilon": 1e-3, "weights": 1000}


def test_differences_are_the_gradient_of_a_smooth_loss():
    weight = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    entries, before = evenly(weight, 7), weight.detach().clone()

    def loss():
        return weight.sin().sum() + weight[0, 0].prod()

    found = differences(loss, weight, entries, 1e-5)
    (gradient,) = torch.autograd.grad(loss(), weight)
    torch.testing.assert_close(found, gradient[entries])
    assert torch.equal(weight, before)
    assert len(set(zip(*(axis.tolist() for axis in entries), strict=True))) == 7


def test_the_temperature_is_the_one_of_the_best_cosine():
    """Against a loop of its own, over all three temperatures."""
    chosen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        weight = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
        x, out = torch.randn(4, 6).double(), torch.randn(5).double()
        surrogate = make_surrogate(SurrogateInfo(name="dspike", params=ADAPTS)).double()

        def loss(weight=weight, x=x, out=out, surrogate=surrogate):
            spikes = surrogate(x @ weight, torch.ones(()).double())
            return (spikes @ out).square().mean() + (x @ weight).square().mean()

        cosines = {}
        wanted = differences(loss, weight, evenly(weight, 1000), 1e-3)
        for value in (3.0, 3.5, 2.5):
            surrogate.value = value
            (gradient,) = torch.autograd.grad(loss(), weight)
            cosines[value] = torch.cosine_similarity(gradient.flatten(), wanted, 0).item()
        surrogate.value = 3.0
        follow_differences(
            [surrogate, make_surrogate(SurrogateInfo(name="atan", params={}))], weight, loss
        )
        assert surrogate.value == max(cosines, key=cosines.__getitem__)
        chosen.add(surrogate.value)
    assert len(chosen) > 1
