import pytest
import torch
from helpers.layers import layer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from snnconv.neurons.lm_ht import Params, level_spikes

laws = settings(deadline=None, max_examples=40)


def lm_ht(steps, theta=1.0, dtype=torch.float64, **params):
    return layer("lm-ht", theta, dtype, steps, **params)


def dyadic(shape, low, high):
    """Currents in sixty-fourths: sums and products with powers of two are exact."""
    return torch.randint(int(64 * low), int(64 * high) + 1, shape).double() / 64


@pytest.mark.parametrize("omega", ["uniform", "bounded", "identity", "causal"])
@pytest.mark.parametrize("T", [1, 2, 3, 8])
def test_the_matrix_at_the_start(omega, T):
    found = lm_ht(T, omega=omega).matrix()
    expected = {
        "uniform": torch.full((T, T), 1 / T),
        "bounded": torch.full((T, T), 1 / T),
        "identity": torch.eye(T),
        "causal": torch.stack([(torch.arange(T) <= i) / (i + 1) for i in range(T)]),
    }[omega]
    torch.testing.assert_close(found, expected)
    assert lm_ht(T, leak=1.0).retention().tolist() == [1] * T
    for leaks in ("layer", "step"):
        found = lm_ht(T, leak=0.9, leaks=leaks).retention().tolist()
        assert found == pytest.approx([0.9] * T)


def test_two_steps_by_hand():
    # u = 1/4, J = (0.8 + 0.2)/2 = 0.5 at both steps, v0 = 1/8:
    # v = 0.625: 2 spikes, 0.125 left; then the same again
    neurons = lm_ht(2, levels=4)
    (counts, values), state = neurons(torch.tensor([0.8, 0.2]).double().view(2, 1, 1))
    assert counts.flatten().tolist() == [2, 2]
    assert values.flatten().tolist() == [0.5, 0.5]
    assert state.potential.item() == pytest.approx(0.125)


def test_more_than_the_levels_and_less_than_nothing():
    neurons = lm_ht(3, levels=2, omega="identity", v0=0)
    (counts, _), state = neurons(torch.tensor([1.75, -3.0, 0.5]).double().view(3, 1, 1))
    assert counts.flatten().tolist() == [2, 0, 0]
    assert state.potential.item() == 0.75 - 3 + 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v0", [0.0, 0.5])
def test_one_level_under_the_identity_is_if(dtype, v0):
    currents, theta = torch.randn(16, 5, 4, 7, dtype=dtype), torch.rand(4) + 0.1
    keep = (torch.rand(currents.shape) < 0.7).to(dtype)
    for mask in (None, keep):
        ours, state = lm_ht(16, theta, dtype, levels=1, omega="identity", v0=v0)(
            currents, None, mask
        )
        theirs, other = layer("if", theta, dtype, v0=v0)(currents, None, mask)
        assert torch.equal(ours.counts, theirs.counts)
        assert torch.equal(ours.values, theirs.values)
        assert torch.equal(state.potential, other.potential)


units = st.integers(-3, 3).map(lambda k: 2.0**k)
starts = st.integers(0, 7).map(lambda k: k / 8)


@laws
@given(st.integers(1, 9), st.integers(1, 6), units, starts, st.randoms())
def test_theorem_4_2_one_step_of_levels_is_levels_steps_of_if(L, T, unit, v0, random):
    torch.manual_seed(random.randrange(2**31))
    of_each = unit * dyadic((T, 2, 50), 0, 63 / 64)  # times L in [0, theta), exactly
    many, after = lm_ht(T, L * unit, levels=L, omega="identity", v0=v0)(L * of_each)
    fine = layer("if", unit, torch.float64, v0=v0)
    single, other = fine(of_each.repeat_interleave(L, 0))
    assert torch.equal(many.counts, single.counts.unflatten(0, (T, L)).sum(1))
    assert torch.equal(after.potential, other.potential)


@laws
@given(st.integers(1, 9), st.integers(1, 3).map(lambda k: 2**k), units, starts, st.randoms())
def test_theorem_4_2_constant_current(L, T, unit, v0, random):
    torch.manual_seed(random.randrange(2**31))
    current = L * unit * dyadic((2, 80), -1, 2)
    for omega in ("uniform", "identity"):
        neurons = lm_ht(T, L * unit, levels=L, omega=omega, v0=v0)
        (counts, _), _ = neurons(current.expand(T, -1, -1))
        expected = torch.floor(v0 + T * current / unit).clamp(0, L * T)
        assert torch.equal(counts.sum(0), expected)


