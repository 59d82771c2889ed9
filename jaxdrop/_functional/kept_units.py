"""kept_units: which units stay, when the others are left out of the computation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxdrop._core.bits import random_bits
from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._core.choice import choose_indices, static_rate, whole_share
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate


def kept_units(
    key: AnyKey | None,
    n: int,
    rate: float,
    *,
    block_size: int = 1,
    contiguous: bool = False,
    groups: int | None = None,
) -> Int[Array, "..."]:
    """Choose the units that stay, as many as the rate says, for products that leave the rest out.

    ``k = round((1 - rate) n / block_size) block_size`` of n units, blocks of neighbours together.

    Args:
      key: a random key; may be None when rate is 0.
      n: number of units: columns of a kernel, heads, channels; a multiple of block_size.
      rate: share of the units to drop, in [0, 1). A Python number, since the shape follows from it.
      block_size: how many neighbours stay or go together. Blocks of 16 or more are copied faster
        than single units, and regularise otherwise.
      contiguous: True for one slice of k units, its start uniform over the blocks at which it fits
        (SliceOut). Units in the middle are then kept more often than those at the ends.
      groups: number of independent choices, such as one for each part of a batch; None for one,
        without a dimension of its own.

    Inside ``shard_map`` all devices with one key choose alike; with
    ``jax.random.fold_in(key, jax.lax.axis_index(axis))`` each chooses among its own units.

    Returns:
      int32 array (k,) or (groups, k) of increasing units. Without contiguous, every set of k /
      block_size blocks is equally likely, so each unit is kept with probability k / n, which is
      what the kept ones are divided by. The choice is a function of key, position and arguments.

    Raises:
      TypeError: if rate is traced or an array.
      ValueError: if n is no multiple of block_size, rate keeps no unit, or key is None while some
        are dropped.

    Reference:
      Srivastava et al., Dropout, 2014; Notin et al., SliceOut, 2020.

    >>> import jax, jaxdrop
    >>> jaxdrop.kept_units(jax.random.key(0), 8, 0.5).tolist()
    [2, 3, 5, 7]
    >>> jaxdrop.kept_units(jax.random.key(0), 8, 0.5, block_size=2).tolist()
    [4, 5, 6, 7]
    """
    n = check_count(n, "n", "units")
    size = check_count(block_size, "block_size", "units that stay or go together")
    one = groups is None
    rows = 1 if groups is None else check_count(groups, "groups", "independent choices")
    contiguous = check_switch(contiguous, "contiguous")
    if n % size:
        raise ValueError(f"got {n=} and {block_size=}, expected a multiple of block_size")
    checked = check_rate(rate)
    dropped = static_rate(checked, rate, "kept_units", "units")
    blocks = n // size
    kept = whole_share(blocks, dropped)
    if kept == 0:
        raise ValueError(
            f"got rate={rate!r:.60}, which keeps none of {blocks} block(s) of {block_size} "
            "unit(s): lower the rate or the block_size"
        )
    if kept == blocks:
        chosen = jnp.broadcast_to(_count(blocks), (rows, blocks))
    else:
        key, _ = resolve(key, checked, False, "kept_units", draws_at_one=True)
        if contiguous:
            starts = _below(random_bits(key, (rows, 1)), blocks - kept + 1)
            chosen = starts + _count(kept)
        else:
            chosen = choose_indices(key, (rows, blocks), kept)
    units = (chosen[..., None] * size + _count(size)[None]).reshape(rows, kept * size)
    return units[0] if one else units


def _count(n: int) -> jax.Array:
    return jnp.arange(n, dtype=jnp.int32)[None]


def _below(bits: jax.Array, count: int) -> jax.Array:
    """Turn 32 bits into an integer below count, uniform to count / 2**32: floor(bits count / 2^32).

    In 16-bit halves, since there may be no 64-bit integers.
    """
    high, low = bits >> 16, bits & 0xFFFF
    return ((high * count + (low * count >> 16)) >> 16).astype(jnp.int32)
