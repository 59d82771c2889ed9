"""The lifted transforms of Linen and NNX: masks split where asked, gradients use the mask."""

from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.nnx.filterlib import Filter

import jaxdrop.linen
import jaxdrop.nnx

RATE = 0.3
SHAPE = (3, 4)


def inputs() -> jax.Array:
    return jax.random.normal(jax.random.key(1), SHAPE)


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed)


class LinenNet(nn.Module):
    """Dense and dropout, for the lifted transforms."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(4)(x)
        return jaxdrop.linen.Dropout(RATE, deterministic=False)(x)


def apply_linen(lift: Callable[[Any], Any], x: jax.Array, **options: Any) -> tuple[Any, Any]:
    net = lift(LinenNet, **options)()
    rngs = {"params": key(5), "dropout": key()}
    params = net.init(rngs, x)
    rngs = {"dropout": key()}

    def f(x: jax.Array) -> jax.Array:
        return net.apply(params, x, rngs=rngs)

    return jax.jvp(f, (x,), (jnp.ones_like(x),))


@pytest.mark.parametrize("lift", [nn.jit, nn.remat])
def test_linen_jit_and_remat(lift: Callable[[Any], Any]):
    """The gradient of a lifted net has the zeros of its output."""
    y, tangent = apply_linen(lift, inputs())
    np.testing.assert_array_equal(y == 0, tangent == 0)
    assert 0 < (y == 0).sum() < y.size


class Keyed(nn.Module):
    """The key that flax gives a module at this place, and dropout by a key from outside."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = jax.random.key_data(self.make_rng("dropout"))
        return drawn, jaxdrop.linen.Dropout(RATE, deterministic=False)(x, rng=key(7))


def test_linen_remat_has_the_plain_nets_keys_and_jit_has_others_of_flaxs_own():
    """``nn.jit`` takes the module's path out of its keys, whoever uses them: masks differ from the
    plain net's there, in flax as here. Given a key, dropout does not notice either transform."""

    def run(net: nn.Module) -> Any:
        return net.apply({}, jnp.ones(SHAPE), rngs={"dropout": key()})

    plain, remat, jitted = run(Keyed()), run(nn.remat(Keyed)()), run(nn.jit(Keyed)())
    np.testing.assert_array_equal(plain[0], remat[0])
    assert (plain[0] != jitted[0]).any()
    for other in (remat, jitted):
        np.testing.assert_array_equal(plain[1], other[1])
    same = [apply_linen(lift, inputs())[0] for lift in (lambda net: net, nn.remat)]
    np.testing.assert_array_equal(same[0], same[1])


@pytest.mark.slow
def test_linen_vmap_splits_or_shares_the_mask():
    x = jnp.ones((3, 2, 4))
    lifted: Any = {"variable_axes": {"params": None}}
    rngs = {"params": False, "dropout": True}
    split, _ = apply_linen(nn.vmap, x, split_rngs=rngs, **lifted)
    shared, _ = apply_linen(nn.vmap, x, split_rngs=rngs | {"dropout": False}, **lifted)
    assert not np.array_equal(split[0], split[1])
    np.testing.assert_array_equal(shared[0], shared[1])


def test_linen_scan_splits_the_mask():
    class Layer(nn.Module):
        """One step of the scan."""

        @nn.compact
        def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            y = jaxdrop.linen.Dropout(RATE, deterministic=False)(x)
            return x, y

    layers = nn.scan(Layer, variable_axes={}, split_rngs={"dropout": True}, length=3)()

    def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        ys: Any = layers.apply({}, x, None, rngs={"dropout": key()})[1]
        return ys.sum(), ys

    gradient, ys = jax.jit(jax.grad(loss, has_aux=True))(jnp.ones(SHAPE))
    assert not np.array_equal(ys[0], ys[1])
    np.testing.assert_allclose(gradient, ys.sum(0), rtol=1e-6)


class NNXNet(nnx.Module):
    """Linear and dropout, for the lifted transforms."""

    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(4, 4, rngs=rngs)
        self.dropout = jaxdrop.nnx.Dropout(RATE, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dropout(self.linear(x))


def test_nnx_jit_grad_and_remat():
    x = inputs()

    def loss(net: NNXNet, x: jax.Array) -> jax.Array:
        return net(x).sum()

    def gradient(lift: Callable[..., Any], f: Callable[..., Any]) -> Any:
        found = lift(nnx.grad(f))(NNXNet(nnx.Rngs(0)), x)
        return jax.tree.leaves(nnx.to_pure_dict(found))

    plain = gradient(lambda f: f, loss)
    for other in (
        gradient(nnx.jit, loss),
        gradient(lambda f: f, nnx.remat(loss)),
        gradient(nnx.jit, nnx.remat(loss)),
    ):
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.slow
def test_the_next_remat_of_jax_refuses_no_more_here_than_by_itself():
    """With JAX_REMAT3=1 and jax 0.12, jax's check of key reuse takes every key that enters a
    ``jax.checkpoint`` for consumed, forward and backward, even one that nothing draws from."""

    def unused(key: jax.Array, x: jax.Array) -> jax.Array:
        return (jnp.sin(x) * jax.random.key_data(key)[0].astype(jnp.float32)).sum()

    def refused(f: Callable[..., Any], *args: Any) -> bool:
        try:
            f(*args)
        except jax.errors.KeyReuseError:
            return True
        return False

    layer = nnx.remat(lambda net, x: net(x).sum())
    before = cast(Any, jax.config).jax_remat3  # the options are made at run time
    jax.config.update("jax_remat3", True)
    try:
        by_itself = jax.jit(jax.grad(jax.checkpoint(unused), 1))
        net = NNXNet(nnx.Rngs(0))
        assert refused(nnx.jit(nnx.grad(layer)), net, inputs()) == refused(
            by_itself, key(), inputs()
        )
        assert not refused(nnx.grad(layer), net, inputs())
    finally:
        jax.config.update("jax_remat3", before)


def test_nnx_vmap_over_split_streams():
    net, x = NNXNet(nnx.Rngs(0)), jnp.ones((3, 2, 4))
    nnx.split_rngs(net, splits=3)
    axes: dict[Filter, int | None] = {nnx.RngState: 0, ...: None}
    y = nnx.vmap(lambda net, x: net(x), in_axes=(nnx.StateAxes(axes), 0))(net, x)
    assert not np.array_equal(y[0], y[1])


def test_nnx_scan_over_layers():
    @nnx.split_rngs(splits=4)
    @nnx.vmap
    def make(rngs: nnx.Rngs) -> NNXNet:
        return NNXNet(rngs)

    nets = make(nnx.Rngs(0))

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
    def forward(x: jax.Array, net: NNXNet) -> tuple[jax.Array, jax.Array]:
        y = net(x)
        return jnp.ones_like(x), y

    ys = nnx.jit(forward)(jnp.ones(SHAPE), nets)[1]
    assert len({np.asarray(y == 0).tobytes() for y in ys}) > 1
