"""jaxdrop's attention as the ``attention_fn`` of Flax's modules."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop.linen
import jaxdrop.nnx
from tests.attention.truth import truth

X = jax.random.normal(jax.random.key(0), (2, 6, 8))
MASK = nn.make_causal_mask(jnp.ones((2, 6)))  # of floats
KEY = jax.random.key(3)


def linen(attention_fn: Any = jaxdrop.linen.dot_product_attention, **options: Any) -> Any:
    return nn.MultiHeadDotProductAttention(
        num_heads=2, dropout_rate=0.5, attention_fn=attention_fn, **options
    )


def from_nnx(attention_fn: Any = jaxdrop.nnx.dot_product_attention, **options: Any) -> Any:
    return nnx.MultiHeadAttention(
        num_heads=2, in_features=8, decode=False, dropout_rate=0.5, attention_fn=attention_fn,
        rngs=nnx.Rngs(0), **options,
    )  # fmt: skip


@pytest.mark.slow
def test_only_the_mask_differs_from_flax_s_own() -> None:
    """The same parameters; at test time the same numbers to rounding."""
    ours, flaxs = linen(), linen(nn.dot_product_attention)
    variables = ours.init(jax.random.key(1), X, mask=MASK, deterministic=True)
    for a, b in (
        [m.apply(variables, X, mask=MASK, deterministic=True) for m in (ours, flaxs)],
        [
            m(X, mask=MASK, deterministic=True)
            for m in (from_nnx(), from_nnx(nnx.dot_product_attention))
        ],
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("broadcast", [True, False])
@pytest.mark.parametrize("library", [jaxdrop.linen, jaxdrop.nnx])
def test_broadcast_dropout_shares_one_mask(library: Any, broadcast: bool) -> None:
    q = jax.random.normal(jax.random.key(4), (2, 6, 4, 8))
    found = library.dot_product_attention(
        q, q, q, mask=MASK, broadcast_dropout=broadcast, dropout_rng=KEY, dropout_rate=0.5
    )
    expected = truth(
        q, q, q, None, MASK.astype(bool), rate=0.5, key=KEY,
        broadcast_dims=(0, 1) if broadcast else (),
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("library", [jaxdrop.linen, jaxdrop.nnx])
def test_any_number_of_batch_dimensions(library: Any) -> None:
    q = jax.random.normal(jax.random.key(4), (2, 3, 6, 4, 8))
    mask = jax.random.bernoulli(jax.random.key(5), 0.7, (3, 1, 6, 6))
    y = library.dot_product_attention(q, q, q, mask=mask, dropout_rng=KEY, dropout_rate=0.5)
    flat = q.reshape(6, 6, 4, 8)
    each = jnp.broadcast_to(mask, (2, 3, 1, 6, 6)).reshape(6, 1, 6, 6)
    expected = truth(flat, flat, flat, None, each, rate=0.5, key=KEY, broadcast_dims=(0, 1))
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=0, atol=5e-6)


@pytest.mark.slow
def test_the_module_s_key_and_rate_reach_it() -> None:
    ours = linen(broadcast_dropout=False)
    variables = ours.init(jax.random.key(1), X, deterministic=True)

    def train(seed: int) -> jax.Array:
        rngs = {"dropout": jax.random.key(seed)}
        return ours.apply(variables, X, deterministic=False, rngs=rngs)

    assert (train(0) == train(0)).all() and (train(0) != train(1)).any()
    layer = from_nnx()
    assert (layer(X, deterministic=False) != layer(X, deterministic=False)).any()


@pytest.mark.filterwarnings("ignore:Using 'Module.sow")  # flax wants it inside of nnx.capture
def test_weights_are_sown_where_they_are_asked_for() -> None:
    sown = [
        m.apply(v, X, sow_weights=True, deterministic=True, mutable=["intermediates"])[1]
        for m in (linen(), linen(nn.dot_product_attention))
        for v in [m.init(jax.random.key(1), X, deterministic=True)]
    ]
    ours, flaxs = (tree["intermediates"]["attention_weights"][0] for tree in sown)
    np.testing.assert_array_equal(ours, flaxs)
    layer = from_nnx()
    layer(X, deterministic=True, sow_weights=True)
    assert layer.attention_weights.get_value()[0].shape == (2, 2, 6, 6)


@pytest.mark.slow
def test_a_traced_rate_by_closure() -> None:
    q = jax.random.normal(jax.random.key(4), (2, 6, 2, 8))

    @jax.jit
    def attend(rate: jax.Array) -> jax.Array:
        def attention_fn(query: Any, key: Any, value: Any, **given: Any) -> jax.Array:
            given["dropout_rate"] = rate
            return jaxdrop.nnx.dot_product_attention(query, key, value, **given)

        return attention_fn(q, q, q, dropout_rng=KEY, dropout_rate=0.1, broadcast_dropout=False)

    expected = truth(q, q, q, rate=0.5, key=KEY)
    np.testing.assert_allclose(attend(jnp.float32(0.5)), expected, rtol=0, atol=5e-6)


@pytest.mark.slow
def test_options_and_what_cannot_be_done() -> None:
    q = jax.random.normal(jax.random.key(4), (2, 6, 2, 8))
    keys = functools.partial(jaxdrop.linen.dot_product_attention, dropout_on="keys")
    found = keys(q, q, q, broadcast_dropout=False, dropout_rng=KEY, dropout_rate=0.5)
    expected = truth(q, q, q, rate=0.5, key=KEY, on="keys")
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
    high = jaxdrop.linen.dot_product_attention(q, q, q, precision=jax.lax.Precision.HIGHEST)
    np.testing.assert_allclose(high, truth(q, q, q), rtol=0, atol=5e-6)
    with pytest.raises(ValueError, match="got an einsum for the attention weights"):
        jaxdrop.linen.dot_product_attention(q, q, q, qk_attn_weights_einsum=jnp.einsum)
    with pytest.raises(ValueError, match="expected one precision for both products"):
        jaxdrop.nnx.dot_product_attention(q, q, q, precision=("high", "default"))


@pytest.mark.slow
def test_decoding_is_unchanged() -> None:
    """One token at a time, with the cache that Flax keeps: the numbers of its own attention."""
    outputs = []
    for function in (jaxdrop.linen.dot_product_attention, nn.dot_product_attention):
        layer = linen(function, decode=True)
        variables = layer.init(jax.random.key(1), X, deterministic=True)
        steps = []
        for t in range(3):
            y, cache = layer.apply(
                variables, X[:, t : t + 1], deterministic=True, mutable=["cache"]
            )
            variables = variables | cache
            steps.append(y)
        outputs.append(jnp.concatenate(steps, axis=1))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0, atol=2e-6)


@pytest.mark.slow
def test_inside_shard_map_mesh_axes_make_the_mask_a_part_of_the_whole_one() -> None:
    """With two batch dimensions, of which the first is split, and heads that are split too."""
    q = jax.random.normal(jax.random.key(4), (2, 3, 6, 4, 8))
    spec = jax.P("data", None, None, "heads")

    def attend(q: Any, library: Any, axes: Any) -> jax.Array:
        return library.dot_product_attention(
            q, q, q, broadcast_dropout=False, dropout_rng=jax.random.clone(KEY), dropout_rate=0.5,
            mesh_axes=axes,
        )  # fmt: skip

    libraries = jaxdrop.linen, jaxdrop.nnx
    mesh = jax.make_mesh((2, 2), ("data", "heads"), (jax.sharding.AxisType.Auto,) * 2)

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=spec, out_specs=spec)
    def split(q: Any) -> Any:
        attend(q, jaxdrop.nnx, ())  # nothing is said, and nothing checked
        return [attend(q, library, spec) for library in libraries]

    flat = q.reshape(6, 6, 4, 8)
    expected = truth(flat, flat, flat, rate=0.5, key=KEY).reshape(q.shape)
    for found in split(q):
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
    for library in libraries:
        with pytest.raises(ValueError, match="another batch dimension than the first"):
            attend(q, library, ("data", "rows"))


@pytest.mark.slow
def test_the_default_of_a_model_is_for_the_dimensions_that_a_query_has() -> None:
    """Without a batch the first one is the length, and a second batch dimension is refused."""
    mesh = jax.make_mesh((2, 2), ("data", "rows"), (jax.sharding.AxisType.Auto,) * 2)
    q = jax.random.normal(jax.random.key(4), (8, 2, 3))

    def attend(q: Any, keys: Any) -> jax.Array:
        return jaxdrop.linen.dot_product_attention(
            q, keys, keys, broadcast_dropout=False, dropout_rng=jax.random.clone(KEY),
            dropout_rate=0.5, is_causal=True, deterministic=False,
        )  # fmt: skip

    split = jax.shard_map(
        attend, mesh=mesh, in_specs=(jax.P("data"), jax.P()), out_specs=jax.P("data")
    )
    with jaxdrop.default_mesh_axes(("data", ...)):
        np.testing.assert_allclose(split(q, q), attend(q, q), rtol=0, atol=5e-6)

    both, x = jax.P("data", "rows"), jnp.ones((2, 2, 8, 2, 3))
    split = jax.shard_map(attend, mesh=mesh, in_specs=both, out_specs=both)
    with (
        jaxdrop.default_mesh_axes(("data", "rows", ...)),
        pytest.raises(ValueError, match="another batch dimension than the first"),
    ):
        jax.eval_shape(split, x, x)
