"""unit_dropout_conv: what is left out is as if it were masked, forward and in every gradient."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxdrop
from tests.functional.test_unit_dropout_mlp import (
    CHOICES,
    KEY,
    RATE,
    assert_absent_are_zero,
    check_shards,
    gradients,
    masked,
)
from tests.functional.test_unit_dropout_mlp import assert_same as assert_same_sums

SIZES, BATCH, SIDE = (3, 8, 16, 4), 6, 7
LAYOUTS = {1: "NWC WIO", 2: "NHWC HWIO", 3: "NDHWC DHWIO"}


def params(rank: int = 2, dtype: Any = jnp.float32) -> list[dict[str, jax.Array]]:
    """Windows of 3 and then 2 to a side; all but the second layer have a bias."""
    layers = []
    for i, (n, m) in enumerate(itertools.pairwise(SIZES)):
        key = jax.random.fold_in(jax.random.key(5), i)
        window = (3 if i == 0 else 2,) * rank
        kernel = jax.random.normal(key, (*window, n, m)) / (math.prod(window) * n) ** 0.5
        layers.append({"kernel": kernel.astype(dtype)})
        if i != 1:
            layers[-1]["bias"] = jax.random.normal(jax.random.fold_in(key, 1), (m,)).astype(dtype)
    return layers


def batch(rank: int = 2, dtype: Any = jnp.float32) -> jax.Array:
    side = SIDE if rank < 3 else 4
    return jax.random.normal(jax.random.key(6), (BATCH, *(side,) * rank, SIZES[0])).astype(dtype)


def both(rank: int = 2, strides: int = 1, padding: Any = "SAME", **options: Any) -> Iterator[Any]:
    """The chain, and the full convolutions with a mask over their channels."""
    inputs, kernel = LAYOUTS[rank].split()

    def full(x: Any, w: Any) -> jax.Array:
        layout = (inputs, kernel, inputs)
        return jax.lax.conv_general_dilated(
            x, w, (strides,) * rank, padding, dimension_numbers=layout
        )

    own = {"strides": strides, "padding": padding}
    for function, more in ((jaxdrop.unit_dropout_conv, own), (masked, {"product": full})):
        yield lambda key, x, w, f=function, more=more: f(key, x, RATE, w, **more, **options)


def assert_same(found: Any, expected: Any, dtype: Any = jnp.float32) -> None:
    """To the rounding of the sums: of windows of channels, and in gradients of all positions."""
    terms = 9 * sum(SIZES) + BATCH * SIDE**2
    assert_same_sums(found, expected, dtype, terms)


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_it_is_the_masked_network(choice: dict[str, Any]) -> None:
    removed, expected = both(activation=jnp.tanh, **choice)
    x, layers = batch(), params()
    found = gradients(removed)(KEY, x, layers)
    assert_same(found, gradients(expected)(KEY, x, layers))
    if "groups" not in choice:
        assert_absent_are_zero(found[1][1], layers, choice)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rank, options",
    [(1, {"padding": "VALID"}), (2, {"strides": 2, "padding": [(2, 0), (1, 1)]}), (3, {})],
)
def test_spatial_dimensions_strides_and_padding(rank: int, options: dict[str, Any]) -> None:
    removed, expected = both(rank, **options)
    x, layers = batch(rank), params(rank)
    assert_same(gradients(removed)(KEY, x, layers), gradients(expected)(KEY, x, layers))


@pytest.mark.slow
def test_remat_and_bfloat16() -> None:
    x, layers = batch(dtype=jnp.bfloat16), params(dtype=jnp.bfloat16)
    removed, expected = both()
    found = gradients(removed, jax.checkpoint)(KEY, x, layers)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found[1])} == {"bfloat16"}
    # Against float32: some nine roundings on the way there and nine back, of eps / 2 each.
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), (x, layers))
    truth = gradients(expected)(KEY, *wide)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True):
        error = jnp.linalg.norm(a.astype(jnp.float32) - b) / jnp.linalg.norm(b)
        assert error < 9 * float(jnp.finfo(jnp.bfloat16).eps)


@pytest.mark.slow
def test_a_map_over_keys_or_models_is_a_loop_over_them() -> None:
    keys = jax.random.split(jax.random.key(8), 2)
    stacked = jax.tree.map(lambda w: jnp.stack([w, 0.5 * w]), params())
    (removed, _), x = both(), batch()
    step = gradients(removed)
    by_key = jax.jit(jax.vmap(step, in_axes=(0, None, None)))(keys, x, params())
    by_model = jax.jit(jax.vmap(step, in_axes=(None, None, 0)))(KEY, x, stacked)
    for i in range(2):
        one = jax.tree.map(lambda a, i=i: a[i], (by_key, by_model, stacked))
        assert_same(one[0], step(keys[i], x, params()))
        assert_same(one[1], step(KEY, x, one[2]))


@pytest.mark.slow
def test_each_shard_has_its_own_channels() -> None:
    (removed, _), x, layers = both(), batch(), params()
    check_shards(removed, x, layers, assert_same)


def test_test_time_is_the_full_network() -> None:
    x, layers = batch(), params()

    def full(x: Any, layers: Any) -> Any:
        for i, layer in enumerate(layers):
            layout = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x, layer["kernel"], (1, 1), "SAME", dimension_numbers=layout
            )
            x = x + jnp.broadcast_to(layer.get("bias", jnp.zeros(1)), x.shape)
            x = jax.nn.relu(x) if i < len(layers) - 1 else x
        return x

    for rate, mode in ((RATE, True), (0.0, False)):
        found = jaxdrop.unit_dropout_conv(None, x, rate, layers, deterministic=mode)
        assert_same(found, jax.jit(full)(x, layers))


def test_bad_arguments_are_told_in_a_sentence() -> None:
    x, layers, call = batch(), params(), jaxdrop.unit_dropout_conv
    for other in (x[0], x[0, 0], x[..., :2]):
        with pytest.raises(ValueError, match=r"(?s)^got x of shape .* expected x \(batch, \*spat"):
            call(KEY, other, RATE, layers)
    with pytest.raises(ValueError, match=r"^got x of shape .* a kernel \(inputs, outputs\)"):
        jaxdrop.unit_dropout_mlp(KEY, x, RATE, layers)
    dense = {"kernel": jnp.ones((8, 4))}
    with pytest.raises(ValueError, match="^got kernels of shapes .* windows of as many dimensions"):
        call(KEY, x, RATE, [layers[0], dense])
    with pytest.raises(ValueError, match=r"^got strides=\(1, 2, 1\) for 2 spatial dimensions"):
        call(KEY, x, RATE, layers, strides=(1, 2, 1))
    with pytest.raises(ValueError, match=r"^got padding=\[\(1, 1\)\] for 2 spatial dimensions"):
        call(KEY, x, RATE, layers, padding=[(1, 1)])
    with pytest.raises(ValueError, match=r"^got n=8 and block_size=3, expected a multiple"):
        call(KEY, x, RATE, layers, block_size=3)
    with pytest.raises(TypeError, match="unit_dropout_conv takes a Python number"):
        jax.jit(lambda rate: call(KEY, x, rate, layers))(0.5)
    with pytest.raises(ValueError, match="unit_dropout_conv needs a random key and got None"):
        call(None, x, RATE, layers)
