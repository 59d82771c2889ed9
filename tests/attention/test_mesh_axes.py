"""mesh_axes of attention: inside shard_map a shard computes its part of the whole attention."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxdrop import attention_keep_mask, dot_product_attention
from tests.attention.cases import KEY, KEYS, B, N, Q, V, normal
from tests.attention.truth import gradients, truth

AXES = "data", "rows", "heads"
MESH = jax.make_mesh((2, 2, 2), AXES, (jax.sharding.AxisType.Auto,) * 3)
T = 20
QUERY, CT = Q[:, :T], normal(9, B, T, N, Q.shape[3])
OF_QUERIES, OF_KEYS = P(*AXES), P("data", None, "heads")


def split(mesh_axes: Any, queries: P = OF_QUERIES, keys: P = OF_KEYS, **options: Any) -> Any:
    """Attention inside shard_map, as a function of queries, keys, values and the rate."""

    def shard(q: Any, k: Any, v: Any, rate: Any) -> jax.Array:
        return dot_product_attention(
            q, k, v, is_causal=True, dropout_rate=rate, dropout_key=jax.random.clone(KEY),
            block_q=4, block_kv=8, mesh_axes=mesh_axes, **options,
        )  # fmt: skip

    specs = queries, keys, keys, P()
    return jax.shard_map(shard, mesh=MESH, in_specs=specs, out_specs=queries)


@pytest.mark.slow
def test_a_shard_computes_its_part() -> None:
    """Examples, queries and heads over a mesh axis each, heads of keys in groups."""

    @jax.jit
    def both(rate: Any) -> Any:
        y, back = jax.vjp(lambda *a: split(AXES)(*a, rate), QUERY, KEYS, V)
        return y, back(CT)

    for rate in (0.1, 0.5):
        given: Any = {"rate": float(np.float32(rate)), "key": KEY, "is_causal": True}
        y, found = both(jnp.float32(rate))
        np.testing.assert_allclose(y, truth(QUERY, KEYS, V, **given), rtol=0, atol=5e-6)
        expected = gradients(CT, QUERY, KEYS, V, np.zeros((1, 1, 1, 1)), **given)
        for a, b in zip(found, expected[:3], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_mask_of_a_shard_is_a_part_of_the_whole_one() -> None:
    axes = ("heads", "data"), None, "rows", None

    def shard() -> jax.Array:
        return attention_keep_mask(KEY, (1, 3, 2, 5), 0.5, mesh_axes=axes)

    whole = attention_keep_mask(KEY, (4, 3, 4, 5), 0.5)
    parts = jax.shard_map(shard, mesh=MESH, in_specs=(), out_specs=P(*axes))
    np.testing.assert_array_equal(jax.jit(parts)(), whole)
    np.testing.assert_array_equal(
        attention_keep_mask(KEY, (4, 3, 4, 5), 0.5, mesh_axes=axes), whole
    )


def test_without_shard_map_it_is_checked_and_does_nothing() -> None:
    given: Any = {"dropout_rate": 0.5, "dropout_key": KEY}
    np.testing.assert_array_equal(
        dot_product_attention(Q, KEYS, V, **given, mesh_axes=AXES),
        dot_product_attention(Q, KEYS, V, **given),
    )
    for axes, said in (
        ((None, None, None, "heads"), "which splits the last dimension of query"),
        (("data", "data"), "got 'data' twice"),
    ):
        with pytest.raises(ValueError, match=said):
            dot_product_attention(Q, KEYS, V, **given, mesh_axes=axes)


def test_what_does_not_fit_is_told() -> None:
    """Traced only: an axis that is left out, one that splits nothing, and a position as well."""
    for axes, options, said in (
        (("data", None, "heads"), {}, "differs over the mesh axis 'rows', as the key does not"),
        (("data", "rows"), {}, "differs over the mesh axis 'heads', as the key does not"),
        (("data", "columns", "heads"), {}, "got 'columns' in mesh_axes"),
        (AXES, {"index_offset": (1,)}, "give mesh_axes alone, or leave it out"),
        (AXES, {"queries": P(None, *AXES[1:]), "keys": P(None, None, "heads")}, "leave it out"),
    ):
        with pytest.raises(ValueError, match=said):
            jax.eval_shape(split(axes, **options), QUERY, KEYS, V, 0.5)


def test_swapped_axes_give_another_mask() -> None:
    """Queries and heads swapped: both are split, so that no mark says so."""
    y = jax.jit(split(("data", "heads", "rows")))(QUERY, KEYS, V, jnp.float32(0.5))
    expected = truth(QUERY, KEYS, V, rate=0.5, key=KEY, is_causal=True)
    assert np.abs(y - expected).max() > 0.1
