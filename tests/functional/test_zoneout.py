"""Zoneout: support, law, moments, gradient, and the expectation at test time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop.testing import assert_mask_rate

KEY = jax.random.key(2017)
NEW, OLD = jnp.full((200, 100), 3.0), jnp.full((200, 100), -1.0)
MODES: list[dict[str, Any]] = [{}, {"deterministic": True}]


def test_each_unit_is_the_new_or_the_previous_one_at_the_rate():
    h = jaxdrop.zoneout(KEY, NEW, 0.3, previous=OLD)
    assert set(np.unique(h)) == {-1.0, 3.0}
    assert_mask_rate(h == NEW, 0.3)
    np.testing.assert_array_equal(h == NEW, jaxdrop.keep_mask(KEY, NEW.shape, 0.3))
    with pytest.raises(AssertionError, match="expected"):  # roles exchanged
        assert_mask_rate(jaxdrop.zoneout(KEY, OLD, 0.3, previous=NEW) == NEW, 0.3)


def test_test_time_is_the_expectation():
    y = jaxdrop.zoneout(None, NEW, 0.25, previous=OLD, deterministic=True)
    np.testing.assert_array_equal(y, jnp.full_like(NEW, 0.25 * -1 + 0.75 * 3))
    traced = jax.jit(lambda d: jaxdrop.zoneout(KEY, NEW, 0.25, previous=OLD, deterministic=d))
    np.testing.assert_array_equal(traced(jnp.array(True)), y)
    np.testing.assert_array_equal(
        traced(jnp.array(False)), jaxdrop.zoneout(KEY, NEW, 0.25, previous=OLD)
    )


def test_rates_zero_and_one():
    assert jaxdrop.zoneout(None, NEW, 0.0, previous=OLD) is NEW
    np.testing.assert_array_equal(jaxdrop.zoneout(KEY, NEW, 1.0, previous=OLD), OLD)
    np.testing.assert_array_equal(
        jax.jit(lambda r: jaxdrop.zoneout(KEY, NEW, r, previous=OLD))(1.0), OLD
    )


def test_the_gradient_goes_where_the_value_came_from_and_not_to_the_rate():
    mask = jaxdrop.keep_mask(KEY, NEW.shape, 0.3)
    to_new, to_old = jax.grad(lambda a, b: jaxdrop.zoneout(KEY, a, 0.3, previous=b).sum(), (0, 1))(
        NEW, OLD
    )
    np.testing.assert_array_equal(to_new, mask.astype(jnp.float32))
    np.testing.assert_array_equal(to_old, 1 - mask.astype(jnp.float32))
    rate = jax.grad(lambda r: jaxdrop.zoneout(KEY, NEW, r, previous=OLD).sum())(jnp.array(0.3))
    assert rate == 0


def test_a_scan_keeps_no_mask_per_step_for_its_gradient():
    steps, size = 64, 4096

    def loss(x):
        def step(h, t):
            new = h * x
            return jaxdrop.zoneout(jax.random.fold_in(KEY, t), new, 0.5, previous=h), None

        return jax.lax.scan(step, jnp.ones(size), jnp.arange(steps))[0].sum()

    jaxpr = str(jax.make_jaxpr(jax.grad(loss))(jnp.ones(size)))
    assert f"f32[{steps},{size}]" in jaxpr  # the states, which the product needs
    assert f"bool[{steps},{size}]" not in jaxpr


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.complex64])
def test_the_dtype_is_kept(dtype):
    a, b = NEW.astype(dtype), OLD.astype(dtype)
    for options in MODES:
        assert jaxdrop.zoneout(KEY, a, 0.5, previous=b, **options).dtype == dtype


def test_states_that_do_not_agree_are_told_in_a_sentence():
    with pytest.raises(ValueError, match=r"shape \(200, 100\) .* previous one of shape \(3,\)"):
        jaxdrop.zoneout(KEY, NEW, 0.5, previous=jnp.ones(3))
    with pytest.raises(TypeError, match="^got previous of dtype int32; zoneout takes a floating"):
        jaxdrop.zoneout(KEY, NEW, 0.5, previous=OLD.astype(jnp.int32))
    for options in MODES:
        with pytest.raises(ValueError, match=r"^got a rate of shape \(200,\), which does not"):
            jaxdrop.zoneout(KEY, NEW, np.full(200, 0.5), previous=OLD, **options)
