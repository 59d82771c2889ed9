"""layer_drop: a whole layer, skipped for the whole batch and not computed at all."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray, Flag, RateLike
from jaxdrop._core.checks import check_function, check_input
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import keep_mask
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._core.varying import alike, varies_over


def layer_drop(
    key: AnyKey | None,
    x: Inexact[AnyArray, "..."],
    rate: RateLike,
    layer: Callable[[jax.Array], jax.Array],
    *,
    deterministic: Flag = False,
) -> Inexact[Array, "..."]:
    """Skip a layer at random, saving its computation.

    ``y = layer(x)`` with probability ``1 - rate``, else ``x``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: input of the layer, the whole batch; integers are allowed, too.
      rate: probability of skipping the layer: a number or a traced scalar.
      layer: function from an array to one of the same shape and dtype, residual connection
        included.
      deterministic: True for test time, when every layer runs; a bool, or a traced bool scalar.

    Returns:
      Array like x, with ``E[y] = (1 - rate) layer(x) + rate x``: nothing is scaled, so the mean
      differs from test time's; ``Var[y] = rate (1 - rate) (layer(x) - x)**2``.

    Raises:
      TypeError: if layer is not a function.
      ValueError: as ``dropout``, and if rate is not one number, or the layer's output has another
        shape or dtype than x.

    One decision holds for the whole batch: under jit the layer is the branch of a conditional and
    takes no time when skipped. Under vmap with a key per example, and inside ``shard_map`` with a
    key per shard (whose gradients are summed over shards), the layer always runs and the result is
    chosen; use ``drop_path`` there.

    Reference:
      Fan et al., Reducing Transformer Depth on Demand with Structured Dropout, 2020.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> keys = map(jax.random.key, range(4))
    >>> [float(jaxdrop.layer_drop(key, jnp.ones(()), 0.5, lambda h: h + h)) for key in keys]
    [2.0, 1.0, 2.0, 2.0]
    """
    x, run = decide(key, x, rate, deterministic)
    check_function(layer, "layer", "layer_drop takes a function from x to an array like it")
    check_output(jax.eval_shape(layer, x), x)
    if isinstance(run, bool):
        return layer(x) if run else x
    if varies_over(run):
        return jnp.where(run, layer(x), x)
    if jax.sharding.get_abstract_mesh().manual_axes:  # both branches vary where the layer's does
        out = jax.make_jaxpr(layer)(x).out_avals[0]
        (x,) = alike(x, over=out.manual_axis_type.varying)
    return jax.lax.cond(run, layer, _skip, x)


def _skip(h: jax.Array) -> jax.Array:
    """The other branch; a new lambda in each call would be compiled again in each call."""
    return h


def decide(key: Any, x: Any, rate: RateLike, deterministic: Any) -> tuple[jax.Array, Any]:
    """Return x, checked, and whether the layer is run: a bool where it is known, else a scalar."""
    x = check_input(x, "layer_drop", integers=True)
    checked = check_rate(rate)
    if jnp.shape(checked.value):
        raise ValueError(
            f"got a rate of shape {jnp.shape(checked.value)}; layer_drop makes one decision for "
            "the whole batch: give it a scalar, or use drop_path"
        )
    key, test_mode = resolve(key, checked, deterministic, "layer_drop")
    if test_mode is True:
        return x, True
    if checked.always and test_mode is False:
        return x, False
    return x, keep_mask(key, (), rate) | test_mode


def check_output(out: Any, x: jax.Array, caller: str = "layer_drop") -> Any:
    """Return a layer's output, or raise an error if x could not take its place."""
    shape, dtype = getattr(out, "shape", None), getattr(out, "dtype", None)
    if (shape, dtype) != (x.shape, x.dtype):
        found = f"{type(out).__name__}" if shape is None else f"{dtype}{list(shape)}"
        raise ValueError(
            f"got a layer that turns {x.dtype}{list(x.shape)} into {found}; {caller} can skip "
            "only a layer whose output is like its input"
        )
    return out
