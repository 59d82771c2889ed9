"""A seed's whole training as one pure function."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments._data.images import Split
from experiments._networks.feedforward import Net
from experiments.quickstart.zeros import Zeros, count_zeros
from jaxdrop.training import TrainState, make_train_step


class Arm(NamedTuple):
    """One way to train."""

    label: str
    input_rate: float
    hidden_rate: float
    scale_at: Literal["train", "test"]

    def rate(self, layer: int) -> float:
        """Return the rate at a layer; 0 is the input."""
        return self.hidden_rate if layer else self.input_rate


class Curves(NamedTuple):
    """Accuracy and loss in test mode after each epoch, and the zeros at each epoch's first step."""

    train_accuracy: jax.Array
    test_accuracy: jax.Array
    train_loss: jax.Array
    test_loss: jax.Array
    zeros: Zeros


def losses(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def train(
    model: Net,
    data: Split[jax.Array],
    key: jax.Array,
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    momentum: float,
    on_epoch: Callable[[], None] | None = None,
) -> tuple[Any, Curves]:
    """Train one network: a pure function of its arguments, to be jitted and vmapped over keys.

    Plain SGD with momentum; the learning rate falls linearly to 0, so that the last epoch's
    numbers do not depend on its last batch.

    Every epoch visits the rows in a new order, a function of (key, epoch); what does not fill a
    batch is left out. Dropout is keyed by (key, step).

    Returns:
      The parameters and the curves, with a leading axis of length epochs.
    """
    init_key, order_key, dropout_key = jax.random.split(key, 3)
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)

    def loss_fn(variables: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        logits: Any = model.apply(variables, x[rows], train=True, rngs={"dropout": key})
        return losses(logits, y[rows]).mean()

    step = make_train_step(loss_fn)

    def epoch(state: TrainState, number: jax.Array) -> tuple[TrainState, Curves]:
        order = jax.random.permutation(jax.random.fold_in(order_key, number), len(y))
        batches = order[: len(y) // batch * batch].reshape(-1, batch)
        zeros = count_zeros(model, state, x[batches[0]], y[batches[0]])
        state, _ = jax.lax.scan(step, state, batches)
        seen, unseen = (
            _score(predict(model, state.params, rows), labels)
            for rows, labels in ((x, y), (jnp.asarray(data.x_test), jnp.asarray(data.y_test)))
        )
        if on_epoch is not None:
            jax.debug.callback(on_epoch)
        return state, Curves(seen[0], unseen[0], seen[1], unseen[1], zeros)

    steps = epochs * (len(y) // batch)

    def schedule(step: jax.Array) -> jax.Array:
        return learning_rate * (1 - step.astype(jnp.float32) / steps)

    state = TrainState.create(
        apply_fn=model.apply,
        params=model.init(init_key, x[:1])["params"],
        tx=optax.sgd(schedule, momentum=momentum),
        dropout_key=dropout_key,
    )
    state, curves = jax.lax.scan(epoch, state, jnp.arange(epochs))
    return state.params, curves


def predict(model: Net, params: Any, x: jax.Array, **kwargs: Any) -> Any:
    """Return the logits in test mode."""
    return model.apply({"params": params}, x, **kwargs)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels, dtype=jnp.float32)


def _score(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    return accuracy(logits, labels), losses(logits, labels).mean()
