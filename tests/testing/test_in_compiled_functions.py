"""jaxdrop.testing inside compiled functions, under chex.chexify: the same verdicts, by the program.

The bounds of a count decide as the p-value does on the host, at every count.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop.testing import (
    assert_deterministic_eval,
    assert_gradient_uses_mask,
    assert_independent_masks,
    assert_mask_rate,
    assert_mean_preserved,
)
from jaxdrop.testing._p_values import binomial_p_value, count_bounds

X = jnp.linspace(0.5, 2.0, 100)
BUDGETS = [1e-15, 1e-6, 1e-3, 0.05, 0.5, 0.999]


def new_key(n: int = 0) -> jax.Array:
    return jax.random.key(n)


def compiled(check: Callable[..., Any]) -> Callable[..., Any]:
    """Return a jitted function that calls the check, as a train step would, and raises."""
    return chex.chexify(jax.jit(check), async_check=False)


# The bounds.


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.0, 1e-9, 0.01, 0.1, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("total", [0, 1, 2, 17, 200])
def test_the_bounds_decide_as_the_p_value_at_every_count(total: int, keep: float) -> None:
    counts = np.arange(total + 1)
    p_values = binomial_p_value(counts, total, keep)
    for budget in BUDGETS:
        low, high = count_bounds(total, keep, budget)
        np.testing.assert_array_equal(p_values > budget, (low <= counts) & (counts <= high))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [1e-6, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("total", [10**6, 2**31 - 1])
def test_the_bounds_decide_as_the_p_value_at_the_edges(total: int, keep: float) -> None:
    for budget in BUDGETS:
        low, high = count_bounds(total, keep, budget)
        inside = binomial_p_value(np.array([low, high]), total, keep)
        assert (inside > budget).all()
        below, above = binomial_p_value(np.array([low - 1, high + 1]), total, keep)
        assert (low == 0 or below <= budget) and (high == total or above <= budget)


# assert_mask_rate


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape, rate", [((4000,), 0.5), ((64, 256), 0.0), ((64, 256), 0.1), ((4, 16, 256), 1.0)]
)
def test_a_mask_of_the_right_rate_is_quiet(shape: tuple[int, ...], rate: float) -> None:
    mask = jaxdrop.keep_mask(new_key(), shape, rate)
    compiled(lambda mask: assert_mask_rate(mask, rate))(mask)


def test_a_wrong_rate_in_a_jitted_step_fails() -> None:
    @chex.chexify
    @jax.jit
    def step(key: jax.Array, rate: Any) -> jax.Array:
        mask = jaxdrop.keep_mask(key, (64, 256), rate)
        assert_mask_rate(mask, 0.1)
        return mask.sum()

    step(new_key(), 0.1)
    step.wait_checks()
    step(new_key(), 0.15)
    with pytest.raises(AssertionError, match=r"the mask of shape \(64, 256\) keeps 13\d\d\d of 16"):
        step.wait_checks()


@pytest.mark.parametrize("name", ["row 5", "column 5"])
def test_one_bad_row_or_column_fails(name: str) -> None:
    planted = np.array(jaxdrop.keep_mask(new_key(), (128, 128), 0.5))
    bad = np.arange(128) % 16 != 0  # keeps 120 of 128
    planted[5 if "row" in name else slice(None), slice(None) if "row" in name else 5] = bad
    found = f"{name} of the mask of shape .* keeps 120 of 128 elements, expected .* rate 0.5"
    with pytest.raises(AssertionError, match=found):
        compiled(lambda mask: assert_mask_rate(mask, 0.5))(planted)


def fails(check: Callable[[], Any]) -> bool:
    try:
        check()
    except AssertionError:
        return True
    return False


@pytest.mark.slow
def test_both_ways_decide_alike() -> None:
    def check(mask: Any) -> None:
        assert_mask_rate(mask, 0.3, false_alarm=0.05)

    in_a_program = compiled(check)
    low, high = count_bounds(60, 0.7, 0.05)
    assert 0 < low < high < 60
    for kept in range(61):
        mask = np.arange(60) < kept
        assert fails(lambda m=mask: check(m)) == fails(lambda m=mask: in_a_program(m))  # type: ignore[misc]
        assert fails(lambda m=mask: check(m)) != (low <= kept <= high)  # type: ignore[misc]


def nested(transform: str) -> Callable[[Any], Any]:
    """Return a function of the rate whose mask is drawn and checked within a transformation."""

    def draw(key: Any, rate: Any) -> jax.Array:
        mask = jaxdrop.keep_mask(key, (64, 64), rate)
        assert_mask_rate(mask, 0.5)
        return jnp.where(mask, 1.0, 0.0)

    def loss(x: jax.Array, key: Any, rate: Any) -> jax.Array:
        return (x * draw(key, rate)).sum()

    x = jnp.ones((64, 64))

    def keys() -> jax.Array:
        return jax.random.split(new_key(), 3)

    return {
        "scan": lambda rate: jax.lax.map(lambda key: draw(key, rate), keys()),
        "vmap": lambda rate: jax.vmap(draw, (0, None))(keys(), rate),
        "grad": lambda rate: jax.grad(loss)(x, new_key(), rate),
        "checkpoint": lambda rate: jax.grad(jax.checkpoint(loss))(x, new_key(), rate),
        "cond": lambda rate: jax.lax.cond(rate > 0, lambda: draw(new_key(), rate), lambda: x),
    }[transform]


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["scan", "vmap", "grad", "checkpoint", "cond"])
def test_masks_inside_of_transformations(transform: str) -> None:
    step = compiled(nested(transform))
    step(0.5)
    with pytest.raises(AssertionError, match=r"the mask of shape \(64, 64\) keeps"):
        step(0.4)


# The others.


def test_independent_masks() -> None:
    step = compiled(assert_independent_masks)
    a, b = (jaxdrop.keep_mask(new_key(n), (64, 64), 0.5) for n in (0, 1))
    step(a, b)
    with pytest.raises(AssertionError, match="identical.* expected .* probability .* less than"):
        step(a, a)
    with pytest.raises(AssertionError, match="agree on keeping 0, expected"):
        step(a, ~a)
    with pytest.raises(AssertionError, match="too small, too empty or too full"):
        step(jnp.ones_like(a), b)


def dropped(key: Any, x: Any) -> jax.Array:
    return jaxdrop.dropout(key, x, 0.5)


def unscaled(key: Any, x: Any) -> jax.Array:
    return jaxdrop.dropout(key, x, 0.5, scale_at="test")


@jax.custom_vjp
def without_mask(key: Any, x: Any) -> jax.Array:
    return dropped(key, x)


without_mask.defvjp(lambda key, x: (dropped(key, x), None), lambda _, g: (None, 2 * g))


def noisy(key: Any, x: Any) -> jax.Array:
    return x if key is None else x.at[3].add(1e-6 * jax.random.normal(key))


@pytest.mark.slow
def test_mean_preserved() -> None:
    compiled(lambda key, x: assert_mean_preserved(dropped, key, x))(new_key(), X)
    with pytest.raises(AssertionError, match=r"mean of y / x is 0\.\d+ at .*expected 1.*less than"):
        compiled(lambda key, x: assert_mean_preserved(unscaled, key, x))(new_key(), X)
    biased = compiled(
        lambda key, x: assert_mean_preserved(lambda k, v: dropped(k, v).at[7].mul(0.5), key, x)
    )
    with pytest.raises(AssertionError, match=r"at \(7,\)"):
        biased(new_key(), X)
    bounded = compiled(
        lambda key, x: assert_mean_preserved(dropped, key, x, support=(0.0, 1.5), num_samples=50)
    )
    with pytest.raises(AssertionError, match=r"expected within support=\(0.0, 1.5\)"):
        bounded(new_key(), X)


@pytest.mark.slow
def test_gradient_uses_mask() -> None:
    compiled(lambda key, x: assert_gradient_uses_mask(dropped, key, x))(new_key(), X)
    with pytest.raises(AssertionError, match="the gradient is 0 at 0, but"):
        compiled(lambda key, x: assert_gradient_uses_mask(without_mask, key, x))(new_key(), X)


@pytest.mark.slow
def test_deterministic_eval() -> None:
    compiled(lambda x: assert_deterministic_eval(lambda key, x: {"a": 2 * x}, x))(X / 0)
    found = r"key\(0\) changed 1 of 100 elements of the output, the first at \(3,\).* is 0"
    with pytest.raises(AssertionError, match=found):
        compiled(lambda x: assert_deterministic_eval(noisy, x))(X)


def test_values_of_x_are_looked_at_by_the_program() -> None:
    step = compiled(lambda key, x: assert_gradient_uses_mask(dropped, key, x))
    with pytest.raises(AssertionError, match="1 of 100 elements zero or not finite"):
        step(new_key(), X.at[2].set(0.0))


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 200_000])
def test_large_arrays_reach_the_host(size: int) -> None:
    """A program that calls back with them must not wait for itself."""
    x = jnp.ones(size)
    step = compiled(lambda key, x: assert_gradient_uses_mask(dropped, key, x))
    for _ in range(3):
        step(new_key(), x)


# What is told at once.


CHECKS: dict[str, Callable[[Any, Any], Any]] = {
    "assert_mask_rate": lambda key, x: assert_mask_rate(x > 1, 0.5),
    "assert_independent_masks": lambda key, x: assert_independent_masks(x > 1, x > 1),
    "assert_mean_preserved": lambda key, x: assert_mean_preserved(dropped, key, x),
    "assert_gradient_uses_mask": lambda key, x: assert_gradient_uses_mask(dropped, key, x),
    "assert_deterministic_eval": lambda key, x: assert_deterministic_eval(lambda k, x: x, x),
}


@pytest.mark.parametrize("name", CHECKS)
def test_without_chexify_the_way_out_is_named(name: str) -> None:
    sentence = rf"traced array, a Tracer, in {name}, .*wrap .* step = chex\.chexify\(jax\.jit\(step"
    with pytest.raises(TypeError, match=sentence):
        jax.eval_shape(CHECKS[name], new_key(), X)


def test_what_is_static_is_told_while_tracing() -> None:
    mask = jnp.ones((8, 8), bool)
    with pytest.raises(TypeError, match="a number that is known here, as the bounds"):
        compiled(assert_mask_rate)(mask, 0.5)
    with pytest.raises(ValueError, match="5 elements is too small"):
        compiled(lambda mask: assert_mask_rate(mask, 0.5))(mask[0, :5])
    with pytest.raises(TypeError, match="dtype float32, expected a bool array"):
        compiled(lambda mask: assert_mask_rate(mask, 0.5))(X)
    with pytest.raises(ValueError, match=r"2147483648 elements in a compiled function"):
        huge = jax.ShapeDtypeStruct((2**31,), bool)
        jax.eval_shape(lambda mask: assert_mask_rate(mask, 0.5), huge)
