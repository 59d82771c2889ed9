"""r_drop_loss: make two passes with different masks agree (Liang et al. 2021)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Integer

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import as_array, check_number, check_real_input, known_values


def symmetric_kl(
    logits: Inexact[AnyArray, "*batch classes"], other: Inexact[AnyArray, "*batch classes"]
) -> Float[Array, "*batch"]:
    """Compute ``(KL(P||Q) + KL(Q||P)) / 2`` of two rows of logits, in nats.

    Equals ``sum((P - Q)(log P - log Q)) / 2``; zero exactly where the rows agree. A logit of
    -inf in both rows (a masked class) counts as agreement.

    Raises:
      TypeError: if logits are not a real floating array.
      ValueError: if the shapes differ, or there is no axis of classes.

    >>> import jax.numpy as jnp, jaxdrop
    >>> float(jaxdrop.symmetric_kl(jnp.ones((3,)), jnp.ones((3,))))
    0.0
    """
    logits, other = _check_passes(logits, other, "symmetric_kl")
    log_p, log_q = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(other, axis=-1)
    out = jnp.isneginf(log_p) & jnp.isneginf(log_q)
    # Both branches are made finite, since where differentiates also what it does not choose.
    p, q = jnp.where(out, 0, log_p), jnp.where(out, 0, log_q)
    return 0.5 * jnp.sum((jnp.exp(p) - jnp.exp(q)) * (p - q), axis=-1)


def r_drop_loss(
    logits: Inexact[AnyArray, "*batch classes"],
    other: Inexact[AnyArray, "*batch classes"],
    labels: Integer[AnyArray, "*batch"],
    *,
    weight: float = 1.0,
) -> Float[Array, "*batch"]:
    """Compute the cross-entropy of two passes plus the distance between them.

    ``-log P[label] - log Q[label] + weight (KL(P||Q) + KL(Q||P)) / 2``, or 0 if label < 0

    Args:
      logits: of one pass with dropout.
      other: of a pass over the same examples with another key.
      labels: class numbers. A negative one, such as -1 or -100, marks padding: its row has loss
        0 and gradient 0, distance included, whatever its logits are.
      weight: of the distance, 0 or more; the paper uses 1 to 5 for translation, 0.1 to 1 for
        fine-tuning.

    Returns:
      One loss per example; take the mean, with padding ``loss.sum() / (labels >= 0).sum()``. With
      equal logits it is twice the cross-entropy.

    Not for models without dropout: two equal passes have distance 0. Gradients flow through both.

    Raises:
      ValueError: if the passes differ in shape, labels are not one class number for each row, or a
        concrete label is beyond the classes; under jit the loss of such a row is NaN.

    Reference:
      Liang et al., R-Drop: Regularized Dropout for Neural Networks, 2021.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> w, x, labels = jnp.ones((8, 3)), jnp.ones((2, 8)), jnp.array([0, 2])
    >>> passes = jax.vmap(lambda key: jaxdrop.dropout(key, x, 0.5) @ w)
    >>> logits, other = passes(jax.random.split(jax.random.key(0)))
    >>> f"{jaxdrop.r_drop_loss(logits, other, labels).mean():.3f}"  # 2 log 3, of equal logits
    '2.197'
    """
    logits, other = _check_passes(logits, other, "r_drop_loss")
    expected = "a finite weight of 0 or more, one number"
    check_number(weight, "weight", expected, lambda w: 0 <= w < math.inf)
    if not isinstance(labels, (jax.Array, np.ndarray)):
        raise TypeError(
            f"got labels={labels!r:.60} of type {type(labels).__name__}, expected an array of "
            "class numbers"
        )
    given = labels
    labels = as_array(labels, "labels", "r_drop_loss takes an array of class numbers")
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"got labels of shape {labels.shape} and dtype {labels.dtype} for logits of shape "
            f"{logits.shape}; expected one class number for each row"
        )
    classes = logits.shape[-1]
    known = known_values(given)  # a NumPy array is known inside jit, too
    if known is not None and known.size and known.max() >= classes:
        raise ValueError(
            f"got the label {known.max()} for logits of {classes} classes, expected 0 to "
            f"{classes - 1}, or a negative number for padding"
        )
    padding = labels < 0
    # Padding is replaced before anything is computed, so that its gradients cannot be NaN.
    logits, other = (jnp.where(padding[..., None], 0, each) for each in (logits, other))
    chosen = jnp.where(padding, 0, labels)
    nll = _cross_entropy(logits, chosen) + _cross_entropy(other, chosen)
    return jnp.where(padding, 0, nll + weight * symmetric_kl(logits, other))


def _check_passes(logits: object, other: object, caller: str) -> tuple[jax.Array, jax.Array]:
    """Return two passes as arrays, or raise an error if they are not of the same batch."""
    why = "since it computes probabilities"
    first = check_real_input(logits, caller, "logits", why)
    second = check_real_input(other, caller, "other", why)
    if first.shape != second.shape:
        raise ValueError(
            f"got logits of shapes {first.shape} and {second.shape}; give two passes over the same "
            "batch"
        )
    if not first.ndim:
        raise ValueError(
            f"got one number as logits; {caller} takes the classes' along the last axis"
        )
    return first, second


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
