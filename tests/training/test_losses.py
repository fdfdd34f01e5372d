import pytest
import torch
import torch.nn.functional as F
from helpers.networks import checkpoint, images, rounded, vgg

from snnconv.errors import UsageError
from snnconv.simulation.build import spiking_network
from snnconv.tasks.base import TASKS
from snnconv.testing.base import described
from snnconv.training.losses.base import LOSSES, Given, named_loss
from snnconv.training.objective import SpikingLoss
from snnconv.training.teacher import teacher_of

CLASSES = TASKS.load("classification")


def given(**more):
    torch.manual_seed(0)
    return Given(CLASSES, torch.randn(5, 3, 4), torch.tensor([2, 0, 3]), **more)


def test_these_are_the_losses():
    assert set(LOSSES.own()) == {"mean", "tet", "distill"}
    for name in LOSSES.own():
        described(LOSSES.load(name).params_type)
    with pytest.raises(UsageError, match="no such parameter"):
        named_loss("mean", {"lam": 1})


def test_tet_with_its_regulariser():
    it = given()
    cross_entropies = [F.cross_entropy(o, it.labels) for o in it.outputs]
    expected = 0.75 * sum(cross_entropies) / 5 + 0.25 * F.mse_loss(
        it.outputs, torch.full_like(it.outputs, 2.0)
    )
    found = named_loss("tet", {"lam": 0.25, "phi": 2.0}).value(it)
    torch.testing.assert_close(found, expected)


def test_distillation_is_its_formula():
    teacher, rate, activation = torch.randn(3, 4), torch.rand(3, 6), torch.rand(3, 6) * 2
    it = given(
        teacher=teacher,
        rates={"a": rate},
        activations={"a": activation},
        thresholds={"a": torch.tensor([0.5])},
    )
    p = (teacher / 2).softmax(1)
    q = (it.outputs.mean(0) / 2).softmax(1)
    kl = (p * (p / q).log()).sum(1).mean()
    layers = ((rate - activation.clamp(max=0.5)) / 0.5).square().mean()
    expected = F.cross_entropy(it.outputs.mean(0), it.labels) + 3 * 4 * kl + 0.5 * layers
    params = {"logits": 3.0, "temperature": 2.0, "rates": 0.5}
    torch.testing.assert_close(named_loss("distill", params).value(it), expected)


def test_a_network_that_says_what_its_ann_says_has_nothing_to_learn_of_it():
    it = given()
    it = given(teacher=it.outputs.mean(0))
    found = named_loss("distill", {}).value(it)
    torch.testing.assert_close(found, named_loss("mean", {}).value(it))


@pytest.mark.parametrize("k", [2, 4])
def test_rates_and_activations_of_a_network(k):
    """What the objective hands to the loss: means of a slice's values, and the ANN's sites."""
    made, seen = checkpoint(rounded(vgg())), []
    snn = spiking_network(made, folded=False).train()

    class Seen(LOSSES.load("distill")):
        def value(self, given):
            seen.append(given)
            return super().value(given)

    loss = Seen(LOSSES.load("distill").params_type(rates=1.0))
    x, labels = images(3), torch.tensor([0, 1, 2])
    trained = SpikingLoss(
        *(snn, CLASSES, 4, k, loss, 0.0, None, None, None),
        teacher=teacher_of(made, torch.device("cpu")),
    )
    for value, _ in trained.losses(snn, torch.arange(3), x[None], labels):
        value.backward()
    sites = {site.name for site in made.graph.sites}
    assert len(seen) == 4 // k
    for each in seen:
        assert set(each.rates) == set(each.activations) == set(each.thresholds) == sites
        for site in sites:
            assert each.rates[site].shape == each.activations[site].shape
            assert each.rates[site].requires_grad
            assert not each.activations[site].requires_grad
            assert (each.activations[site] >= 0).all()
    assert not torch.equal(*(each.rates[min(sites)] for each in (seen[0], seen[-1]))) or k == 4


def test_with_local_each_layer_learns_by_its_own_error():
    """The gradient of a layer's own error by its own weights, and of the labels' by the last's."""
    made, labels, seen = checkpoint(rounded(vgg())), torch.tensor([0, 1, 2]), []
    layers = [n.tensors["weight"] for n in made.graph.nodes if "weight" in n.tensors]

    def passed(local):
        snn = spiking_network(made, folded=False).train()
        loss = named_loss("distill", {"logits": 0.0, "rates": 1.0, "local": local})
        value = loss.value
        loss.value = lambda given: seen.append(given) or value(given)
        of = (snn, CLASSES, 4, 4, loss, 0.0, None, None, None)
        trained = SpikingLoss(*of, teacher=teacher_of(made, torch.device("cpu")))
        ((found, _),) = trained.losses(snn, torch.arange(3), images(3)[None], labels)
        return found, [snn.network.tensor(name) for name in layers]

    found = torch.autograd.grad(*passed(local=True))
    _, weights = passed(local=False)
    it, sites = seen[-1], [site.name for site in made.graph.sites]
    errors = [(it.rates[s] - it.activations[s].clamp(max=1)).square().mean() / 2 for s in sites]
    errors.append(F.cross_entropy(it.outputs.mean(0), labels))
    for gradient, error, weight in zip(found, errors, weights, strict=True):
        (expected,) = torch.autograd.grad(error, weight, retain_graph=True)
        torch.testing.assert_close(gradient, expected)
        assert expected.any()
    with pytest.raises(UsageError, match="these parameters of loss 'distill' can't be") as caught:
        named_loss("distill", {"local": True})
    assert (caught.value.found, "nothing to learn from" in caught.value.remedy) == (
        "local=True",
        True,
    )


def test_a_distance_is_that_of_the_tasks_probabilities_or_the_relative_error():
    torch.manual_seed(0)
    x, a, t = torch.randn(3, 4), torch.randn(3, 4), 2.0
    p, q = (a / t).sigmoid(), (x / t).sigmoid()
    bernoulli = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    found = TASKS.load("multi-label").distance(x, a, t)
    torch.testing.assert_close(found, t * t * bernoulli)
    for name in ("regression", "ranking"):
        found = TASKS.load(name).distance(x, a, t)
        torch.testing.assert_close(found, (x - a).norm() ** 2 / a.norm() ** 2)
    maps = [each.reshape(1, 4, 3).expand(2, 4, 3) for each in (x, a)]
    rows = [each.movedim(1, -1).reshape(-1, 4) for each in maps]
    wanted = CLASSES.distance(*rows, t)
    torch.testing.assert_close(TASKS.load("segmentation").distance(*maps, t), wanted)
