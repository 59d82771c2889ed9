"""Checks of the probabilities and labels of every classification metric, and their dtype."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.checks import array_of, known_values

TOLERANCE = 1e-2  # of a row's sum; bfloat16 has 8 bits


def check_probabilities(probabilities: Any, rank: int) -> jax.Array:
    """Return the array in float32 at least, or raise a sentence if it is not of probabilities.

    Sums over samples, logarithms and bins' edges need more digits than half precision has. The
    values of a traced array are not checked.

    Args:
      probabilities: classes along the last axis.
      rank: the least number of dimensions: 2 for [batch, classes], 3 with samples first.
    """
    axes = ("[samples, batch, classes]", "[batch, classes]")[rank == 2]
    array = array_of(probabilities, "probabilities", f"expected a floating array {axes}")
    if array.ndim < rank or not jnp.issubdtype(array.dtype, jnp.floating) or not array.size:
        raise ValueError(
            f"got probabilities of shape {array.shape} and dtype {array.dtype}, expected a "
            f"floating array {axes}"
        )
    known = known_values(probabilities)
    if known is None:
        return widened(array)
    host = known.astype(np.float64)
    sums = host.sum(-1)
    if host.min() < 0 or np.isnan(sums).any() or np.abs(sums - 1).max() > TOLERANCE:
        worst = sums.flat[np.nan_to_num(np.abs(sums - 1), nan=np.inf).argmax()]
        raise ValueError(
            f"got values from {host.min():.4g} to {host.max():.4g} with a row that sums to "
            f"{worst:.4g}, expected probabilities; for logits, pass jax.nn.softmax(logits)"
        )
    return widened(array)


def widened(array: jax.Array) -> jax.Array:
    """Return an array of at least float32, in which metrics are computed."""
    return array if array.dtype == jnp.float64 else array.astype(jnp.float32)


def check_labels(labels: Any, probabilities: jax.Array) -> jax.Array:
    """Return the labels, one class number for each row of [batch, classes] probabilities."""
    array = array_of(labels, "labels", "expected integers, one for each row")
    expected, classes = probabilities.shape[:-1], probabilities.shape[-1]
    if array.shape != expected or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(
            f"got labels of shape {array.shape} and dtype {array.dtype}, expected integers of "
            f"shape {expected}, one for each row"
        )
    known = known_values(labels)
    if known is not None and known.size:
        low, high = int(known.min()), int(known.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f"got labels from {low} to {high}, expected class numbers 0 to {classes - 1}"
            )
    return array
