"""The networks of the dropout paper and their training: schedules, noise, penalties, bounds."""

import dataclasses
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import jaxdrop

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments._data.images import Split  # noqa: E402  (after the check)
from experiments._networks.feedforward import Net, Noise, Params, forward, init  # noqa: E402
from experiments._networks.recipe import Moment, Recipe, make_train, optimizer  # noqa: E402

pytestmark = pytest.mark.slow

FALSE_ALARM = 1e-9
draw = np.random.RandomState(0)
X = draw.uniform(size=(60, 12)).astype(np.float32)
DATA = Split(X, (X[:, 0] * 3).astype(np.int32), X[:20], (X[:20, 0] * 3).astype(np.int32))


@pytest.fixture(autouse=True)
def as_users_run_it() -> Any:
    """optax.inject_hyperparams promotes dtypes by itself."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def trained(recipe: Recipe, measure: Any, net: Net | None = None, rate: Any = 0.5) -> Any:
    train = jax.jit(make_train(net or Net((8,)), recipe, measure))
    rates = jnp.float32(0.2), jnp.asarray(rate, jnp.float32)
    return train(jax.random.key(0), *rates, jnp.float32(0.1), DATA)


def first_hidden(net: Net, params: Params, x: jax.Array) -> jax.Array:
    """Return the first hidden layer after its noise."""
    keys = [None, *jax.random.split(jax.random.key(1), len(net.hidden))]
    _, sown = net.apply({"params": params}, x, train=True, keys=keys, mutable="intermediates")
    return sown["intermediates"]["after"][1]


def last_params(net: Net, moment: Moment) -> Any:
    return moment.params


def test_the_step_follows_both_schedules() -> None:
    tx = optimizer(Recipe(100, decay=10.0, momentum=(0.5, 0.9)), jnp.float32(0.2))
    params = {"w": jnp.zeros(())}
    state, trace = tx.init(params), 0.0
    for step in range(30):
        updates, state = tx.update({"w": jnp.ones(())}, state, params)
        momentum = 0.5 + 0.4 * min(step / 10, 1)
        trace = 1 + momentum * trace
        np.testing.assert_allclose(updates["w"], -0.2 / (1 + step / 10) * trace, rtol=1e-5)


@pytest.mark.parametrize("noise", get_args(Noise))
def test_the_key_is_split_in_the_order_of_the_layers(noise: Noise) -> None:
    net, on_weights = Net((8, 6), noise=noise), noise.startswith("drop_connect")
    params = jax.tree.map(lambda p: p + 0.1, init(jax.random.key(0), net, 12))
    on_units = jaxdrop.gaussian_dropout if noise == "gaussian" else jaxdrop.dropout
    first, *keys, _ = jax.random.split(jax.random.key(1), 4)
    x = on_units(first, jnp.asarray(X), 0.2)
    for key, layer in zip([*keys, None], params.values(), strict=True):
        kernel, bias = layer["kernel"], layer["bias"][None]
        if key is not None and on_weights:
            each = noise == "drop_connect_per_example"
            x = jaxdrop.drop_connect_dense(key, x, 0.5, kernel, per_example=each) + bias
        else:
            x = x @ kernel + bias
        if key is not None:
            x = jax.nn.relu(x) if on_weights else on_units(key, jax.nn.relu(x), 0.5)
    found = forward(net, params, jnp.asarray(X), jax.random.key(1), 0.2, 0.5)
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("noise", ["dropout", "drop_connect", "drop_connect_per_example"])
def test_the_rate_is_the_share_that_is_dropped(noise: Any) -> None:
    net = Net((40,), noise=noise, hidden_rate=0.25)
    params = init(jax.random.key(0), net, 64)
    params["Dense_0"]["kernel"] = jnp.ones((64, 40))
    hidden = first_hidden(net, params, jnp.ones((50, 64)))
    if noise == "dropout":
        dropped, n = int((hidden == 0).sum()), hidden.size
        assert stats.binomtest(dropped, n, 0.25).pvalue > FALSE_ALARM
        assert stats.binomtest(dropped, n, 0.5).pvalue < FALSE_ALARM  # a wrong rate is caught
        return
    kept = np.round(np.asarray(hidden) * 0.75).astype(int)  # of the 64 weights into each unit
    rows = 50 if noise == "drop_connect_per_example" else 1
    assert len(np.unique(kept, axis=0)) == rows  # a mask per row, or one for the batch
    total = int(kept[:rows].sum())
    assert stats.binomtest(total, rows * 64 * 40, 0.75).pvalue > FALSE_ALARM


def test_gaussian_noise_has_the_variance_of_dropout() -> None:
    net = Net((2000,), noise="gaussian", hidden_rate=0.5)
    params = init(jax.random.key(0), net, 1)
    params["Dense_0"]["kernel"] = jnp.ones((1, 2000))
    hidden = np.asarray(first_hidden(net, params, jnp.ones((5, 1))))
    # (n - 1) s^2 / variance follows a chi-squared law, for a variance of rate / (1 - rate) = 1.
    statistic = (hidden.size - 1) * hidden.var(ddof=1)
    low, high = stats.chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], hidden.size - 1)
    assert low < statistic < high
    assert not low < 1.2 * statistic < high  # a wrong variance is caught


def test_without_noise_training_mode_is_test_mode() -> None:
    for noise in ("dropout", "gaussian", "drop_connect"):
        net = Net((8, 8), noise=noise)
        params = init(jax.random.key(0), net, 12)
        zero = jnp.zeros(())
        noisy = forward(net, params, jnp.asarray(X), jax.random.key(1), zero, zero)
        np.testing.assert_allclose(noisy, forward(net, params, jnp.asarray(X)), rtol=1e-6)


def test_max_norm_bounds_every_unit() -> None:
    free = trained(Recipe(50, evaluations=1), last_params)
    bound = trained(Recipe(50, evaluations=1, max_norm=0.5), last_params)
    for a, b in zip(free.values(), bound.values(), strict=True):
        assert np.linalg.norm(a["kernel"][0], axis=0).max() > 0.6
        assert np.linalg.norm(b["kernel"][0], axis=0).max() <= 0.5 * (1 + 1e-6)


@pytest.mark.parametrize("change", [{"l2": 0.3}, {"l1": 0.1}])
def test_a_penalty_is_the_gradient_that_its_name_says(change: Any) -> None:
    nothing: dict[str, Any] = {}
    start = init(jax.random.split(jax.random.key(0), 4)[0], Net((8,)), 12)
    plain, penalised = (
        trained(Recipe(1, evaluations=1, **extra), last_params) for extra in (nothing, change)
    )
    for a, b, w in zip(*(params.values() for params in (plain, penalised, start)), strict=True):
        kernel = np.asarray(w["kernel"])
        push = 0.3 * kernel if "l2" in change else 0.1 * np.sign(kernel)
        np.testing.assert_allclose(b["kernel"][0] - a["kernel"][0], -0.1 * push, atol=1e-6)


def test_a_rate_per_step_is_the_rate_at_that_step() -> None:
    recipe = Recipe(20, evaluations=2)
    rates = np.repeat([0.5, 0.0], 10)
    first, whole = trained(recipe, last_params, rate=rates), trained(recipe, last_params, rate=0.5)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a[0], b[0])  # the same up to the tenth step
        assert not np.array_equal(a[1], b[1])


def test_an_autoencoder_learns_the_pixels() -> None:
    def pixel_loss(net: Net, moment: Moment) -> jax.Array:
        logits = forward(net, moment.params, moment.data.x_test)
        return optax.sigmoid_binary_cross_entropy(logits, moment.data.x_test).sum(axis=-1).mean()

    recipe = Recipe(200, evaluations=4, reconstruct=True)
    losses = trained(recipe, pixel_loss, Net((32,), outputs=12), rate=0.0)
    assert losses[-1] < losses[0] < 12 * np.log(2) * 1.1


def test_what_is_measured_is_measured_that_often() -> None:
    def key_word(net: Net, moment: Moment) -> jax.Array:
        return jax.random.bits(moment.key)

    words = trained(dataclasses.replace(Recipe(20), evaluations=5), key_word)
    assert len(np.unique(words)) == 5
