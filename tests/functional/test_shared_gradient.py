"""The gradients of the members of the family: the forward mask, nothing kept, none to the rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scripts.members import Case, TwoPoint
from tests.functional.over_members import RATE, decisions, key, over, run, with_law


@pytest.mark.slow
@over(integer_input=False)
def test_gradient_uses_the_mask_of_the_forward_pass(member: Case) -> None:
    x = member.example()
    t = np.sin(np.arange(x.size, dtype=np.float32)).reshape(x.shape)

    def f(x: jax.Array) -> jax.Array:
        return member.apply(key(3), x, RATE)

    @jax.jit
    def both_ways(x: jax.Array, t: jax.Array) -> tuple[jax.Array, ...]:
        y, out_t = jax.jvp(f, (x,), (t,))
        w = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        (back,) = jax.vjp(f, x)[1](w)
        return out_t, w, back

    out_t, w, back = map(np.asarray, both_ways(x, t))
    f = jax.jit(f)
    if member.affine:
        np.testing.assert_allclose(out_t, f(x + t) - f(x), rtol=1e-4, atol=1e-5)
    else:  # by a symmetric difference, whose error is of the order of step**2
        step = 2.0**-6
        slope = (f(x + step * t) - f(x - step * t)) / (2 * step)
        np.testing.assert_allclose(out_t, slope, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(np.vdot(back, t), np.vdot(w, out_t), rtol=1e-4)
    if member.diagonal:
        np.testing.assert_allclose(back * t, w * out_t, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@over(lean=True)
def test_nothing_large_is_kept_for_the_backward_pass(member: Case) -> None:
    x = jax.ShapeDtypeStruct([n * 8 for n in member.shape], jnp.float32)
    pull = jax.eval_shape(lambda x: jax.vjp(lambda x: member.apply(key(), x, RATE), x)[1], x)
    saved = [leaf.size for leaf in jax.tree.leaves(pull)]
    assert max(saved, default=0) <= 8, saved


@pytest.mark.slow
@with_law(TwoPoint)
def test_a_dropped_nan_is_forgotten_and_so_is_its_gradient(member: Case) -> None:
    assert isinstance(member.law, TwoPoint)
    if member.integer_input or not member.law.forgets:
        pytest.skip("there is no NaN, or what is dropped passes x on")
    x = member.example()
    dropped = decisions(member, np.asarray(run(member, key(5), x)).astype(np.float64))

    @jax.jit
    def value_and_pulled_back(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pull = jax.vjp(lambda x: member.apply(key(5), x, RATE), x)
        return y, pull(jnp.ones_like(y))[0]

    y, back = value_and_pulled_back(np.full(x.shape, np.nan, np.float32))
    np.testing.assert_array_equal(np.isfinite(y), dropped)
    np.testing.assert_array_equal(np.asarray(back) == 0, dropped)


@pytest.mark.slow
@over(traced_rate=True, integer_input=False)
def test_no_gradient_flows_to_the_rate(member: Case) -> None:
    loss = jax.jit(lambda rate: member.apply(key(), member.example(), rate).sum())
    assert jax.grad(loss)(0.3) == 0
