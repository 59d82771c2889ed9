"""drop_connect: drop weights instead of activations (Wan et al. 2013)."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._check import check_input
from jaxdrop._dropout import AnyKey, dropout
from jaxdrop._mode import resolve
from jaxdrop._rate import check_rate


def drop_connect(
    key: AnyKey | None,
    x: Inexact[Array, "..."],
    rate: Any,
    *,
    deterministic: Any = False,
) -> Inexact[Array, "..."]:
    """Drop the connections of a weight array and scale those that are kept.

    ``w' = where(keep, w / (1 - rate), 0)``, each weight on its own

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      x: the weights, of any shape.
      rate: probability of dropping a weight, as in ``dropout``.
      deterministic: True for test time: the weights are returned as they are.

    Returns:
      Array like x. E[w'] = w and Var[w'] = w**2 rate / (1 - rate), so that the layer's output
      keeps its mean before the non-linearity. One mask serves every example that is multiplied
      with the returned weights; ``drop_connect_dense`` can draw one mask per example.

    Not for biases that a layer cannot do without, nor for the scale of a normalisation layer.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Reference:
      Wan et al., Regularization of Neural Networks using DropConnect, 2013. There the test-time
      activation is sampled from a Gaussian that has the moments above; here it is the mean.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> w = jaxdrop.drop_connect(jax.random.key(0), jnp.ones((3, 2)), 0.5)
    >>> sorted(set(w.ravel().tolist()))
    [0.0, 2.0]
    """
    x = check_input(x, "drop_connect")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "drop_connect")
    return dropout(key, x, rate, deterministic=test_mode)


def drop_connect_dense(
    key: AnyKey | None,
    x: Inexact[Array, "*batch inputs"],
    rate: Any,
    *,
    kernel: Inexact[Array, "inputs outputs"],
    per_example: bool = False,
    chunk: int = 8,
    index_offset: Sequence[Any] = (),
    deterministic: Any = False,
) -> Inexact[Array, "*batch outputs"]:
    """Multiply by a kernel whose connections are dropped, for the batch or for each example.

    ``y[b] = x[b] @ where(keep[b], kernel / (1 - rate), 0)``

    With per_example=True the masks are those of one array of shape (examples, inputs, outputs) that
    never exists as a whole: ``chunk`` examples at a time are masked and multiplied, in the backward
    pass again, so the memory beyond x and y is chunk copies of the kernel.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      x: inputs; all dimensions but the last count as examples.
      rate: probability of dropping a weight, as in ``dropout``; a scalar.
      kernel: weights, (inputs, outputs).
      per_example: False draws one mask for the whole call, and costs one masked kernel. True draws
        one mask per example as in the paper, and costs a mask of the kernel's size per example.
      chunk: with per_example, how many examples are computed at a time.
      index_offset: with per_example, ``(first,)``: the position of x's first example in the global
        batch. Needed for microbatches and inside ``shard_map``.
      deterministic: True for test time: ``x @ kernel``.

    Returns:
      Array of shape (*batch, outputs). E[y] = x @ kernel and
      Var[y] = (x**2 @ kernel**2) rate / (1 - rate); examples are independent given x only with
      per_example=True.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Reference:
      Wan et al., Regularization of Neural Networks using DropConnect, 2013.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x, kernel = jnp.ones((4, 3)), jnp.ones((3, 2))
    >>> jaxdrop.drop_connect_dense(jax.random.key(0), x, 0.5, kernel=kernel, per_example=True).shape
    (4, 2)
    """
    x = check_input(x, "drop_connect_dense")
    kernel = check_input(kernel, "drop_connect_dense")
    if kernel.ndim != 2 or x.ndim < 1 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"got x of shape {x.shape} and a kernel of shape {kernel.shape}; drop_connect_dense "
            "multiplies (..., inputs) by (inputs, outputs)"
        )
    if len(index_offset) > 1 or (index_offset and not per_example):
        raise ValueError(
            f"got index_offset={tuple(index_offset)!r} with {per_example=}; only per_example=True "
            "has masks to place, and it takes (first_example,)"
        )
    if chunk < 1:
        raise ValueError(f"got {chunk=}, expected the number of examples to compute at a time")
    key, test_mode = resolve(key, check_rate(rate), deterministic, "drop_connect_dense")
    rows = math.prod(x.shape[:-1])
    if test_mode is True or rows == 0:
        return jnp.matmul(x, kernel)
    if not per_example:
        return jnp.matmul(x, dropout(key, kernel, rate, deterministic=test_mode))

    # Without the checkpoint, the backward pass would keep every example's masked kernel.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(key: Any, kernel: jax.Array, row: jax.Array, example: jax.Array) -> jax.Array:
        masked = dropout(key, kernel[None], rate, index_offset=(example,), deterministic=test_mode)
        return jnp.matmul(row, masked[0])

    examples = jnp.arange(rows, dtype=jnp.uint32)
    if index_offset:
        examples = examples + jnp.asarray(index_offset[0]).astype(jnp.uint32)
    y = jax.lax.map(
        lambda pair: one(key, kernel, *pair),
        (x.reshape(rows, -1), examples),
        batch_size=min(chunk, rows),
    )
    return y.reshape(*x.shape[:-1], kernel.shape[1])