@laws
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 16), st.floats(0.1, 8), st.randoms())
def test_theorem_4_4_the_error_has_no_bias(L, T, quantized, theta, random):
    torch.manual_seed(random.randrange(2**31))
    x = theta * torch.rand(1, 20_000).double()
    spread = torch.rand(T, 1, 20_000).double()
    currents = x * spread * T / spread.sum(0)  # any course with this mean
    (_, values), _ = lm_ht(T, theta, levels=L)(currents)
    target = torch.floor(x / theta * quantized + 0.5).clamp(0, quantized) * theta / quantized
    error = values.mean(0) - target
    # with L*T = T_q there is none but rounding; six standard errors of the mean else
    assert error.mean().abs() <= 6 * error.std() / x.numel() ** 0.5 + 1e-6 * theta


def test_at_one_step_it_is_the_quantized_activation():
    x = torch.randn(1, 4, 300).double()
    for L in (1, 3, 16, 1024):
        (_, values), _ = lm_ht(1, 0.8, levels=L)(x)
        expected = torch.floor(x / (0.8 / L) + 0.5).clamp(0, L) * (0.8 / L)
        torch.testing.assert_close(values, expected)
    assert (values - x.clamp(0, 0.8)).abs().max() <= 0.8 / 2048 + 1e-6


@pytest.mark.parametrize("L", [1, 2, 5])
def test_the_surrogate_on_a_grid(L):
    unit = torch.tensor(0.25).double()
    potential = torch.linspace(-1, 2, 1201).double().requires_grad_()
    (found,) = torch.autograd.grad(level_spikes(potential, unit, L).sum(), potential)
    inside = (potential >= unit / 2) & (potential <= (L + 0.5) * unit)
    assert torch.equal(found, inside / unit)


@pytest.mark.parametrize("reset", ["detached", "through"])
def test_gradients_against_the_formula(reset):
    T, L = 3, 2
    neurons = lm_ht(T, 0.8, levels=L, reset=reset)
    with torch.no_grad():
        neurons.omega += 0.2 * torch.rand(T, T)
        neurons.alpha += 0.3
    currents = torch.rand(T, 4, 9).double().requires_grad_()
    (_, values), _ = neurons(currents)
    weights = torch.randn_like(values)
    wanted = [currents, neurons.omega, neurons.alpha]
    found = torch.autograd.grad((weights * values).sum(), wanted)

    unit, lam = 0.4, neurons.retention().double()
    mixed = torch.einsum("ij,jbn->ibn", neurons.omega.double(), currents)
    v, out = torch.full((4, 9), 0.2).double(), []
    for t in range(T):
        v = lam[t] * (v.detach() if reset == "detached" else v) + mixed[t]
        exact = torch.floor(v / unit).clamp(0, L) * unit
        inside = ((v >= unit / 2) & (v <= (L + 0.5) * unit)).double()
        x = exact.detach() + inside * (v - v.detach())
        v = v - (x.detach() if reset == "detached" else x)
        out.append(x)
    expected = torch.autograd.grad((weights * torch.stack(out)).sum(), wanted)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert theirs.abs().max() > 0


def test_another_number_of_steps_is_refused():
    neurons = lm_ht(4)
    with pytest.raises(ValueError, match="for 4 steps was given 3 after 0"):
        neurons(torch.zeros(3, 1, 1).double())
    streaming = lm_ht(4, omega="causal")
    _, state = streaming(torch.zeros(3, 1, 1).double())
    with pytest.raises(ValueError, match="for 4 steps was given 2 after 3"):
        streaming(torch.zeros(2, 1, 1).double(), state)


def test_the_batch_changes_no_bit():
    currents = torch.randn(4, 33, 5, 7)
    neurons = lm_ht(4, 0.3, torch.float32)
    whole = neurons(currents)[0].values
    alone = torch.cat([neurons(currents[:, b : b + 1])[0].values for b in range(33)], 1)
    assert torch.equal(whole, alone)


@pytest.mark.parametrize("bad", [{"levels": 0}, {"omega": "random"}, {"leak": 1.6}, {"v0": 1}])
def test_parameters_that_can_not_be(bad):
    with pytest.raises(ValidationError):
        Params(**bad)


