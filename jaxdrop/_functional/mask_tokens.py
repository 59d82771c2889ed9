"""mask_tokens: the corrupted texts of masked and diffusion language models."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Integer

from jaxdrop._core.annotations import AnyArray, MeshAxes, RateLike
from jaxdrop._core.bits import random_bits
from jaxdrop._core.checks import check_count, check_number, check_sequence
from jaxdrop._core.index import times
from jaxdrop._core.key import AnyKey, check_key, typed
from jaxdrop._core.mask import is_kept, mask_in_jit, mask_params
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape
from jaxdrop._functional.embedding_dropout import check_ids
from jaxdrop._functional.word_dropout import check_token


def mask_tokens(
    key: AnyKey | None,
    tokens: Integer[AnyArray, "... tokens"],
    rate: RateLike,
    *,
    mask_token: int | Integer[AnyArray, ""],
    mask_share: float = 1.0,
    random_share: float = 0.0,
    vocab_size: int | None = None,
    span: int = 1,
    protected: Sequence[int] | Integer[AnyArray, " protected"] = (),
    mesh_axes: MeshAxes = (),
) -> tuple[Integer[Array, "... tokens"], Bool[Array, "... tokens"]]:
    """Hide tokens at random, for a model that learns to tell what they were.

    ``chosen[i]`` with probability rate; of the chosen tokens ``mask_share`` become ``mask_token``,
    ``random_share`` any token of the vocabulary, and the rest stay as they are.

    Args:
      key: a random key; may be None when rate is 0.
      tokens: integer array; spans run along the last dimension.
      rate: probability of choosing a token. It may differ from example to example, as in
        diffusion, ``rate[:, None]``, and may be traced.
      mask_token: the token that stands for a hidden one.
      mask_share, random_share: what becomes of a chosen token. BERT's are 0.8 and 0.1; diffusion's,
        1 and 0, are the defaults.
      vocab_size: number of tokens of which the random ones are drawn, each equally likely;
        needed where random_share is above 0.
      span: how many neighbours are chosen together. Spans begin anywhere with probability
        ``1 - (1 - rate)**(1 / span)``, before the first token, too, and may overlap: every token is
        chosen with probability rate. With spans a rate may not differ along the tokens.
      protected: tokens that are never chosen, such as padding or separators; spans run over them.
      mesh_axes: inside ``shard_map``, the mesh axes that split tokens, as in ``dropout``.

    Returns:
      (array like tokens, bool array of the chosen ones, where the loss is taken). A chosen token
      that stays is among them. There is no test mode: a test text is hidden as well, with a key
      that stays the same.

    Raises:
      TypeError: if tokens, mask_token or protected are not integers.
      ValueError: as ``dropout``, and if the shares are no probabilities that add up to 1 at most, a
        token does not fit into the dtype of tokens, or vocab_size is missing.

    Not for: causal models whose loss is on every token: to drop their inputs, as many epochs on one
    text need, is ``word_dropout`` with ``unknown=mask_token``.

    References:
      Devlin et al., BERT, 2019; Joshi et al., SpanBERT, 2020, whose spans differ in length; Sahoo
      et al., Simple and Effective Masked Diffusion Language Models, 2024.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> text = jnp.array([[1, 11, 12, 13, 14, 15, 16, 2]])
    >>> y, chosen = jaxdrop.mask_tokens(
    ...     jax.random.key(0), text, 0.5, mask_token=0, span=2, protected=[1, 2]
    ... )
    >>> y.tolist(), chosen.astype(int).tolist()
    ([[1, 0, 12, 13, 14, 15, 16, 2]], [[0, 1, 0, 0, 0, 0, 0, 0]])
    """
    caller = "mask_tokens"
    tokens = check_ids(tokens, "tokens", caller)
    names = placed(mesh_axes, key, tokens)
    hidden = check_token(mask_token, "mask_token", tokens.dtype)
    kept_tokens = check_sequence(protected, "protected", "a sequence of tokens, such as (0,)")
    never = [check_token(t, "a protected token", tokens.dtype) for t in kept_tokens]
    shares = _check_shares(mask_share, random_share)
    words = _check_vocabulary(vocab_size, shares[1], tokens.dtype)
    length = check_count(span, "span", "tokens that are chosen together")
    if not tokens.ndim:
        raise ValueError(f"got tokens of shape (), one number; {caller} takes (..., tokens)")
    checked = check_rate(rate)
    drawn = tokens.shape if length == 1 else (*tokens.shape[:-1], 1)
    check_rate_shape(checked, drawn)
    if checked.never:
        return tokens, jnp.zeros(tokens.shape, jnp.bool_)
    choice, kind, draw = jax.random.split(typed(check_key(key, caller)), 3)
    chosen = _spans(choice, tokens.shape, checked, length, names)
    for token in never:
        chosen = chosen & (tokens != token)
    bits = random_bits(kind, tokens.shape, mesh_axes=names) if shares[0] < 1 else None
    y = jnp.where(chosen & _below(bits, shares[0]), hidden, tokens)
    if words:
        any_token = random_bits(draw, tokens.shape, mesh_axes=names)
        other = times(any_token, words)[1].astype(tokens.dtype)  # the high word of the product
        swapped = _below(bits, sum(shares)) & ~_below(bits, shares[0])
        y = jnp.where(chosen & swapped, other, y)
    return y, chosen


def _check_shares(mask_share: Any, random_share: Any) -> tuple[float, float]:
    expected = "a share of the chosen tokens, 0 to 1"
    given = ("mask_share", mask_share), ("random_share", random_share)
    shares = [
        float(check_number(share, name, expected, lambda p: 0 <= p <= 1, traced=False))
        for name, share in given
    ]
    if sum(shares) > 1 + 1e-9:
        raise ValueError(
            f"got {mask_share=} and {random_share=}, expected shares that add up to 1 at most"
        )
    return shares[0], shares[1]


def _check_vocabulary(vocab_size: Any, random_share: float, dtype: Any) -> int:
    """Return the number of tokens to draw from; 0 where none is drawn."""
    if vocab_size is None and random_share:
        raise ValueError(
            f"got {random_share=} and vocab_size=None; give the number of tokens to draw from"
        )
    if vocab_size is None:
        return 0
    size = check_count(vocab_size, "vocab_size", "the tokens of the vocabulary")
    limit = min(int(jnp.iinfo(dtype).max), 2**31 - 1)
    if size - 1 > limit:
        raise ValueError(
            f"got vocab_size={size} for tokens of dtype {dtype}, expected {limit + 1} at most"
        )
    return size if random_share else 0


def _below(bits: jax.Array | None, share: float) -> Any:
    """Whether a token's word is among the lowest; with a share of 1 none is drawn."""
    return True if bits is None else ~is_kept(bits, mask_params(Rate(min(share, 1.0))))


def _spans(key: Any, shape: tuple[int, ...], rate: Rate, length: int, names: Names) -> jax.Array:
    """Draw the chosen tokens: those at which one of the last ``length`` starts was drawn."""
    n = shape[-1]
    longer = (*shape[:-1], n + length - 1)  # spans that begin before the first token
    params = mask_params(Rate(_of_starts(rate.value, length)))
    starts = ~mask_in_jit(key, params, longer, names=names, of_shard=shape)
    chosen = starts[..., :n]
    for j in range(1, length):
        chosen = chosen | starts[..., j : j + n]
    return chosen


def _of_starts(rate: Any, length: int) -> Any:
    if length == 1:
        return rate
    if isinstance(rate, jax.Array):
        return -jnp.expm1(jnp.log1p(-rate) / length)
    with np.errstate(divide="ignore"):
        return -np.expm1(np.log1p(-np.asarray(rate, np.float64)) / length)
