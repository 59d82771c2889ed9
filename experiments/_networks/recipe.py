"""How the nets of the dropout paper are trained: one pure ``train``, to be swept over."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import jaxdrop
from experiments._data.images import Split
from experiments._networks.feedforward import Net, Params, forward, init
from jaxdrop.training import TrainState, make_train_step

SEEN = 5000  # training rows that the training error is measured on


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent as the paper has it, and its penalties."""

    steps: int
    batch: int = 100
    learning_rate: float = 0.1
    decay: float = 10.0
    """The learning rate is divided by 1 + decay * step / steps."""
    momentum: tuple[float, float] = (0.5, 0.95)
    """Momentum at the start, and from a tenth of the steps on; linear in between."""
    max_norm: float | None = None
    """Bound on the norm of the weights that enter a unit."""
    l2: float = 0.0
    """Factor of half the sum of squared weights, added to the mean loss."""
    l1: float = 0.0
    """Factor of the sum of absolute weights, added to the mean loss."""
    reconstruct: bool = False
    """Learn to reproduce the pixels, as an autoencoder, instead of the labels."""
    evaluations: int = 5
    """How often the network is measured, the last time at the end."""


class Errors(NamedTuple):
    """Errors in % and losses in nats per row, in test mode."""

    train_error: jax.Array
    test_error: jax.Array
    train_loss: jax.Array
    test_loss: jax.Array


class Moment(NamedTuple):
    """What a measurement is given."""

    params: Params
    key: jax.Array  # fresh at every measurement
    input_rate: jax.Array
    hidden_rate: jax.Array
    data: Split[jax.Array]


Measure = Callable[[Net, Moment], Any]


def errors(net: Net, moment: Moment) -> Errors:
    """Measure on up to 5000 training rows, and on all test rows."""
    data = moment.data
    seen = score(forward(net, moment.params, data.x_train[:SEEN]), data.y_train[:SEEN])
    unseen = score(forward(net, moment.params, data.x_test), data.y_test)
    return Errors(seen[0], unseen[0], seen[1], unseen[1])


def score(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the error in % and the mean loss in nats."""
    wrong = (jnp.argmax(logits, axis=-1) != labels).astype(jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return 100 * wrong.mean(), losses.mean()


def loss(net: Net, recipe: Recipe, logits: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean loss of rows: cross entropy of the labels, or of the pixels."""
    if recipe.reconstruct:
        return optax.sigmoid_binary_cross_entropy(logits, x).sum(axis=-1).mean()
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def optimizer(recipe: Recipe, learning_rate: Any) -> optax.GradientTransformation:
    """Return SGD with the two schedules, and max-norm last."""

    def falling(step: jax.Array) -> jax.Array:
        return learning_rate / (1 + recipe.decay * step.astype(jnp.float32) / recipe.steps)

    rising = optax.linear_schedule(*recipe.momentum, max(recipe.steps // 10, 1))
    sgd = optax.inject_hyperparams(optax.sgd)(learning_rate=falling, momentum=rising)
    return optax.chain(sgd, *([jaxdrop.max_norm(recipe.max_norm)] if recipe.max_norm else []))


@functools.lru_cache(maxsize=16)  # equal settings share one compiled program
def make_train(net: Net, recipe: Recipe, measure: Measure = errors) -> Callable[..., Any]:
    """Build ``train(key, input_rate, hidden_rate, learning_rate, data)``, a pure function.

    Rows of a batch are drawn with replacement: those of step n are a function of (key, n), as the
    masks are.

    Args:
      net, recipe: what the program depends on.
      measure: called ``recipe.evaluations`` times at equal distances.

    Returns:
      The function. hidden_rate is a scalar, or one rate per step. It returns what measure does,
      with a leading axis of length ``recipe.evaluations``.
    """

    def train(
        key: Any, input_rate: Any, hidden_rate: Any, learning_rate: Any, data: Split[jax.Array]
    ) -> Any:
        init_key, order_key, dropout_key, measure_key = jax.random.split(key, 4)

        def rate_at(step: jax.Array) -> jax.Array:
            return hidden_rate[step] if jnp.ndim(hidden_rate) else hidden_rate

        def loss_fn(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
            x, y, rate = batch
            params = variables["params"]
            total = loss(net, recipe, forward(net, params, x, key, input_rate, rate), x, y)
            for layer in params.values():
                if recipe.l2:
                    total += recipe.l2 / 2 * jnp.sum(jnp.square(layer["kernel"]))
                if recipe.l1:
                    total += recipe.l1 * jnp.sum(jnp.abs(layer["kernel"]))
            return total

        step = make_train_step(loss_fn)

        def one_step(state: TrainState, number: jax.Array) -> tuple[TrainState, None]:
            row_key = jax.random.fold_in(order_key, number)
            rows = jax.random.randint(row_key, (recipe.batch,), 0, len(data.y_train))
            batch = data.x_train[rows], data.y_train[rows], rate_at(number)
            return step(state, batch)[0], None

        def stretch(state: TrainState, numbers: jax.Array) -> tuple[TrainState, Any]:
            state, _ = jax.lax.scan(one_step, state, numbers)
            fresh = jax.random.fold_in(measure_key, numbers[-1])
            rates = input_rate, rate_at(numbers[-1])
            params: Any = state.params  # flax says FrozenDict
            return state, measure(net, Moment(params, fresh, *rates, data))

        state = TrainState.create(
            apply_fn=net.apply,
            params=init(init_key, net, data.x_train.shape[1]),
            tx=optimizer(recipe, learning_rate),
            dropout_key=dropout_key,
        )
        numbers = jnp.arange(recipe.steps).reshape(recipe.evaluations, -1)
        return jax.lax.scan(stretch, state, numbers)[1]

    return train
