"""word_dropout: replace tokens of a text by the unknown word."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import broadcast_like
from jaxdrop._core.checks import check_integer, check_sequence
from jaxdrop._core.keep_where import keep_where
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import keep_mask
from jaxdrop._core.mesh import placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate, check_rate_shape
from jaxdrop._functional.embedding_dropout import check_ids


def word_dropout(
    key: AnyKey | None,
    tokens: Integer[AnyArray, "..."],
    rate: RateLike,
    *,
    unknown: int | Integer[AnyArray, ""],
    protected: Sequence[int] | Integer[AnyArray, " protected"] = (),
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Integer[Array, "..."]:
    """Replace tokens at random by the unknown word.

    ``y[i] = tokens[i] if m[i] else unknown``, ``P(m[i] = 0) = rate``, independently for each i

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      tokens: integer array of any shape.
      rate: probability of replacing a token, as in ``dropout``.
      unknown: the token to put in its place.
      protected: tokens that are never replaced, such as padding or separators.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split tokens, as in ``dropout``.

    Returns:
      Array like tokens. Nothing is scaled: a token has no mean.

    Raises:
      TypeError: if tokens, unknown or protected are not integers.
      ValueError: as ``dropout``, and if a token does not fit into the dtype of tokens.

    Causal language models that see one text for many epochs drop their input tokens in this way,
    with a mask token as the unknown word, and take the loss on every token. ``mask_tokens`` is for
    models that learn to tell what was hidden.

    Not for: tokens that the model has to copy, and padding, which belongs in protected.

    References:
      Iyyer et al., Deep Unordered Composition Rivals Syntactic Methods for Text Classification,
      2015; Bowman et al., Generating Sentences from a Continuous Space, 2016; Gao et al., What
      Makes Diffusion Language Models Super Data Learners?, 2025, on many epochs.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> y = jaxdrop.word_dropout(jax.random.key(0), jnp.arange(1, 9), 1.0, unknown=0, protected=[8])
    >>> y.tolist()
    [0, 0, 0, 0, 0, 0, 0, 8]
    """
    tokens = check_ids(tokens, "tokens", "word_dropout")
    names = placed(mesh_axes, key, tokens)
    instead = check_token(unknown, "unknown", tokens.dtype)
    expected = "a sequence of tokens, such as (0,)"
    protected = check_sequence(protected, "protected", expected)
    kept_tokens = [check_token(t, "a protected token", tokens.dtype) for t in protected]
    checked = check_rate(rate)
    check_rate_shape(checked, tokens.shape)
    key, test_mode = resolve(key, checked, deterministic, "word_dropout")
    if test_mode is True:
        return tokens
    kept = keep_mask(key, tokens.shape, rate, mesh_axes=names)
    for token in kept_tokens:
        kept = kept | (tokens == token)
    kept = broadcast_like(kept, tokens)
    instead = jnp.where(kept, jnp.zeros((), tokens.dtype), instead)
    return choose(test_mode, tokens, keep_where(kept, tokens) + instead)


def check_token(token: Any, name: str, dtype: Any) -> jax.Array:
    """Return a token in the dtype of the others, or raise an error if that cannot hold it."""
    if isinstance(token, jax.core.Tracer) and jnp.issubdtype(token.dtype, jnp.integer):
        return token.astype(dtype)
    number, limits = check_integer(token, name, "an integer, as the tokens are"), jnp.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise ValueError(
            f"got {name}={number} for tokens of dtype {dtype}, expected {limits.min} to "
            f"{limits.max}"
        )
    return jnp.asarray(number, dtype)
