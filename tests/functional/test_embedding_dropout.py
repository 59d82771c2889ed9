"""embedding_dropout and word_dropout: words as types, and words as tokens."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop

TABLE = jnp.arange(1.0, 21.0).reshape(10, 2)


@pytest.mark.slow
def test_looking_up_drops_the_words_that_the_table_drops() -> None:
    ids = jnp.array([[3, 9, 3], [0, 3, 5]])
    key = jax.random.key(1)
    whole = jaxdrop.embedding_dropout(key, TABLE, 0.5)
    np.testing.assert_array_equal(jaxdrop.embedding_dropout(key, TABLE, 0.5, ids), whole[ids])

    def loss(table: jax.Array, look_up: bool) -> jax.Array:
        if look_up:
            y = jaxdrop.embedding_dropout(key, table, 0.5, ids)
        else:
            y = jaxdrop.embedding_dropout(key, table, 0.5)[ids]
        return (y**2).sum()

    np.testing.assert_array_equal(jax.grad(loss)(TABLE, True), jax.grad(loss)(TABLE, False))


@pytest.mark.slow
def test_a_rate_per_word() -> None:
    rate = np.linspace(0, 1, 10)[:, None]
    y = jaxdrop.embedding_dropout(jax.random.key(0), TABLE, rate, jnp.arange(10))
    np.testing.assert_array_equal(y[0], TABLE[0])
    np.testing.assert_array_equal(y[9], 0 * TABLE[9])


@pytest.mark.slow
def test_protected_tokens_stay_and_the_others_go_at_the_rate() -> None:
    tokens = jnp.tile(jnp.array([1, 2, 3, 4]), 5000)
    y = jaxdrop.word_dropout(jax.random.key(0), tokens, 0.3, unknown=7, protected=(1, 3))
    kept = np.asarray(y == tokens).reshape(-1, 4)
    assert kept[:, [0, 2]].all() and (np.asarray(y).reshape(-1, 4)[~kept] == 7).all()
    low, high = scipy.stats.binom.ppf([0.5e-8, 1 - 0.5e-8], 10_000, 0.3)
    assert low <= (~kept[:, [1, 3]]).sum() <= high
    assert not low <= (~kept).sum() / 2 / 0.9 * 0.8 <= high  # a rate off by a ninth is noticed


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    ("table_axes", "ids_axes"),
    [
        ((None, None), ("x", "y")),
        (("x", None), (None, None)),
        (("x", None), ("x", None)),
        ((None, "y"), ("x", None)),
        (("x", "y"), (None, None)),
        (("x", "y"), ("x", "y")),
    ],
)
def test_any_sharding_of_table_and_ids_gives_the_same(
    kind: AxisType, table_axes: tuple[str | None, ...], ids_axes: tuple[str | None, ...]
) -> None:
    table, ids = jnp.arange(1.0, 65.0).reshape(16, 4), jnp.arange(16).reshape(4, 4) * 5 % 16
    key, weight = jax.random.key(1), jnp.sin(jnp.arange(64.0)).reshape(4, 4, 4)

    def look_up(key: jax.Array, table: jax.Array, ids: jax.Array) -> jax.Array:
        return jaxdrop.embedding_dropout(key, table, 0.5, ids)

    def replace(key: jax.Array, ids: jax.Array) -> jax.Array:
        return jaxdrop.word_dropout(key, ids, 0.5, unknown=99, protected=(3,))

    def gradient(key: jax.Array, table: jax.Array, ids: jax.Array) -> jax.Array:
        y, pull = jax.vjp(lambda t: look_up(key, t, ids), table)
        return pull(weight + 0 * y)[0]

    want = look_up(key, table, ids), replace(key, ids), gradient(key, table, ids)
    mesh = jax.make_mesh((4, 2), ("x", "y"), (kind,) * 2)
    with jax.set_mesh(mesh):
        table, ids = (
            jax.device_put(a, NamedSharding(mesh, PartitionSpec(*axes)))
            for a, axes in ((table, table_axes), (ids, ids_axes))
        )
        np.testing.assert_array_equal(jax.jit(look_up)(key, table, ids), want[0])
        np.testing.assert_array_equal(jax.jit(replace)(key, ids), want[1])
        if kind is AxisType.Auto:
            np.testing.assert_allclose(jax.jit(gradient)(key, table, ids), want[2], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32])
def test_token_dtype_is_kept(dtype: type) -> None:
    y = jaxdrop.word_dropout(jax.random.key(0), np.arange(9, dtype=dtype), 0.5, unknown=0)
    assert y.dtype == dtype


def test_bad_arguments() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"^got a table of shape \(3,\); embedding_dropout"):
        jaxdrop.embedding_dropout(key, jnp.ones(3), 0.5)
    with pytest.raises(TypeError, match="^got ids of dtype float32; embedding_dropout takes"):
        jaxdrop.embedding_dropout(key, TABLE, 0.5, jnp.ones(2))
    with pytest.raises(ValueError, match=r"^got a rate of shape \(3,\), which does not broadcast"):
        jaxdrop.embedding_dropout(key, TABLE, np.full(3, 0.5), jnp.arange(2))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"unknown": -1}, ValueError, "^got unknown=-1 for tokens of dtype uint8, .* 0 to 255"),
        ({"unknown": 256}, ValueError, "^got unknown=256 for tokens of dtype uint8"),
        ({"unknown": "<unk>"}, TypeError, "^got unknown='<unk>' of type str, expected an integer"),
        ({"unknown": 0.5}, TypeError, "^got unknown=0.5 of type float, expected an integer"),
        ({"protected": 3}, TypeError, "^got protected=3 of type int, expected a sequence"),
        ({"protected": (0.5,)}, TypeError, "^got a protected token=0.5 of type float"),
        ({"protected": (300,)}, ValueError, "^got a protected token=300 for tokens of dtype uint8"),
    ],
)
def test_bad_tokens(options: dict[str, Any], error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        tokens = np.arange(9, dtype=np.uint8)
        jaxdrop.word_dropout(jax.random.key(0), tokens, 0.5, **{"unknown": 0, **options})


@pytest.mark.slow
def test_tokens_may_be_arrays_and_traced() -> None:
    key, tokens = jax.random.key(0), jnp.arange(9, dtype=jnp.uint8)
    want = jaxdrop.word_dropout(key, tokens, 0.9, unknown=7, protected=(1, 2))
    traced = jax.jit(
        lambda unknown: jaxdrop.word_dropout(
            key, tokens, 0.9, unknown=unknown, protected=np.array([1, 2])
        )
    )
    np.testing.assert_array_equal(traced(jnp.int32(7)), want)
