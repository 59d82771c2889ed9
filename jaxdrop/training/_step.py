"""make_train_step and make_eval_step: one jitted function each, the same for Linen and NNX."""

from collections.abc import Callable
from typing import Any, TypeVar

import chex
import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from jaxdrop._core.checks import check_count, check_function, check_switch
from jaxdrop.training._accumulate import accumulated
from jaxdrop.training._donating_step import DonatingStep
from jaxdrop.training._loss import call_loss, takes_step
from jaxdrop.training._state import TrainState, check_state
from jaxdrop.training._update_kept import apply_kept

S = TypeVar("S", bound=TrainState)


def make_train_step(
    loss_fn: Callable[..., Any],
    *,
    donate: bool = True,
    check: bool = False,
    accumulate: int = 1,
    kept_fn: Callable[[Any, Any], Any] | None = None,
) -> Callable[[S, PyTree], tuple[S, dict[str, jax.Array]]]:
    """Build ``step(state, batch) -> (state, metrics)``: one gradient step under jit.

    ``key = fold_in(state.dropout_key, state.step)``;
    ``params -= tx(grad of loss_fn(variables or model, batch, key))``

    Args:
      loss_fn: ``loss_fn(variables, batch, key)`` for a ``TrainState``, where variables is what
        ``model.apply`` takes; ``loss_fn(model, batch, key)`` for an ``NNXTrainState``, where model
        is in training mode and its streams are already keyed by the step. It returns the loss,
        ``(loss, metrics)`` with a dict of arrays, or, with Linen collections that a step changes,
        ``(loss, metrics, changed_collections)``.
      donate: reuse the memory of the state passed in for the one returned. The old state is
        unusable after the call. An array that is in it twice is copied first.
      check: let every step check that its gradient is finite and how much its masks keep, and
        raise an AssertionError if not (see below). For finding a fault: it is slower, and the state
        is not donated, so that the one before the fault is there to be looked at.
      accumulate: in how many microbatches the batch is computed, one after another, in the memory
        of one: parts of equal size along the first dimension of its arrays. A divisor of the rows.
      kept_fn: ``kept_fn(params, key)`` returns which units the step uses, with the key that loss_fn
        gets, as ``unit_dropout_mlp_kept`` does; the optimizer, an ``update_kept``, leaves the
        others as they are.

    Returns:
      The step. It is traced once per shape of batch; metrics holds "loss" and the metrics of
      loss_fn. Two calls with equal states and batches give the same bits, whatever came before.

    Raises:
      TypeError, ValueError: when it is traced, if state or what loss_fn returned has another
        form, or if collections that the model may have changed were not returned; with accumulate,
        also if it cannot be told which part of a mask belongs to a microbatch.

    With accumulate=k one update is made of the mean of k gradients, which is the gradient of the
    whole batch to float error where the loss is a mean over rows. The masks are those of the whole
    batch: loss_fn is traced for both numbers of rows, and a draw that has the batch as one of its
    dimensions gives each microbatch its rows of it, while one that has not, such as the mask of a
    weight, is the same in all of them. jaxdrop draws the part; of ``jax.random`` and flax's own
    dropout, the whole draw is cut. Refused in a sentence are choices among all rows
    (``drop_path_subset``), a batch merged with another dimension before the draw, keys or offsets
    that loss_fn counts from the first row (``drop_connect_dense(per_example=True)``), draws inside
    of kernels or of your own ``custom_vjp``, and bits="key". Inside ``shard_map``, in loss_fn or
    around the step, the rows of a batch that is split are known by ``mesh_axes``. The ``groups`` of
    ``unit_dropout_mlp`` are parts of each microbatch. Loss and metrics are means over the
    microbatches, element by element, in float32 at least; a weighted mean, as with padding, is then
    the mean of weighted means. Collections go from one microbatch to the next: batch statistics are
    of its rows, and updated k times in a step.

    With check=True every mask that jaxdrop draws in the step is counted, in loops and backward
    passes as well. Where kept elements are scaled, the expected share is the inverse of the scale,
    elsewhere that of the rate; bounds are exact for a rate that is a number, and Hoeffding's for
    one that is traced or an array. A right mask fails with a probability below 1e-15. Not counted
    are masks too small for any count to fail at that, of 2**31 elements or more, inside of
    ``shard_map``, of a ``keep_mask`` under vmap over rates alone, and of other libraries; the
    position of ``cutout`` and the noise of Gaussian and Concrete dropout are no masks. Your loss
    function can call chex's and ``jaxdrop.testing``'s assertions itself. Such a step is wrapped in
    ``chex.chexify`` and raises where it is called. So it has to be called as it is: inside of jit,
    vmap or a sweep chex raises a RuntimeError. At the end of the process chex may log that
    assertions were not inspected; those of this step were.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxdrop, jaxdrop.training as jt
    >>> model = nn.Dense(1)
    >>> def loss_fn(variables, batch, key):
    ...     x = jaxdrop.dropout(key, batch["x"], 0.5)
    ...     return jnp.mean((model.apply(variables, x) - batch["y"]) ** 2)
    >>> batch = {"x": jnp.ones((8, 4)), "y": jnp.ones((8, 1))}
    >>> state = jt.TrainState.create(
    ...     apply_fn=model.apply, params=model.init(jax.random.key(0), batch["x"])["params"],
    ...     tx=optax.sgd(0.1), dropout_key=jax.random.key(1),
    ... )
    >>> step = jt.make_train_step(loss_fn)
    >>> for _ in range(3):
    ...     state, metrics = step(state, batch)
    >>> int(state.step), sorted(metrics)
    (3, ['loss'])

    A rate that follows a schedule; any of optax's will do:

    >>> rate = optax.linear_schedule(0.0, 0.5, 10)
    >>> def loss_fn(variables, batch, key, step):
    ...     x = jaxdrop.dropout(key, batch["x"], rate(step))
    ...     return jnp.mean((model.apply(variables, x) - batch["y"]) ** 2), {"rate": rate(step)}
    >>> state, metrics = jt.make_train_step(loss_fn)(state, batch)
    >>> int(state.step), round(float(metrics["rate"]), 2)
    (4, 0.15)

    A step that finds its fault:

    >>> def loss_fn(variables, batch, key):
    ...     return jnp.log(jnp.mean(model.apply(variables, jnp.zeros_like(batch["x"]))) * 0)
    >>> state, metrics = jt.make_train_step(loss_fn, check=True)(
    ...     state, batch)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: [Chex] ... non-finite ... the gradient of loss_fn in step 4...

    The same with NNX:

    >>> from flax import nnx
    >>> import jaxdrop.nnx
    >>> from jaxdrop import surgery
    >>> net = nnx.Sequential(jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0)),
    ...                      nnx.Linear(4, 1, rngs=nnx.Rngs(0)))
    >>> def nnx_loss(model, batch, key, step):
    ...     surgery.set_rates(model, rate(step))  # this copy of the model is the step's own
    ...     return jnp.mean((model(batch["x"]) - batch["y"]) ** 2)
    >>> state = jt.NNXTrainState.from_model(net, optax.sgd(0.1), jax.random.key(1))
    >>> state, metrics = jt.make_train_step(nnx_loss)(state, batch)
    >>> int(state.step)
    1
    """
    donate, check = check_switch(donate, "donate"), check_switch(check, "check")
    train_step = step_function(loss_fn, check=check, accumulate=accumulate, kept_fn=kept_fn)
    if check:
        from jaxdrop.training._mask_checks import with_mask_checks  # imports scipy.stats, slowly

        return chex.chexify(jax.jit(with_mask_checks(train_step)), async_check=False)
    return DonatingStep(train_step) if donate else jax.jit(train_step)


