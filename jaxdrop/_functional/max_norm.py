"""max_norm: bound the incoming weights of every unit, as an optax transformation."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdrop._core.checks import check_dims, check_function, check_number

if TYPE_CHECKING:
    import optax


def has_inputs(parameter: jax.Array) -> bool:
    """Say whether a parameter has at least two dimensions, unlike a bias or a scale."""
    return parameter.ndim >= 2


def max_norm(
    c: Any,
    *,
    where: Callable[[jax.Array], bool] | None = None,
    axis: int | Sequence[int] | None = None,
) -> "optax.GradientTransformation":
    """Scale the incoming weights of a unit back to norm c whenever a step took them beyond it.

    ``w <- w min(1, c / ||w||)`` after the step, with w all weights into one unit: everything but
    the last axis of a Flax kernel (dense or convolution).

    Put it last in ``optax.chain``, since it needs the step that is really taken. It makes the large
    learning rates possible that training with dropout needs.

    Args:
      c: the bound, above 0; Srivastava et al. use 2 to 4. It may be traced, as it is under
        ``optax.inject_hyperparams(max_norm, static_args=("where", "axis"))``.
      where: a function that says whether a parameter is bounded; by default those of two dimensions
        or more are. To choose by name, use ``optax.masked(max_norm(c), mask)``.
      axis: the dimensions that a unit's weights lie along, in every bounded parameter; by default
        all but the last.

    Returns:
      A stateless GradientTransformation; its update needs the parameters, and passes an update of
      None on.

    Not for, with the default axis: kernels with several output dimensions, such as the query
    kernel (features, heads, head_dim) of ``MultiHeadDotProductAttention``, where a norm would be
    shared by all heads: give ``axis=0`` for those. Nor for embedding tables, whose rows are the
    vectors: ``axis=1``, or leave them out.

    Raises:
      TypeError: if c is not a number, or where is not a function.
      ValueError: if c is not above 0; from update, if a parameter does not have the axis, or if no
        parameters are given.

    Reference:
      Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014,
      section 5.1.

    >>> import jax.numpy as jnp, jaxdrop, optax
    >>> params = {"kernel": jnp.full((4, 2), 3.0)}
    >>> tx = optax.chain(optax.sgd(0.1), jaxdrop.max_norm(2.0))
    >>> updates, _ = tx.update({"kernel": jnp.zeros((4, 2))}, tx.init(params), params)
    >>> jnp.linalg.norm(optax.apply_updates(params, updates)["kernel"], axis=0).tolist()
    [2.0, 2.0]
    """
    import optax  # which takes as long to import as all of jaxdrop does without it

    check_number(c, "c", "a norm above 0, such as 3.0", lambda c: c > 0)
    chosen = has_inputs if where is None else where
    check_function(chosen, "where", "max_norm takes a function of a parameter")
    if axis is not None:  # only a parameter shows whether they exist
        check_dims((axis,) if isinstance(axis, int) else axis, 64, "axis")

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(
                "max_norm bounds parameters, so it needs them: call tx.update(grads, state, params)"
            )

        def bound(step: Any, parameter: jax.Array) -> Any:
            if step is None or not chosen(parameter):
                return step
            new = parameter + step.astype(parameter.dtype)
            wide = new if new.dtype == jnp.float64 else new.astype(jnp.float32)
            square = jnp.sum(jnp.square(wide), axis=_inputs(axis, new.ndim), keepdims=True)
            norm = jnp.asarray(c, wide.dtype)
            # The guard keeps the division finite where the norm is zero.
            factor = norm / jnp.sqrt(jnp.maximum(square, norm * norm))
            back = (wide * factor).astype(new.dtype) - parameter
            return jnp.where(square > norm * norm, back.astype(step.dtype), step)

        return jax.tree.map(bound, updates, params, is_leaf=lambda step: step is None), state

    return optax.GradientTransformation(init, update)


def _inputs(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim - 1))
    return tuple(check_dims((axis,) if isinstance(axis, int) else axis, ndim, "axis"))
