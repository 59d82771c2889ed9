"""max_norm: the bound holds after every step, and what is within it is not touched."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop

PARAMS = {
    "dense": {"kernel": jnp.arange(12.0).reshape(4, 3) / 4, "bias": jnp.full(3, 9.0)},
    "conv": {"kernel": jnp.arange(54.0).reshape(3, 3, 2, 3) / 20},
}


def stepped(tx, params, grads):
    updates, _ = tx.update(grads, tx.init(params), params)
    return optax.apply_updates(params, updates)


def norms(kernel):
    return jnp.sqrt((kernel**2).sum(axis=tuple(range(kernel.ndim - 1))))


def test_incoming_norms_end_at_the_bound_and_directions_stay():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    after = stepped(jaxdrop.max_norm(2.0), PARAMS, zero)
    for name in ("dense", "conv"):
        kernel, new = PARAMS[name]["kernel"], after[name]["kernel"]
        before = norms(kernel)
        np.testing.assert_allclose(norms(new), jnp.minimum(before, 2.0), rtol=1e-6)
        scaled = np.asarray(kernel) * np.minimum(1, 2 / np.asarray(before))
        np.testing.assert_allclose(new, scaled, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after["dense"]["bias"], PARAMS["dense"]["bias"])


def test_a_step_within_the_bound_is_the_optimizer_s_own():
    grads = jax.tree.map(lambda p: 0.1 * jnp.cos(p), PARAMS)
    plain = stepped(optax.sgd(0.3), PARAMS, grads)
    bounded = stepped(optax.chain(optax.sgd(0.3), jaxdrop.max_norm(100.0)), PARAMS, grads)
    jax.tree.map(np.testing.assert_array_equal, bounded, plain)


def test_the_bound_holds_throughout_training_under_jit():
    tx = optax.chain(optax.sgd(0.5, momentum=0.9), jaxdrop.max_norm(1.5))

    @jax.jit
    def step(params, state):
        grads = jax.tree.map(lambda p: -jnp.ones_like(p), params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(5):
        params, state = step(params, state)
        for name in ("dense", "conv"):
            assert (norms(params[name]["kernel"]) <= 1.5 * (1 + 1e-5)).all()
    assert norms(params["dense"]["kernel"]).max() > 1.49  # it was the bound that held it


def test_zero_weights_and_half_precision():
    params = {"kernel": jnp.zeros((4, 2), jnp.bfloat16)}
    after = stepped(jaxdrop.max_norm(1.0), params, params)
    assert after["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(after["kernel"], params["kernel"])
    far = {"kernel": jnp.full((4, 2), 3.0, jnp.bfloat16)}
    after = stepped(jaxdrop.max_norm(1.0), far, params)["kernel"].astype(jnp.float32)
    np.testing.assert_allclose(norms(after), 1.0, rtol=2**-7)


def test_where_chooses_the_parameters():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    after = stepped(jaxdrop.max_norm(0.1, where=lambda p: p.ndim == 4), PARAMS, zero)
    np.testing.assert_array_equal(after["dense"]["kernel"], PARAMS["dense"]["kernel"])
    assert norms(after["conv"]["kernel"]).max() < 0.11


def test_heads_are_bounded_one_by_one_along_the_given_axis():
    query = jnp.arange(24.0).reshape(4, 2, 3)
    after = stepped(jaxdrop.max_norm(2.0, axis=0), {"q": query}, {"q": jnp.zeros_like(query)})["q"]
    before = np.linalg.norm(query, axis=0)
    np.testing.assert_allclose(np.linalg.norm(after, axis=0), np.minimum(before, 2), rtol=1e-6)
    shared = stepped(jaxdrop.max_norm(2.0), {"q": query}, {"q": jnp.zeros_like(query)})["q"]
    assert np.linalg.norm(shared, axis=0).max() < 1.9  # what the docstring warns of
    same = stepped(jaxdrop.max_norm(2.0, axis=(0, -2)), {"q": query}, {"q": 0 * query})["q"]
    np.testing.assert_array_equal(same, shared)


def test_the_bound_may_be_a_hyperparameter_that_changes_under_jit():
    tx = optax.inject_hyperparams(jaxdrop.max_norm, static_args=("where", "axis"))(c=1.0)
    params = {"kernel": jnp.full((4, 2), 3.0)}

    @jax.jit
    def step(state, c):
        state.hyperparams["c"] = c
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
        return optax.apply_updates(params, updates)

    for c in (0.5, 2.0):
        np.testing.assert_allclose(norms(step(tx.init(params), c)["kernel"]), c, rtol=1e-6)


def test_masked_and_missing_updates_pass_through():
    mask = {"dense": True, "conv": False}
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    after = stepped(optax.masked(jaxdrop.max_norm(0.1), mask), PARAMS, zero)
    np.testing.assert_array_equal(after["conv"]["kernel"], PARAMS["conv"]["kernel"])
    assert norms(after["dense"]["kernel"]).max() < 0.11
    frozen = {**zero, "conv": {"kernel": None}}
    updates, _ = jaxdrop.max_norm(0.1).update(frozen, optax.EmptyState(), PARAMS)
    assert updates["conv"]["kernel"] is None
    assert (updates["dense"]["kernel"] != 0).any()


def test_wrong_use_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="got c=0, expected a norm above 0"):
        jaxdrop.max_norm(0)
    with pytest.raises(ValueError, match="expected a norm above 0"):
        jaxdrop.max_norm(jnp.float32(jnp.nan))
    with pytest.raises(TypeError, match="got c='3' of type str, expected a norm above 0"):
        jaxdrop.max_norm("3")
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    with pytest.raises(ValueError, match=r"got 2 in axis=\(2,\) for an array of 2 dimensions"):
        stepped(jaxdrop.max_norm(1.0, axis=2), PARAMS, zero)
    with pytest.raises(ValueError, match="it needs them: call tx.update"):
        jaxdrop.max_norm(1.0).update({}, optax.EmptyState())
