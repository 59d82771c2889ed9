"""mc_moments: mean and variance over samples that are not kept, for T too large to store."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jaxtyping import PyTree

from jaxdrop._core.key import AnyKey
from jaxdrop.mc._sampling_plan import Chunks, Plan, make_plan, over_devices, unsharded


class Moments(NamedTuple):
    """Mean and variance over samples, shaped like one prediction; float32 at least."""

    mean: PyTree
    variance: PyTree


class _Partial(NamedTuple):
    """Count, mean and sum of squares of some of the samples."""

    count: Any
    mean: Any
    squares: Any  # sum of squared deviations from the mean


def mc_moments(
    apply_fn: Callable[..., Any] | nnx.Module | nn.Module,
    key: AnyKey,
    x: PyTree,
    num_samples: int,
    *,
    chunk_size: int = 32,
    share_masks: bool = False,
    sharding: jax.sharding.NamedSharding | None = None,
) -> Moments:
    """Compute mean and variance of the samples of ``mc_predict`` without keeping them.

    ``mean = sum_t y_t / T``, ``variance = sum_t (y_t - mean)**2 / T``

    Chunks are merged by Chan's update, ``M = M_a + M_b + (mean_b - mean_a)**2 n_a n_b / n``, which
    subtracts no large sums, so a spread far below the mean is not lost. The memory does not depend
    on T.

    Args:
      apply_fn, key, x, num_samples, share_masks, sharding: as in ``mc_predict``.
      chunk_size: how many samples are computed at a time, on each device.

    Returns:
      ``Moments(mean, variance)``. The variance is that of the samples, without Bessel's
      correction; ``1 / tau`` of observation noise is not in it (see ``regression_moments``).
      For a function that returns a tree, such as the probabilities and their entropy, they are the
      moments of each entry: ``predictive_entropy(mean.probabilities[None]) - mean.entropy`` is the
      mutual information for any T.

    Raises:
      TypeError, ValueError: as ``mc_predict``.

    Reference:
      Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
      Variances, 1982.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> from jaxdrop import mc
    >>> f = lambda key, x: jaxdrop.dropout(key, x, 0.5)
    >>> mean, variance = mc.mc_moments(f, jax.random.key(0), jnp.ones((1, 1)), 10_000)
    >>> round(float(mean[0, 0]), 1), round(float(variance[0, 0]), 1)
    (1.0, 1.0)
    """
    apply_fn, key, plan = make_plan(
        apply_fn, key, num_samples, chunk_size, share_masks, sharding, "mc_moments"
    )
    return _moments(apply_fn, key, x, plan)


@functools.partial(jax.jit, static_argnames="plan")
def _moments(apply_fn: Any, key: jax.Array, x: Any, plan: Plan) -> Moments:
    def summarise_all(chunks: Chunks) -> Any:
        # The empty set is the start, so that the draw is in the loop and nowhere else.
        shape = jax.eval_shape(lambda: _summarise(chunks.chunk(jnp.uint32(0))))
        start = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype, device=a.sharding), shape)

        def one_more(i: jax.Array, known: _Partial) -> _Partial:
            return _merge(known, _summarise(chunks.chunk(i.astype(jnp.uint32))))

        known = jax.lax.fori_loop(0, chunks.whole, one_more, start)
        if chunks.rest is not None:
            known = _merge(known, _summarise(chunks.rest()))
        return jax.tree.map(lambda a: jnp.expand_dims(a, 0), known)

    parts = unsharded(plan, over_devices(summarise_all, plan, apply_fn, key, x))

    def of_device(i: int) -> _Partial:
        return jax.tree.map(lambda a: a[i], parts)

    known = functools.reduce(_merge, map(of_device, range(parts.count.shape[0])))
    return Moments(known.mean, jax.tree.map(lambda s: s / known.count, known.squares))


def _summarise(y: Any) -> _Partial:
    y = jax.tree.map(_widen, y)
    mean = jax.tree.map(lambda a: a.mean(0), y)
    squares = jax.tree.map(lambda a, m: jnp.square(a - jnp.expand_dims(m, 0)).sum(0), y, mean)
    return _Partial(jnp.float32(jax.tree.leaves(y)[0].shape[0]), mean, squares)


def _merge(a: _Partial, b: _Partial) -> _Partial:
    count = a.count + b.count
    share = b.count / count
    mean = jax.tree.map(lambda m, n: m + (n - m) * share.astype(m.dtype), a.mean, b.mean)

    def merged(s: Any, t: Any, m: Any, n: Any) -> Any:
        return s + t + jnp.square(n - m) * (a.count * share).astype(m.dtype)

    return _Partial(count, mean, jax.tree.map(merged, a.squares, b.squares, a.mean, b.mean))


def _widen(y: jax.Array) -> jax.Array:
    if y.dtype == jnp.float64 or jnp.issubdtype(y.dtype, jnp.complexfloating):
        return y
    return y.astype(jnp.float32)
