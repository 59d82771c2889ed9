"""mc_predict: T samples of a network that drops, in bounded memory, on any mesh."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxdrop._core.key import AnyKey
from jaxdrop.mc._sampling_plan import Plan, divided, in_chunks, one_draw, prepare


def mc_predict(
    apply_fn: Any,
    key: AnyKey,
    x: PyTree,
    num_samples: int,
    *,
    chunk_size: int | None = None,
    share_masks: bool = False,
    sharding: jax.sharding.NamedSharding | None = None,
) -> PyTree:
    """Draw predictions from a network with dropout left on.

    ``samples[t] = apply_fn(fold_in(key, t), x)``, t = 0 ... T - 1

    Sample t is the same in any chunks, on any mesh and for any T. The function is traced once.

    Args:
      apply_fn: a pure function ``(key, x) -> y``; what ``sampler`` returns; an NNX model; or a
        bound Linen model. A function is compiled once for as long as the same object is passed, and
        once more for each surgery context or interceptor of Linen that is active around the call.
      key: a random key.
      x: array, or tree of arrays, with the examples along the first axis. For a model of several
        inputs a tuple of them, or a dict with the names of the call's arguments.
      num_samples: T, at least 1.
      chunk_size: how many samples are computed at a time, on each device. Memory beyond that of the
        result grows with it and not with T; None computes all at once.
      share_masks: True for one set of masks per sample, the same for every example and in every
        call: a sample is then one function, as BatchBALD and Thompson sampling need it. Examples
        are computed as batches of one, under vmap.
      sharding: where to compute: ``NamedSharding(mesh, P("samples"))`` divides the samples among
        the devices along that axis of the mesh. x may be sharded along
        others; what lies along the samples' axis is brought together first.

    Returns:
      What apply_fn returns, with a leading axis of T samples. A plain array of logits becomes
      logits; ``jax.nn.softmax`` comes before the metrics of ``jaxdrop.mc``.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    Warns:
      UserWarning: if nothing that apply_fn returns depends on the key: all samples are equal.

    References:
      Gal & Ghahramani, Dropout as a Bayesian Approximation, 2016; Kirsch, van Amersfoort & Gal,
      BatchBALD, 2019.

    >>> import jax, jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import mc
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(nnx.Dropout(0.5, rngs=rngs), nnx.Linear(3, 2, rngs=rngs))
    >>> mc.mc_predict(model, jax.random.key(0), jnp.ones((4, 3)), 10, chunk_size=5).shape
    (10, 4, 2)
    """
    apply_fn, key, plan = prepare(
        apply_fn, key, num_samples, chunk_size, share_masks, sharding, "mc_predict"
    )
    return _predict(apply_fn, key, x, plan)


@functools.partial(jax.jit, static_argnames="plan")
def _predict(apply_fn: Any, key: jax.Array, x: Any, plan: Plan) -> Any:
    def work(apply_fn: Any, key: jax.Array, x: Any, first: jax.Array, count: int) -> Any:
        draw = one_draw(apply_fn, key, x, plan.share_masks)
        chunk, whole, rest = in_chunks(draw, first, count, plan.chunk_size)
        if whole == 1:
            y = chunk(jnp.uint32(0))
        else:
            y = jax.lax.map(chunk, jax.lax.iota(jnp.uint32, whole))
            y = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), y)
        if rest is None:
            return y
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), y, rest())

    return divided(work, plan, (apply_fn, key, x))