@pytest.mark.parametrize("leaks", ["layer", "step"])
@pytest.mark.parametrize("omega", ["uniform", "bounded", "causal"])
@pytest.mark.parametrize("L", [1, 2, 4])
def test_its_single_threshold_twin_counts_the_same_by_window(L, omega, leaks):
    T = 4
    neurons = lm_ht(T, 1.0, levels=L, omega=omega, leaks=leaks)
    with torch.no_grad():
        neurons.omega += 0.1 * torch.rand(T, T)
        neurons.alpha += 0.3 * torch.rand(neurons.alpha.shape)
    twin = neurons.single_threshold()
    assert (twin.levels, twin.timesteps) == (1, L * T)
    # within [0, theta) at every step, whatever Omega and lambda: potentials stay below u too
    currents = 0.4 * torch.rand(T, 3, 500).double()
    (many, _), after = neurons(currents)
    (single, _), other = twin(currents.repeat_interleave(L, 0))
    differ = (many != single.unflatten(0, (T, L)).sum(1)).double().mean()
    assert differ < 1e-3  # a potential within rounding of a level
    if not differ:
        torch.testing.assert_close(L * after.potential, other.potential)
    assert many.sum() > 500


@laws
@given(st.integers(0, 2).map(lambda k: 2**k), st.integers(1, 4), st.randoms())
def test_its_single_threshold_twin_is_exact_where_sums_are(L, T, random):
    torch.manual_seed(random.randrange(2**31))
    neurons = lm_ht(T, levels=L)
    with torch.no_grad():  # rows sum to 1 at most, so what is mixed is within [0, theta)
        neurons.omega.copy_(torch.randint(0, 3, (T, T)) / 8)
    currents = dyadic((T, 3, 100), 0, 63 / 64)
    (many, _), after = neurons(currents)
    (single, _), other = neurons.single_threshold()(currents.repeat_interleave(L, 0))
    assert torch.equal(many, single.unflatten(0, (T, L)).sum(1))
    assert torch.equal(L * after.potential, other.potential)


@pytest.mark.parametrize("omega", ["uniform", "bounded", "identity", "causal"])
@pytest.mark.parametrize("T", [2, 3, 8])
def test_it_averages_while_omega_is_uniform(omega, T):
    neurons = lm_ht(T, omega=omega)
    assert neurons.averages() == (omega in ("uniform", "bounded"))
    with torch.no_grad():
        neurons.omega[-1, 0] += 1e-3
    assert not neurons.averages()


def test_what_it_learns_is_told_in_its_equations_values():
    neurons = lm_ht(2, omega="bounded", leak=0.9)
    with torch.no_grad():
        neurons.omega[0, 0] = 1000.0
    found = neurons.learnables()
    assert sorted(found["Omega"].tolist()) == [0.5, 0.5, 0.5, 1.0]
    assert found["lambda"].tolist() == pytest.approx([0.9] * 2)
    # above a causal matrix's diagonal there is nothing to learn
    assert lm_ht(2, omega="causal").learnables()["Omega"].tolist() == [1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("omega", "T", "answers"),
    [
        ("uniform", 4, [False, False, False, True]),
        ("uniform", 1, [True]),
        ("bounded", 2, [False, True]),
        ("identity", 3, [True, True, True]),
        ("causal", 3, [True, True, True]),
    ],
)
def test_when_the_output_so_far_is_final(omega, T, answers):
    assert lm_ht(T, omega=omega).answers(T).tolist() == answers


def test_an_identity_that_has_learned_to_look_ahead_has_no_answer_before():
    neurons = lm_ht(4, omega="identity")
    with torch.no_grad():
        neurons.omega[1, 2] = 1e-3  # step 2 asks for step 3
    assert neurons.answers(4).tolist() == [True, False, True, True]


def test_reparameterized_from_the_identity_there_is_an_answer_after_each_window():
    single = lm_ht(3, levels=2, omega="identity").single_threshold()
    assert single.answers(6).tolist() == [False, True] * 3


@laws
@given(st.integers(1, 5), st.integers(0, 2**16))
def test_what_comes_later_changes_nothing_before_an_answer(T, seed):
    """The law behind it, on matrices with some zeros, by running both."""
    torch.manual_seed(seed)
    neurons = lm_ht(T, omega="uniform")
    with torch.no_grad():
        neurons.omega.copy_(torch.rand(T, T) * (torch.rand(T, T) < 0.5))
    currents = torch.rand(T, 2, 3).double()
    (counts, _), _ = neurons(currents)
    for t, final in enumerate(neurons.answers(T).tolist(), start=1):
        later = currents.clone()
        later[t:] += 50 * torch.rand(T - t, 2, 3).double()
        (other, _), _ = neurons(later)
        if final:
            assert torch.equal(counts[:t], other[:t])
        else:
            assert (neurons.matrix()[:t, t:] != 0).any()
