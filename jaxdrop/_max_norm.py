"""max_norm: bound the incoming weights of every unit, as an optax transformation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def has_inputs(parameter: jax.Array) -> bool:
    """Say whether a parameter has two dimensions at least, unlike a bias or a scale."""
    return parameter.ndim >= 2


def max_norm(
    c: float, *, where: Callable[[jax.Array], bool] = has_inputs
) -> optax.GradientTransformation:
    """Scale the incoming weights of a unit back to norm c whenever a step took them beyond it.

    ``w <- w min(1, c / ||w||)`` after the step, with w all weights into one unit: everything but
    the last axis of a Flax kernel (dense or convolution).

    Put it last in ``optax.chain``, since it needs the step that is really taken. It lets dropout be
    trained with the large learning rates that it needs.

    Args:
      c: the bound, above 0; Srivastava et al. use 2 to 4.
      where: which parameters are bounded; by default those of two dimensions and more. For an
        embedding table, whose rows are the vectors, leave it out with this.

    Returns:
      A stateless GradientTransformation; its update needs the parameters.

    Raises:
      ValueError: if c is not above 0, or update gets no parameters.

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
    if not c > 0:
        raise ValueError(f"got {c=}, expected a norm above 0, such as 3.0")

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(
                "max_norm bounds parameters, so it needs them: call tx.update(grads, state, params)"
            )

        def bound(step: jax.Array, parameter: jax.Array) -> jax.Array:
            if not where(parameter):
                return step
            new = parameter + step.astype(parameter.dtype)
            wide = new if new.dtype == jnp.float64 else new.astype(jnp.float32)
            square = jnp.sum(jnp.square(wide), axis=tuple(range(new.ndim - 1)), keepdims=True)
            # The guard keeps the division finite where the norm is zero.
            factor = c / jnp.sqrt(jnp.maximum(square, c * c))
            back = (wide * factor).astype(new.dtype) - parameter
            return jnp.where(square > c * c, back.astype(step.dtype), step)

        return jax.tree.map(bound, updates, params), state

    return optax.GradientTransformation(init, update)
