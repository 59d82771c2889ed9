"""LeNet-300-100 with a learned noise on every weight, and its training in pieces."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jaxdrop
from experiments._data.images import Split
from jaxdrop.linen import VariationalDense
from jaxdrop.training import TrainState, make_train_step

LAYERS = ("784-300", "300-100", "100-10")


class LeNet300100(nn.Module):
    """784-300-100-10 with ReLU; every weight is Gaussian, and noise is pruned at test time."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for units in (300, 100, 10):
            dense = VariationalDense(units, kernel_init=nn.initializers.he_normal())
            x = dense(x, deterministic=not train)
            x = x if units == 10 else nn.relu(x)
        return x


class Schedule(NamedTuple):
    """Molchanov's schedules, in epochs."""

    epochs: int
    flat: int  # the learning rate is constant until here, then falls linearly to 0
    kl_from: int  # the weight of the divergence is 0 before this epoch
    kl_full: int  # and 1 from this one on

    def learning_rate(self, peak: float, steps: int) -> Callable[[Any], Any]:
        """Return the learning rate as a function of the step, at ``steps`` steps an epoch."""
        fall = (self.epochs - self.flat) * steps
        return optax.linear_schedule(peak, 0.0, fall, transition_begin=self.flat * steps)

    def kl_weight(self, epoch: Any) -> Any:
        """Return the weight of the divergence in an epoch."""
        return jnp.clip((epoch - self.kl_from) / (self.kl_full - self.kl_from), 0.0, 1.0)


class Epoch(NamedTuple):
    """What is measured after an epoch."""

    loss: jax.Array  # cross entropy of the training rows while it lasted, nats per row
    train_errors: jax.Array  # wrong of the training rows, weights that are noise removed
    test_errors: jax.Array  # wrong of the test rows, likewise
    kept: jax.Array  # weights left in each layer


def start(key: jax.Array, inputs: int, schedule: Schedule, peak: float, steps: int) -> TrainState:
    """Return the state before the first step; every log sigma**2 is -10."""
    init_key, dropout_key = jax.random.split(key)
    model = LeNet300100()
    return TrainState.create(
        apply_fn=model.apply,
        params=model.init(init_key, jnp.zeros((1, inputs)), train=False)["params"],
        tx=optax.adam(schedule.learning_rate(peak, steps)),
        dropout_key=dropout_key,
    )


def train_epochs(
    state: TrainState,
    epochs: jax.Array,
    key: jax.Array,
    data: Split[jax.Array],
    *,
    schedule: Schedule,
    batch: int,
) -> tuple[TrainState, Epoch]:
    """Train for the given epochs: a pure function, so it does not matter where a run is cut.

    ``loss = mean cross entropy + kl_weight(epoch) * variational.loss / rows``

    Args:
      state: where to continue from.
      epochs: their numbers, shape (n,); the order of the rows is a function of (key, number).
      key: of the order.
      data: rows and labels; what does not fill a batch is left out of an epoch.
      schedule, batch: as in the config.

    Returns:
      The new state, and what was measured after each epoch, with a leading axis of length n.
    """
    rows, model = len(data.y_train), LeNet300100()

    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        x, y, weight = batch
        logits: Any = model.apply(variables, x, train=True, rngs={"dropout": key})
        error = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        kl = jaxdrop.variational.loss(variables["params"])
        return error + weight * kl / rows, {"error": error}

    step = make_train_step(loss_fn)

    def wrong(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        logits: Any = model.apply({"params": params}, x, train=False)
        return jnp.sum(jnp.argmax(logits, axis=-1) != y, dtype=jnp.int32)

    def one_epoch(state: TrainState, number: jax.Array) -> tuple[TrainState, Epoch]:
        order = jax.random.permutation(jax.random.fold_in(key, number), rows)
        weight = schedule.kl_weight(number.astype(jnp.float32))

        def one_step(state: TrainState, chosen: jax.Array) -> tuple[TrainState, jax.Array]:
            state, metrics = step(state, (data.x_train[chosen], data.y_train[chosen], weight))
            return state, metrics["error"]

        state, errors = jax.lax.scan(
            one_step, state, order[: rows // batch * batch].reshape(-1, batch)
        )
        kept = [
            jnp.sum(
                ~jaxdrop.variational.pruned(layer["kernel"], layer["log_sigma2"]), dtype=jnp.int32
            )
            for layer in (state.params[f"VariationalDense_{i}"] for i in range(len(LAYERS)))
        ]
        return state, Epoch(
            errors.mean(),
            wrong(state.params, data.x_train, data.y_train),
            wrong(state.params, data.x_test, data.y_test),
            jnp.stack(kept),
        )

    return jax.lax.scan(one_epoch, state, epochs)
