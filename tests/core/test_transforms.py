"""Under every transform the gradient's mask is the forward mask, and no key counts as used twice.

Dropout is linear: y = m * x with m = keep_mask * scale. Each test derives m from ``keep_mask``
and holds what the transform gives against it. conftest turns ``jax_debug_key_reuse`` on.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.ad_checkpoint import checkpoint_name

import jaxdrop

RATE = 0.3
SHAPE = (3, 4)


def inputs(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape or SHAPE)


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed)


def drop(key: jax.Array, x: jax.Array, **options: Any) -> jax.Array:
    return jaxdrop.dropout(key, x, RATE, **options)


def multiplier(key: jax.Array, shape: tuple[int, ...] = SHAPE, bits: Any = "fast") -> np.ndarray:
    mask = jaxdrop.keep_mask(jax.random.clone(key), shape, RATE, bits=bits)
    return np.where(mask, np.float32(1 / (1 - RATE)), np.float32(0))


def of_sum(f: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    return lambda x: f(x).sum()


DERIVATIVES: dict[str, Callable[[Callable[[jax.Array], jax.Array], jax.Array], Any]] = {
    "grad": lambda f, x: jax.grad(of_sum(f))(x),
    "jit of grad": lambda f, x: jax.jit(jax.grad(of_sum(f)))(x),
    "grad of jit": lambda f, x: jax.grad(of_sum(jax.jit(f)))(x),
    "vjp": lambda f, x: jax.vjp(f, x)[1](jnp.ones_like(x))[0],
    "jvp": lambda f, x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1],
    "jacfwd": lambda f, x: jax.jacfwd(f)(x).reshape(x.size, x.size).diagonal().reshape(x.shape),
    "jacrev": lambda f, x: jax.jacrev(f)(x).reshape(x.size, x.size).diagonal().reshape(x.shape),
    "linearize": lambda f, x: jax.linearize(f, x)[1](jnp.ones_like(x)),
    "linear_transpose": lambda f, x: jax.linear_transpose(f, x)(jnp.ones_like(x))[0],
    "remat": lambda f, x: jax.grad(of_sum(jax.checkpoint(f)))(x),
    "remat, jit": lambda f, x: jax.jit(jax.grad(of_sum(jax.checkpoint(f))))(x),
    "remat of remat": lambda f, x: jax.grad(of_sum(jax.checkpoint(jax.checkpoint(f))))(x),
    "vmap of grad": lambda f, x: jax.vmap(jax.grad(of_sum(f)))(x[None])[0],
    "grad of vmap": lambda f, x: jax.grad(lambda x: jax.vmap(f)(x[None]).sum())(x),
}


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["fast", "key"])
@pytest.mark.parametrize("derive", DERIVATIVES)
def test_first_derivatives(derive: str, bits: Any):
    found = DERIVATIVES[derive](lambda x: drop(key(), x, bits=bits), inputs())
    np.testing.assert_array_equal(found, multiplier(key(), bits=bits))


def test_hessian():
    """The Hessian of sum(dropout(x)**2) / 2 is m**2 on the diagonal and 0 elsewhere."""
    x = inputs()
    found = jax.jit(jax.hessian(lambda x: (drop(key(), x) ** 2).sum() / 2))(x)
    expected = np.diag(multiplier(key()).ravel() ** 2)
    np.testing.assert_array_equal(found.reshape(x.size, x.size), expected)


@pytest.mark.slow
def test_third_derivative():
    """The third derivative of dropout(x)**3 / 6 is m**3, through jvp of grad of grad."""

    def second(x: jax.Array) -> jax.Array:
        first = jax.grad(lambda x: (drop(key(), x) ** 3).sum() / 6)
        return jax.grad(lambda x: first(x).sum())(x)

    found = jax.jvp(second, (inputs(),), (jnp.ones(SHAPE),))[1]
    np.testing.assert_allclose(found, multiplier(key()) ** 3, rtol=1e-6)


@pytest.mark.slow
def test_vmap_and_grad_commute_over_keys():
    keys, x = jax.random.split(key(), 3), inputs(3, *SHAPE)

    def loss(key: jax.Array, x: jax.Array) -> jax.Array:
        return (drop(key, x) ** 2).sum() / 2

    inner = jax.vmap(jax.grad(loss, argnums=1))(keys, x)
    outer = jax.grad(lambda x: jax.vmap(loss)(keys, x).sum())(x)
    expected = jnp.stack([multiplier(k) for k in keys]) ** 2 * x
    np.testing.assert_array_equal(inner, outer)
    np.testing.assert_allclose(inner, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(None, 0), (0, None), (None, 1), (0, -1)], ids=str)
def test_vmap_axes(axes: tuple[Any, Any]):
    keys, x = jax.random.split(key(), 4), inputs(4, 4)
    k, x_axis = (keys, axes[1]) if axes[0] == 0 else (key(), axes[1])
    got = jax.vmap(drop, in_axes=axes)(k, x)
    rows = [x if x_axis is None else jnp.take(x, i, x_axis) for i in range(4)]
    expected = [drop(keys[i] if axes[0] == 0 else k, row) for i, row in enumerate(rows)]
    np.testing.assert_array_equal(got, jnp.stack(expected))


@pytest.mark.slow
def test_scan_over_layers():
    """A key per layer by fold_in, the state carried through; unrolled by hand for comparison."""
    x, ws = inputs(), jax.random.normal(key(2), (5, 4, 4)) / 2

    def layer(x: jax.Array, i: Any, w: jax.Array) -> jax.Array:
        return drop(jax.random.fold_in(key(), i), jnp.tanh(x @ w))

    def scanned(ws: jax.Array) -> jax.Array:
        step = lambda x, iw: (layer(x, *iw), None)  # noqa: E731 (one line)
        return jax.lax.scan(step, x, (jnp.arange(5), ws))[0]

    def unrolled(ws: jax.Array) -> jax.Array:
        y = x
        for i in range(5):
            y = layer(y, i, ws[i])
        return y

    assert np.array_equal(scanned(ws) == 0, unrolled(ws) == 0)
    got, expected = (jax.jit(jax.grad(of_sum(f)))(ws) for f in (scanned, unrolled))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_scan_over_steps_draws_what_a_loop_draws():
    x = inputs()
    steps = jax.lax.scan(
        lambda c, i: (c, drop(jax.random.fold_in(key(), i), x)), None, jnp.arange(4)
    )[1]
    for i in range(4):
        np.testing.assert_array_equal(steps[i], drop(jax.random.fold_in(key(), i), x))


@pytest.mark.slow
def test_scan_over_split_keys_and_traced_rates():
    x, rates = inputs(), jnp.linspace(0.0, 1.0, 4)
    keys = jax.random.split(key(), 4)
    ys = jax.lax.scan(lambda c, kr: (c, jaxdrop.dropout(kr[0], x, kr[1])), None, (keys, rates))[1]
    for i in range(4):
        np.testing.assert_array_equal(ys[i], jax.jit(jaxdrop.dropout)(keys[i], x, rates[i]))


@pytest.mark.slow
def test_while_loop_and_fori_loop():
    x = inputs()

    def body(i: Any, x: jax.Array) -> jax.Array:
        return drop(jax.random.fold_in(key(), i), x)

    expected = body(2, body(1, body(0, x)))
    ran = jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, body(*c)), (0, x))
    np.testing.assert_array_equal(ran[1], expected)
    np.testing.assert_array_equal(jax.lax.fori_loop(0, 3, body, x), expected)
    gradient = jax.grad(of_sum(lambda x: jax.lax.fori_loop(0, 3, body, x)))(x)
    np.testing.assert_array_equal(gradient == 0, expected == 0)


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
def test_cond(train: bool):
    x = inputs()

    def forward(x: jax.Array, train: jax.Array) -> jax.Array:
        return jax.lax.cond(train, lambda x: drop(key(), x), lambda x: x, x)

    y, pull = jax.vjp(lambda x: jax.jit(forward)(x, jnp.bool_(train)), x)
    m = multiplier(key()) if train else np.ones(SHAPE, np.float32)
    np.testing.assert_array_equal(y, x * m)
    np.testing.assert_array_equal(pull(jnp.ones(SHAPE))[0], m)


def policies() -> dict[str, Any]:
    """Every policy of this jax, those that are made by a call with arguments of ours."""
    named = ("names", "offload", "policies")
    found = {
        name: getattr(jax.checkpoint_policies, name)
        for name in dir(jax.checkpoint_policies)
        if not name.startswith("_") and not any(part in name for part in named)
    }
    make = jax.checkpoint_policies
    found["save_only_these_names"] = make.save_only_these_names("y")
    found["save_any_names_but_these"] = make.save_any_names_but_these("y")
    found["save_anything_except_these_names"] = make.save_anything_except_these_names("y")
    found["save_from_both_policies"] = make.save_from_both_policies(
        make.dots_saveable, make.save_only_these_names("y")
    )
    found["offload_dot_with_no_batch_dims"] = make.offload_dot_with_no_batch_dims(
        "device", "pinned_host"
    )
    found["save_and_offload_only_these_names"] = make.save_and_offload_only_these_names(
        names_which_can_be_saved=["y"],
        names_which_can_be_offloaded=["z"],
        offload_src="device",
        offload_dst="pinned_host",
    )
    return found


def test_every_policy_is_covered():
    names = {n for n in dir(jax.checkpoint_policies) if not n.startswith("_")}
    assert names == set(policies())


@pytest.mark.slow
@pytest.mark.parametrize("policy", policies())
def test_remat_with_every_policy(policy: str):
    w = inputs(4, 4)

    def layer(x: jax.Array) -> jax.Array:
        y = checkpoint_name(x @ w, "y")
        z = checkpoint_name(drop(key(), jnp.tanh(y)), "z")
        return z @ w

    kept = jax.checkpoint(layer, policy=policies()[policy])
    got, expected = (jax.jit(jax.grad(of_sum(f)))(inputs()) for f in (kept, layer))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_export_round_trip(impl: str):
    def k() -> jax.Array:  # a new one each time: JAX counts a key as used by any exported call
        return jax.random.key(0, impl=impl)

    x = inputs()
    exported = export.export(jax.jit(drop))(k(), x)
    loaded = export.deserialize(bytearray(exported.serialize(vjp_order=1)))
    np.testing.assert_array_equal(loaded.call(k(), x), drop(k(), x))
    gradient = loaded.vjp().call(k(), x, jnp.ones(SHAPE))[-1]
    np.testing.assert_array_equal(gradient, multiplier(k()))


@pytest.mark.slow
@pytest.mark.parametrize("deterministic", [True, False])
def test_export_with_a_symbolic_batch(deterministic: bool):
    (rows,) = export.symbolic_shape("rows")

    def forward(key: jax.Array, x: jax.Array) -> jax.Array:
        return drop(key, x, deterministic=deterministic)

    shape = jax.ShapeDtypeStruct((rows, *SHAPE[1:]), jnp.float32)
    exported = export.export(jax.jit(forward))(key(), shape)
    loaded = export.deserialize(bytearray(exported.serialize()))
    for x in (inputs(), inputs(7, *SHAPE[1:])):
        np.testing.assert_array_equal(loaded.call(key(), x), forward(key(), x))


def test_export_of_the_fast_prng():
    """JAX serialises its own key types only; raw key data goes through."""
    fast = jaxdrop.fast_prng_impl
    data = jax.random.key_data(jax.random.key(0, impl=fast))

    def draw(data: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.wrap_key_data(data, impl=fast), SHAPE)

    loaded = export.deserialize(bytearray(export.export(jax.jit(draw))(data).serialize()))
    np.testing.assert_array_equal(loaded.call(data), jax.jit(draw)(data))
