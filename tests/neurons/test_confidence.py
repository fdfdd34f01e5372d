import pytest
import torch

from snnconv.neurons.confidence import keep_mask, uniform

SAMPLES = torch.tensor([0, 3, 17, 4999, 9999])
BASE = {"seed": 0, "layer": "act", "samples": SAMPLES, "steps": range(1, 9), "shape": (3, 4, 5)}
MANY = {"seed": 5, "layer": "act", "samples": torch.arange(40), "steps": range(1, 17)}
MANY["shape"] = (8, 5, 5)
N = 40 * 16 * 200


def numbers(**changed):
    return uniform(**(BASE | changed))


def test_the_hash_is_frozen():
    """Whoever changes these numbers changes every published spike."""
    found = uniform(0, "act", torch.tensor([0, 7]), range(1, 3), (2,))
    assert (found * 2**32).tolist() == [
        [[3993551280, 1710811745], [486374503, 3438621260]],
        [[103717312, 4040996169], [1830586659, 1143159837]],
    ]
    found = uniform(3, "layer1.0.act", torch.tensor([9999]), range(16, 17), (1, 2, 2))
    assert found.flatten().tolist() == [
        0.20340168941766024,
        0.731319090584293,
        0.6669323805253953,
        0.8883138000965118,
    ]


def test_shape_and_range():
    found = numbers()
    assert found.shape == (8, 5, 3, 4, 5)
    assert found.dtype == torch.float64
    assert ((found >= 0) & (found < 1)).all()


def test_who_else_is_in_the_batch_changes_nothing():
    whole = numbers()
    order = torch.tensor([4, 0, 2, 1, 3])
    assert torch.equal(numbers(samples=SAMPLES[order]), whole[:, order])
    for b in range(len(SAMPLES)):
        assert torch.equal(numbers(samples=SAMPLES[b : b + 1]), whole[:, b : b + 1])


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_chunks_of_time_change_nothing(cut):
    pieces = [numbers(steps=range(1, cut + 1)), numbers(steps=range(cut + 1, 9))]
    assert torch.equal(torch.cat(pieces), numbers())


def test_two_draws_are_equal_and_take_nothing_from_torch():
    before = torch.get_rng_state()
    assert torch.equal(numbers(), numbers())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"seed": -1},
        {"layer": "act2"},
        {"samples": SAMPLES + 1},
        {"steps": range(2, 10)},
        {"steps": range(9, 17)},
    ],
    ids=str,
)
def test_everything_else_changes_all_numbers(changed):
    assert (numbers(**changed) == numbers()).float().mean() < 1e-3


def test_seed_and_layer_do_not_run_into_each_other():
    assert not torch.equal(numbers(seed=1, layer="2"), numbers(seed=12, layer=""))


def test_neurons_samples_and_steps_all_differ():
    assert len(numbers().unique()) == numbers().numel()


def test_the_numbers_are_uniform():
    found = uniform(**MANY).flatten()
    assert len(found) == N
    assert abs(found.mean() - 0.5) < 5 * (1 / 12 / N) ** 0.5
    assert abs(found.var() - 1 / 12) < 5 * (1 / 180 / N) ** 0.5
    counts = torch.histc(found, 16, 0, 1)
    chi_square = ((counts - N / 16) ** 2 / (N / 16)).sum()
    assert 2 < chi_square < 50  # 15 degrees of freedom: p = 1e-5 on either side


@pytest.mark.parametrize("axis", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("distance", [1, 2, 4])
def test_neighbours_are_not_correlated(axis, distance):
    found = uniform(**MANY)
    length = found.shape[axis] - distance
    pair = [found.narrow(axis, start, length).flatten() for start in (0, distance)]
    r = torch.corrcoef(torch.stack(pair))[0, 1]
    assert r.abs() < 5 / len(pair[0]) ** 0.5


@pytest.mark.parametrize("changed", [{"seed": 6}, {"layer": "other"}], ids=str)
def test_seeds_and_layers_are_not_correlated(changed):
    pair = torch.stack([uniform(**MANY).flatten(), uniform(**(MANY | changed)).flatten()])
    assert torch.corrcoef(pair)[0, 1].abs() < 5 / N**0.5


# The mask


def mask(start=0, steps=8, probability=0.7, early=5, layer="act", shape=(3, 4, 5), dtype=None):
    like = torch.empty(steps, len(SAMPLES), *shape, dtype=dtype)
    return keep_mask(probability, early, 0, layer, SAMPLES, start, like)


def test_a_spike_is_kept_where_the_number_is_below_p():
    found = mask()
    assert torch.equal(found[:5], (numbers(steps=range(1, 6)) < 0.7).float())
    assert (found[5:] == 1).all()


@pytest.mark.parametrize("cut", [1, 4, 5, 7])
def test_chunks_have_the_same_mask(cut):
    pieces = [mask(0, cut), mask(cut, 8 - cut)]
    pieces = [
        torch.ones(n, *mask().shape[1:]) if piece is None else piece
        for piece, n in zip(pieces, (cut, 8 - cut), strict=True)
    ]
    assert torch.equal(torch.cat(pieces), mask())
    assert (mask(cut, 8 - cut) is None) == (cut >= 5)


def test_no_mask_where_confidence_does_not_act():
    assert mask(probability=1) is None
    assert mask(early=0) is None
    assert mask(start=5) is None
    assert mask(start=500) is None
    assert mask(start=4) is not None


def test_no_confidence_at_all_suppresses_every_early_spike():
    assert not mask(probability=0)[:5].any()


def test_each_site_has_its_own_mask():
    assert not torch.equal(mask(layer="act"), mask(layer="act2"))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.999])
def test_the_share_that_is_kept_is_p(p):
    found = mask(probability=p, early=8, shape=(20, 50))
    assert abs(found.mean() - p) < 5 * (p * (1 - p) / found.numel()) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mask_has_the_type_of_the_currents(dtype):
    assert mask(dtype=dtype).dtype == dtype


def test_constant_currents_get_a_mask_that_changes_over_time():
    like = torch.zeros(1, len(SAMPLES), 3, 4, 5).expand(8, -1, -1, -1, -1)
    assert torch.equal(keep_mask(0.7, 5, 0, "act", SAMPLES, 0, like), mask())
