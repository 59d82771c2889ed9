"""A row keeps its mask: in a longer batch, a padded one, a microbatch, or under its sample id."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

RATE = 0.3


def inputs(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [(), (1,), (-1,)], ids=str)
def test_leading_rows_stay_when_the_batch_grows(dims: tuple[int, ...]):
    key, x = jax.random.key(0), inputs(12, 5, 7)
    whole = jaxdrop.dropout(key, x, RATE, broadcast_dims=dims)
    for rows in (1, 4, 11):
        part = jaxdrop.dropout(key, x[:rows], RATE, broadcast_dims=dims)
        np.testing.assert_array_equal(part, whole[:rows])


@pytest.mark.slow
def test_leading_rows_stay_in_the_modules():
    key, x = jax.random.key(0), inputs(12, 5)
    linen = jaxdrop.linen.Dropout(RATE, deterministic=False)
    nnx = jaxdrop.nnx.Dropout(RATE, deterministic=False)
    for layer in (lambda x: linen.apply({}, x, rngs={"dropout": key}), lambda x: nnx(x, rngs=key)):
        np.testing.assert_array_equal(layer(x[:4]), layer(x)[:4])


@pytest.mark.slow
def test_padding_moves_nothing():
    key, x = jax.random.key(0), inputs(5, 7)
    padded = jnp.concatenate([x, jnp.zeros((3, 7))])
    np.testing.assert_array_equal(
        jaxdrop.dropout(key, padded, RATE)[:5], jaxdrop.dropout(key, x, RATE)
    )


def test_leading_elements_stay_in_the_fast_prng():
    key = jax.random.key(0, impl=jaxdrop.fast_prng_impl)
    draws = [jax.random.bits(jax.random.clone(key), (rows, 7)) for rows in (4, 12)]
    np.testing.assert_array_equal(draws[0], draws[1][:4])


@pytest.mark.slow
@given(cuts=st.lists(st.integers(0, 12), max_size=4), traced=st.booleans())
def test_microbatches_of_any_size(cuts: list[int], traced: bool):
    key, x = jax.random.key(0), inputs(12, 6)
    edges = [0, *sorted(cuts), 12]
    parts = [
        jaxdrop.dropout(key, x[a:b], RATE, index_offset=(jnp.int32(a) if traced else a,))
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    np.testing.assert_array_equal(jnp.concatenate(parts), jaxdrop.dropout(key, x, RATE))


def test_traced_offsets_compile_once():
    key, x = jax.random.key(0), inputs(12, 6)
    traces = []

    @jax.jit
    def part(key: jax.Array, x: jax.Array, row: Any) -> jax.Array:
        traces.append(row)
        return jaxdrop.dropout(key, x, RATE, index_offset=(row,))

    parts = [part(key, x[row : row + 4], row) for row in (0, 4, 8)]
    np.testing.assert_array_equal(jnp.concatenate(parts), jaxdrop.dropout(key, x, RATE))
    assert len(traces) == 1


def loss(params: Any, key: jax.Array, x: jax.Array, row: Any) -> jax.Array:
    """A two-layer net with a mask per layer, summed over its rows."""
    for layer, w in enumerate(params):
        layer_key = jax.random.fold_in(key, layer)
        x = jaxdrop.dropout(layer_key, jnp.tanh(x @ w), RATE, index_offset=(row,))
    return (x**2).sum()


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 6])
def test_gradient_accumulation_equals_the_full_batch(count: int):
    key, x = jax.random.key(0), inputs(12, 6)
    params = [inputs(6, 8) / 2, jnp.flip(inputs(8, 8)) / 3]
    full = jax.jit(jax.grad(loss))(params, key, x, 0)
    size = 12 // count

    @jax.jit
    def accumulate(params: Any, key: jax.Array, x: jax.Array) -> Any:
        def add(total: Any, step: jax.Array) -> tuple[Any, None]:
            part = jax.lax.dynamic_slice_in_dim(x, step * size, size)
            gradient = jax.grad(loss)(params, key, part, step * size)
            return jax.tree.map(jnp.add, total, gradient), None

        zeros = jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(add, zeros, jnp.arange(count))[0]

    # Sums of at most 12 * 8 float32 products in another order: 96 roundings of 2**-24, relative
    # to the largest entry since products cancel.
    for a, b in zip(full, accumulate(params, key, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=96 * 2**-24 * float(jnp.abs(a).max()))
    forgot = jax.jit(jax.grad(loss))(params, key, x[size : 2 * size], 0)
    right = jax.jit(jax.grad(loss))(params, key, x[size : 2 * size], size)
    assert not np.allclose(forgot[0], right[0], rtol=0.1), "masks without the offset would pass"


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg", jaxdrop.fast_prng_impl])
def test_vmap_over_keys_equals_the_loop(impl: Any):
    keys = jax.random.split(jax.random.key(0, impl=impl), 5)
    x = inputs(5, 7, 3)
    batched = jax.vmap(lambda key, x: jaxdrop.dropout(key, x, RATE))(keys, x)
    looped = [jaxdrop.dropout(key, row, RATE) for key, row in zip(keys, x, strict=True)]
    np.testing.assert_array_equal(batched, jnp.stack(looped))


@pytest.mark.slow
def test_vmap_over_fast_prng_keys_equals_the_loop():
    keys = jax.random.split(jax.random.key(0, impl=jaxdrop.fast_prng_impl), 5)
    for sample in (jax.random.normal, jax.random.bits):
        draw = functools.partial(sample, shape=(7, 3))
        batched = jax.vmap(draw)(jax.random.clone(keys))
        looped = [draw(key) for key in jax.random.clone(keys)]
        np.testing.assert_array_equal(batched, jnp.stack(looped))


def by_sample(key: jax.Array, ids: jax.Array, x: jax.Array) -> jax.Array:
    """The recipe of docs/guarantees.md: a sample's mask follows from its id."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(ids)
    return jax.vmap(lambda key, row: jaxdrop.dropout(key, row, RATE))(keys, x)


@pytest.mark.slow
def test_a_sample_keeps_its_mask_wherever_it_lands():
    key, x, ids = jax.random.key(0), inputs(10, 7), jnp.arange(100, 110)
    y = jax.jit(by_sample)(key, ids, x)
    order = np.random.default_rng(0).permutation(10)
    np.testing.assert_array_equal(jax.jit(by_sample)(key, ids[order], x[order]), y[order])
    np.testing.assert_array_equal(jax.jit(by_sample)(key, ids[3:5], x[3:5]), y[3:5])
    masks = {tuple(row) for row in np.asarray(y) != 0}
    assert len(masks) > 1


@pytest.mark.slow
def test_sample_id_recipe_costs_no_gather_and_no_buffer():
    key, x, ids = jax.random.key(0), inputs(64, 128), jnp.arange(64)
    compiled = jax.jit(by_sample).lower(key, ids, x).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    temp = memory.temp_size_in_bytes
    assert temp < x.nbytes / 4, f"{temp} bytes besides input and output"
