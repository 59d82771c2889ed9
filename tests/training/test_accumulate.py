"""make_train_step(accumulate=k): the gradients, the losses and the masks of the whole batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop
import jaxdrop.linen
import jaxdrop.training as jt
from jaxdrop.training import _accumulate
from tests.training.step_models import (
    BATCH,
    BOTH,
    Loss,
    Make,
    cross_entropy,
    linen_loss,
    linen_state,
    nnx_state,
)

ROWS, STEPS = 16, 5
KEY = jax.random.key(2)
X = jax.random.normal(jax.random.key(3), (ROWS, 8, 6))
# A number is a sum of at most 16 + 8 + 6 products: rows, hidden units and inputs. Each order of
# adding them is off by at most so many roundings, in each of the steps, of terms below 2.
CLOSE = 2 * STEPS * (16 + 8 + 6) * float(np.finfo(np.float32).eps)


def curve(make_state: Make, loss_fn: Loss, parts: int) -> tuple[list[float], Any]:
    step = jt.make_train_step(lambda *args: loss_fn(*args)[0], accumulate=parts)
    state, losses = make_state(), []
    for _ in range(STEPS):
        state, metrics = step(state, BATCH)
        losses.append(float(metrics["loss"]))
    return losses, state.params


def is_close(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.abs(np.asarray(x) - np.asarray(y)).max() <= CLOSE for x, y in pairs)


@pytest.mark.slow
@BOTH
def test_every_number_of_parts_gives_one_loss_curve(make_state: Make, loss_fn: Loss) -> None:
    whole = curve(make_state, loss_fn, 1)
    for parts in (2, 4, 8, 16):
        assert is_close(whole, curve(make_state, loss_fn, parts)), parts


@pytest.mark.slow
@BOTH
def test_masks_that_begin_at_row_0_are_another_curve(
    make_state: Make, loss_fn: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = curve(make_state, loss_fn, 1)
    assert is_close(whole, curve(make_state, loss_fn, 4))
    monkeypatch.setattr(_accumulate, "find_windows", lambda *args: {})
    assert not is_close(whole, curve(make_state, loss_fn, 4))


def state_of(weight: jax.Array, rate: float = 0.1) -> jt.TrainState:
    params = {"w": weight}
    return jt.TrainState.create(apply_fn=None, params=params, tx=optax.sgd(rate), dropout_key=KEY)


def rows_of(draw: Callable[[Any, Any], Any], parts: int, x: jax.Array = X) -> np.ndarray:
    """Return what a function of (key, rows) gives, for all rows, as a step calls it."""
    shape = jax.eval_shape(draw, KEY, x)

    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        y = draw(key, batch["x"] * variables["params"]["w"])
        everywhere = jnp.zeros(shape.shape, jnp.float32)
        return jnp.mean(y.astype(jnp.float32)), {
            "y": everywhere.at[batch["row"]].set(y.astype(jnp.float32))
        }

    state = state_of(jnp.ones(()))
    batch = {"x": x, "row": jnp.arange(len(x))}
    _, metrics = jt.make_train_step(loss_fn, accumulate=parts)(state, batch)
    return np.asarray(metrics["y"]) * parts  # a mean over parts, in which the others are 0


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layer = nn.RNN(nn.SimpleCell(6))
        return jaxdrop.linen.Dropout(0.5, deterministic=False)(layer(x))


def scanned(key: jax.Array, x: jax.Array) -> jax.Array:
    """Time goes first, and so does the batch second; a loop draws at every step of it."""

    def body(h: jax.Array, i: jax.Array) -> Any:
        return jaxdrop.dropout(jax.random.fold_in(key, i), h + 1, 0.5), None

    first = jaxdrop.dropout(key, jnp.swapaxes(x, 0, 1), 0.5)
    h, _ = jax.lax.scan(body, jnp.zeros((x.shape[0], 6)), jnp.arange(3))
    return jnp.swapaxes(first, 0, 1) + h[:, None]


def conditional(key: jax.Array, x: jax.Array) -> jax.Array:
    def both(x: jax.Array) -> jax.Array:
        return jax.checkpoint(lambda x: jaxdrop.dropout(key, x, 0.5), prevent_cse=False)(x)

    x = jax.lax.cond(jnp.sum(jnp.abs(x)) > 0, both, lambda x: x, x)
    x = jax.lax.stop_gradient(x)  # a loop of this kind has no gradient
    return jax.lax.while_loop(
        lambda c: c[0] < 2, lambda c: (c[0] + 1, jaxdrop.alpha_dropout(key, c[1], 0.5)), (0, x)
    )[1]


def attention(key: jax.Array, x: jax.Array) -> jax.Array:
    y = x[:, :, None]
    return jaxdrop.dot_product_attention(y, y, y, dropout_rate=0.5, dropout_key=key, block_kv=4)


def keys_of_rows(key: jax.Array, x: jax.Array) -> jax.Array:
    keys = jax.random.split(key, x.shape[0])
    return jax.vmap(lambda key, row: jaxdrop.dropout(key, row, 0.5))(keys, x)


def of_flax(key: jax.Array, x: jax.Array) -> jax.Array:
    y: Any = nn.Dropout(0.5, deterministic=False).apply({}, x, rngs={"dropout": key})
    return y


def weights(key: jax.Array, x: jax.Array) -> jax.Array:
    """Masks of weights, one of which has as many rows as a part of the batch."""
    kernel = jaxdrop.drop_connect(key, jnp.ones((6, 4)), 0.5)
    table = jaxdrop.drop_connect(key, jnp.ones((4, 5)), 0.5)
    units = jaxdrop.kept_units(key, 5, 0.4)
    return jaxdrop.dropout(key, jaxdrop.take_units(x @ kernel @ table, units, 2), 0.5)


DRAWS: dict[str, Callable[[Any, Any], Any]] = {
    "dropout": lambda k, x: jaxdrop.dropout(k, x, 0.5),
    "shared by the batch": lambda k, x: jaxdrop.dropout(k, x, 0.5, broadcast_dims=(0,)),
    "rates": lambda k, x: jaxdrop.dropout(k, x, jnp.full((x.shape[0], 1, 1), 0.5)),
    "spatial": lambda k, x: jaxdrop.spatial_dropout(k, x, 0.5),
    "drop path": lambda k, x: jaxdrop.drop_path(k, x, 0.5),
    "locked": lambda k, x: jaxdrop.locked_dropout(k, x, 0.5),
    "alpha": lambda k, x: jaxdrop.alpha_dropout(k, x, 0.5),
    "zoneout": lambda k, x: jaxdrop.zoneout(k, x, 0.5, previous=x + 1),
    "drop block": lambda k, x: jaxdrop.drop_block(k, x[..., None], 0.5, block_size=2),
    "cutout": lambda k, x: jaxdrop.cutout(k, x[..., None], size=3),
    "patches": lambda k, x: jaxdrop.patch_dropout(k, x, 0.5),
    "gaussian": lambda k, x: jaxdrop.gaussian_dropout(k, x, 0.5),
    "concrete": lambda k, x: jaxdrop.concrete_dropout(k, x, 0.5),
    "words": lambda k, x: jaxdrop.word_dropout(k, (x * 99).astype(jnp.int32), 0.5, unknown=-1),
    "keep_mask": lambda k, x: jaxdrop.keep_mask(k, x.shape, 0.5),
    "bits of the key": lambda k, x: jaxdrop.keep_mask(k, x.shape, 0.5, bits="key"),
    "attention": attention,
    "loops": scanned,
    "branches": conditional,
    "keys of rows": keys_of_rows,
    "flax": of_flax,
    "weights": weights,
}


def compare(name: str, part: np.ndarray, whole: np.ndarray) -> None:
    """Compare bits; real noise, sums and products are rounded as the program around them is."""
    if name in ("gaussian", "concrete", "attention", "weights"):
        np.testing.assert_allclose(part, whole, atol=1e-5)
    else:
        np.testing.assert_array_equal(part, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
def test_masks_are_those_of_the_whole_batch(name: str) -> None:
    compare(name, rows_of(DRAWS[name], 4), rows_of(DRAWS[name], 1))


def test_keys_of_the_rows_numbers_are_those_of_the_whole_batch() -> None:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["row"])
        y = jax.vmap(lambda key, row: jaxdrop.dropout(key, row, 0.5))(keys, batch["x"])
        return jnp.sum(variables["params"]["w"]), {"y": jnp.zeros(X.shape).at[batch["row"]].set(y)}

    state = state_of(jnp.ones(()))
    batch = {"x": X, "row": jnp.arange(ROWS)}
    whole, part = (
        jt.make_train_step(loss_fn, accumulate=k, donate=False)(state, batch)[1]["y"] * k
        for k in (1, 4)
    )
    np.testing.assert_array_equal(whole, part)


def test_metrics_are_means_and_statistics_go_from_part_to_part() -> None:
    def loss_fn(model: Any, batch: Any, key: jax.Array) -> Any:
        logits = model(batch["x"])
        loss = cross_entropy(logits, batch["y"])
        return loss, {"right": jnp.sum(logits.argmax(1) == batch["y"]), "of_loss": loss}

    state = nnx_state(norm=True)
    before = state.to_model().norm
    after, metrics = jt.make_train_step(loss_fn, accumulate=4)(state, BATCH)
    assert metrics["loss"] == metrics["of_loss"]
    assert metrics["right"].dtype == jnp.float32 and metrics["right"] * 4 % 1 == 0
    shrunk = after.to_model().norm.var[...] - before.var[...] * before.momentum**4
    assert (shrunk > 0).all() and (shrunk < 1).all()


def test_a_narrow_gradient_is_summed_in_float32() -> None:
    state = state_of(jnp.zeros((), jnp.bfloat16), 1.0)
    batch = jnp.asarray([1.0] + [2.0**-9] * 7, jnp.bfloat16)
    step = jt.make_train_step(lambda v, b, k: jnp.mean(v["params"]["w"] * b), accumulate=8)
    # bfloat16 has 8 bits: there 1 + 2**-9 is 1, and so is the sum when one is added after another.
    params = step(state, batch)[0].params["w"]
    assert params.dtype == jnp.bfloat16
    assert params != -0.125 and params == -jnp.asarray((1 + 7 * 2.0**-9) / 8, jnp.bfloat16)


def test_checked_steps_count_the_masks_of_the_parts() -> None:
    step = jt.make_train_step(linen_loss, accumulate=4, check=True)
    state, _ = step(linen_state(), BATCH)
    assert int(state.step) == 1


@pytest.mark.slow
def test_memory_is_that_of_a_part() -> None:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        h = batch
        for i in range(4):
            h = jaxdrop.dropout(
                jax.random.fold_in(key, i), jnp.tanh(h @ variables["params"]["w"]), 0.5
            )
        return jnp.mean(h**2)

    state = state_of(jnp.eye(64))
    used = {}
    for parts in (1, 2, 8):
        step = jt.make_train_step(loss_fn, accumulate=parts, donate=False)
        compiled = jax.jit(step).lower(state, jnp.ones((4096, 64))).compile()
        memory: Any = compiled.memory_analysis()
        used[parts] = memory.temp_size_in_bytes
    activations = 4096 * 64 * 4
    assert used[1] >= 4 * activations  # those that the backward pass needs
    for parts in (2, 8):  # the batch may be copied, to be cut
        assert used[parts] <= used[1] / parts + activations + 8 * 64 * 64 * 4