def step_function(
    loss_fn: Callable[..., Any],
    *,
    check: bool = False,
    accumulate: int = 1,
    mesh: Mesh | None = None,
    kept_fn: Callable[[Any, Any], Any] | None = None,
) -> Callable[..., Any]:
    """Return ``make_train_step``'s step before it is compiled.

    Args:
      loss_fn, check, accumulate, kept_fn: as there.
      mesh: over whose axis "data" the rows of every microbatch are spread.
    """
    check_function(loss_fn, "loss_fn", "expected a function (variables or model, batch, key)")
    parts = check_count(accumulate, "accumulate", "microbatches in a step")
    if kept_fn is not None:
        check_function(kept_fn, "kept_fn", "expected a function (params, key)")
    with_step = takes_step(loss_fn)

    def objective(params: Any, state: Any, batch: Any) -> tuple[jax.Array, Any]:
        loss, *rest = call_loss(loss_fn, state, params, batch, with_step=with_step)
        return loss, rest

    def train_step(state: S, batch: Any) -> tuple[S, dict[str, jax.Array]]:
        check_state(state, "the step of make_train_step")
        if parts > 1:
            (loss, metrics, collections), grads = accumulated(objective, state, batch, parts, mesh)
        else:
            (loss, (metrics, collections)), grads = jax.value_and_grad(objective, has_aux=True)(
                state.params, state, batch
            )
        if check:
            chex.assert_tree_all_finite(
                grads,
                custom_message="the gradient of loss_fn in step {}",
                custom_message_format_vars=(state.step,),
            )
        tx = state.tx
        if kept_fn is not None:
            units = kept_fn(state.params, jax.random.clone(state.step_key()))
            state = state.replace(tx=apply_kept(tx, units))
        state = state.apply_gradients(grads=grads, collections=collections).replace(tx=tx)
        return state, {"loss": loss, **metrics}

    return train_step


def make_eval_step(metric_fn: Callable[..., Any]) -> Callable[[TrainState, PyTree], PyTree]:
    """Build ``evaluate(state, batch)``: ``metric_fn`` under jit, with no randomness.

    Args:
      metric_fn: ``metric_fn(variables, batch)`` for a ``TrainState``, where the model has to be
        applied with ``deterministic=True``; ``metric_fn(model, batch)`` for an ``NNXTrainState``,
        where model is in eval mode already. It returns any tree of arrays.

    Returns:
      The function; it changes and donates nothing.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxdrop.training as jt
    >>> model = nn.Dense(1)
    >>> x = jnp.ones((8, 4))
    >>> state = jt.TrainState.create(
    ...     apply_fn=model.apply, params=model.init(jax.random.key(0), x)["params"],
    ...     tx=optax.sgd(0.1), dropout_key=jax.random.key(1),
    ... )
    >>> evaluate = jt.make_eval_step(lambda variables, x: model.apply(variables, x).shape[0])
    >>> int(evaluate(state, x))
    8
    """

    check_function(metric_fn, "metric_fn", "make_eval_step takes a function (variables, batch)")

    def evaluate(state: TrainState, batch: Any) -> Any:
        check_state(state, "the function of make_eval_step")
        return metric_fn(state.bind(), batch)

    return jax.jit(evaluate)
