"""make_train_step(accumulate=k): what is refused, because a part of a mask cannot be told."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas

import jaxdrop
import jaxdrop.training as jt
from tests.training.step_models import BATCH, linen_loss, linen_state
from tests.training.test_accumulate import rows_of


def merged(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(key, x.reshape(-1, 6), 0.5).reshape(x.shape)


def joined(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(key, jnp.concatenate([x, x]), 0.5)[: x.shape[0]]


def counted(key: jax.Array, x: jax.Array) -> jax.Array:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(x.shape[0]))
    return jax.vmap(lambda key, row: jaxdrop.dropout(key, row, 0.5))(keys, x)


def first_keys(key: jax.Array, x: jax.Array) -> jax.Array:
    keys = jax.random.split(key, 100)[: x.shape[0]]
    return jax.vmap(lambda key, row: jaxdrop.dropout(key, row, 0.5))(keys, x)


def each_example(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.drop_connect_dense(key, x[:, 0], 0.5, jnp.ones((6, 5)), per_example=True)


def hidden(key: jax.Array, x: jax.Array) -> jax.Array:
    @jax.custom_vjp
    def drop(x: jax.Array) -> jax.Array:
        return jaxdrop.dropout(key, x, 0.5)

    drop.defvjp(lambda x: (drop(x), None), lambda _, g: (g,))
    return drop(x)


def branching(key: jax.Array, x: jax.Array) -> jax.Array:
    return jaxdrop.dropout(key, x, 0.5) if x.shape[0] > 8 else jnp.sin(x)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "merged": (merged, r"draws a \(128, 6\), and with 4 rows the shape is \(32, 6\)"),
    "joined": (joined, r"draws a \(32, 8, 6\), and .* or joined with itself"),
    "counted": (counted, r"such as jnp.arange\(rows\), which begin at 0 in every microbatch"),
    "first keys": (first_keys, "begin at 0 in every microbatch"),
    "each example": (each_example, r"drop_connect_dense\(per_example=True\)"),
    "subset": (
        lambda k, x: jaxdrop.drop_path_subset(k, lambda h: h, x, 0.5),
        "chooses among all 16 rows by sorting random words",
    ),
    "permutation": (
        lambda k, x: x[jax.random.permutation(k, x.shape[0])],
        "chooses among all 16 rows by sorting random words",
    ),
    "hidden": (hidden, "draws inside of 'custom_vjp_call"),
    "branching": (branching, "does other operations for 4 rows than for 16"),
    "bits": (lambda k, x: jaxdrop.dropout(k, x, 0.5, bits="key"), "use bits='fast'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused(name: str) -> None:
    draw, sentence = REFUSED[name]
    rows_of(draw, 1)
    with pytest.raises(ValueError, match=sentence):
        rows_of(draw, 4)


def test_a_kernel_that_draws_is_refused() -> None:
    def kernel(words: Any, out: Any) -> None:
        out[...] = jnp.full(out.shape, words[0] & 1).astype(jnp.float32)

    def draw(key: jax.Array, x: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        words = jnp.resize(jax.random.key_data(key), (4,))
        mask = pallas.pallas_call(kernel, out_shape=shape, interpret=True)(words)
        return x * jax.lax.stop_gradient(mask)

    with pytest.raises(ValueError, match="draws inside of 'pallas_call'"):
        rows_of(draw, 4)


@pytest.mark.parametrize(
    "parts, kind, sentence",
    [
        (0, ValueError, "got accumulate=0, expected a whole number of at least 1, microbatches"),
        (True, TypeError, "got accumulate=True"),
        (2.0, TypeError, "got accumulate=2.0"),
    ],
)
def test_a_number_of_parts_that_is_none_is_an_error(parts: Any, kind: Any, sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        jt.make_train_step(linen_loss, accumulate=parts)


def test_a_batch_that_cannot_be_cut_is_an_error_at_the_trace() -> None:
    def trace(parts: int, batch: Any) -> None:
        step = jt.make_train_step(linen_loss, accumulate=parts, donate=False)
        jax.eval_shape(step, linen_state(), batch)

    with pytest.raises(ValueError, match="accumulate=3 and a batch of 16 rows, expected a divisor"):
        trace(3, BATCH)
    with pytest.raises(ValueError, match="with the same first dimension, the rows"):
        trace(2, {**BATCH, "weight": jnp.ones(())})
    with pytest.raises(ValueError, match="with the same first dimension, the rows"):
        trace(2, {**BATCH, "weight": jnp.ones(8)})
