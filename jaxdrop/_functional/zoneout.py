"""zoneout: units of a recurrent state that keep their previous value (Krueger et al. 2017)."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.broadcast import broadcast_like, shared_shape, with_rank
from jaxdrop._core.checks import check_dims, check_input
from jaxdrop._core.keep_where import keep_where
from jaxdrop._core.key import AnyKey, check_key, typed
from jaxdrop._core.mask import mask_in_jit, mask_params
from jaxdrop._core.mesh import Names, placed
from jaxdrop._core.mode import choose, resolve
from jaxdrop._core.rate import check_rate, check_rate_shape, keep_probability
from jaxdrop._core.scale import product_dtype


def zoneout(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    *,
    previous: Inexact[AnyArray, "..."],
    broadcast_dims: Sequence[int] = (),
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."]:
    """Keep the previous state of some units, and take the new state of the others.

    ``h = where(keep_mask(key, x.shape, rate), x, previous)``

    Args:
      key: a random key, another one at each time step (``fold_in(key, step)``); may be None when
        deterministic is True or rate is 0 or 1.
      x: the new state.
      rate: probability that a unit keeps its previous value; as in ``dropout``.
      previous: the state before this time step, of x's shape and dtype.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time: the expectation, ``rate * previous + (1 - rate) * x``.
      mesh_axes: inside ``shard_map``, the mesh axes that split x and previous, as in ``dropout``.

    Returns:
      Array like x; nothing is scaled. E[h] = rate * previous + (1 - rate) * x, which is what test
      time computes, and Var[h] = rate (1 - rate) (x - previous)**2. The gradient of a unit goes to
      x or to previous, whichever the unit took.

    Not for feed-forward layers, where there is no previous state, and not with a key that stays
    fixed over time: its units would never be updated at all.

    Raises:
      ValueError: as ``dropout``, and if previous differs from x in shape or dtype.

    Reference:
      Krueger et al., Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations, 2017.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> h = jaxdrop.zoneout(jax.random.key(0), jnp.ones(8), 0.5, previous=jnp.zeros(8))
    >>> sorted(set(h.tolist()))
    [0.0, 1.0]
    """
    x, previous = check_input(x, "zoneout"), check_input(previous, "zoneout", "previous")
    if x.shape != previous.shape or x.dtype != previous.dtype:
        raise ValueError(
            f"got a new state of shape {x.shape} and dtype {x.dtype} and a previous one of shape "
            f"{previous.shape} and dtype {previous.dtype}; zoneout takes one or the other of each "
            "unit, so they have to agree"
        )
    names = placed(mesh_axes, key, x, previous)
    checked, shared = check_rate(rate), check_dims(broadcast_dims, x.ndim)
    check_rate_shape(checked, shared_shape(x.shape, shared))
    key, test_mode = resolve(key, checked, deterministic, "zoneout")
    if checked.never:
        return x
    kept = with_rank(jnp.asarray(keep_probability(checked, product_dtype(x.dtype))), x.ndim)

    def expected() -> jax.Array:
        new, old = (a.astype(kept.dtype) for a in (x, previous))
        return (old + kept * (new - old)).astype(x.dtype)

    if test_mode is True:
        return expected()
    if checked.always and test_mode is False:
        return previous
    y = _take(key, x, previous, mask_params(checked), tuple(sorted(shared)), names)
    return y if test_mode is False else choose(test_mode, expected(), y)


def zoneout_carry(
    key: Any,
    carry: Any,
    y: Any,
    rate: RateLike | Sequence[RateLike],
    *,
    previous: Any,
    deterministic: Any,
    mesh_axes: MeshAxes = (),
) -> tuple[Any, Any]:
    """Apply zoneout to every entry of a cell's carry; an output that is an entry stays so."""
    entries, old = (carry, previous) if isinstance(carry, tuple) else ((carry,), (previous,))
    rates = rate if isinstance(rate, (tuple, list)) else (rate,) * len(entries)
    if len(rates) != len(entries):
        raise ValueError(
            f"got {len(rates)} rates for a carry of {len(entries)} entries; give one number, or "
            "one for each entry"
        )
    if key is not None:
        key = typed(check_key(key, "zoneout"))
    zoned = tuple(
        zoneout(
            None if key is None else jax.random.fold_in(key, i),
            a,
            r,
            previous=b,
            deterministic=deterministic,
            mesh_axes=mesh_axes,
        )
        for i, (a, b, r) in enumerate(zip(entries, old, rates, strict=True))
    )
    for entry, after in zip(entries, zoned, strict=True):
        if y is entry:
            y = after
    return (zoned if isinstance(carry, tuple) else zoned[0]), y


@functools.partial(jax.jit, static_argnames=("shared", "names"), inline=True)
def _take(
    key: Any,
    x: jax.Array,
    previous: jax.Array,
    params: Any,
    shared: tuple[int, ...],
    names: Names,
) -> jax.Array:
    # Under lax.scan, plain code would store one mask per time step for the backward pass.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def take(key: Any, x: jax.Array, previous: jax.Array, params: Any) -> jax.Array:
        mask = broadcast_like(mask_in_jit(key, params, x.shape, shared, names), x)
        return keep_where(mask, x) + keep_where(~mask, previous)

    return take(key, x, previous, params)
