"""r_drop_loss: make two passes with different masks agree (Liang et al. 2021)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Integer

from jaxdrop._check import check_input


def symmetric_kl(
    logits: Inexact[Array, "*batch classes"], other: Inexact[Array, "*batch classes"]
) -> Float[Array, "*batch"]:
    """Compute ``(KL(P||Q) + KL(Q||P)) / 2`` of two rows of logits, in nats.

    Equals ``sum((P - Q)(log P - log Q)) / 2``; zero exactly where the rows agree. A logit of
    -inf in both rows (a masked class) counts as agreement.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    >>> import jax.numpy as jnp, jaxdrop
    >>> float(jaxdrop.symmetric_kl(jnp.ones((3,)), jnp.ones((3,))))
    0.0
    """
    logits = check_input(logits, "symmetric_kl", "logits")
    other = check_input(other, "symmetric_kl", "other")
    if logits.shape != other.shape:
        raise ValueError(
            f"got logits of shapes {logits.shape} and {other.shape}; give two passes over the same "
            "batch"
        )
    log_p, log_q = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(other, axis=-1)
    out = jnp.isneginf(log_p) & jnp.isneginf(log_q)
    # Both branches are made finite, since where passes the gradient of what it does not choose.
    p, q = jnp.where(out, 0, log_p), jnp.where(out, 0, log_q)
    return 0.5 * jnp.sum((jnp.exp(p) - jnp.exp(q)) * (p - q), axis=-1)


def r_drop_loss(
    logits: Inexact[Array, "*batch classes"],
    other: Inexact[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    *,
    weight: float = 1.0,
) -> Float[Array, "*batch"]:
    """Compute the cross-entropy of two passes plus the distance between them.

    ``-log P[label] - log Q[label] + weight (KL(P||Q) + KL(Q||P)) / 2``

    Args:
      logits: of one pass with dropout.
      other: of a pass over the same examples with another key.
      labels: class numbers.
      weight: of the distance; the paper uses 1 to 5 for translation, 0.1 to 1 for fine-tuning.

    Returns:
      One loss per example; take the mean. With equal logits it is twice the cross-entropy.

    Not without dropout: two equal passes have distance 0. Gradients flow through both passes.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Reference:
      Liang et al., R-Drop: Regularized Dropout for Neural Networks, 2021.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> w, x, labels = jnp.ones((8, 3)), jnp.ones((2, 8)), jnp.array([0, 2])
    >>> passes = jax.vmap(lambda key: jaxdrop.dropout(key, x, 0.5) @ w)
    >>> logits, other = passes(jax.random.split(jax.random.key(0)))
    >>> jaxdrop.r_drop_loss(logits, other, labels).shape
    (2,)
    """
    distance = symmetric_kl(logits, other)
    if not isinstance(labels, (jax.Array, np.ndarray)):
        raise TypeError(
            f"got labels={labels!r:.60} of type {type(labels).__name__}, expected an array of "
            "class numbers"
        )
    labels = jnp.asarray(labels)
    if labels.shape != distance.shape or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"got labels of shape {labels.shape} and dtype {labels.dtype} for logits of shape "
            f"{logits.shape}; expected one class number for each row"
        )
    logits, other = jnp.asarray(logits), jnp.asarray(other)
    nll = _cross_entropy(logits, labels) + _cross_entropy(other, labels)
    return nll + weight * distance


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
