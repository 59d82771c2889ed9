"""mc_predict: T samples of a network that drops, in bounded memory, on any mesh."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jaxtyping import PyTree

from jaxdrop._core.key import AnyKey
from jaxdrop.mc._sampling_plan import Chunks, Plan, make_plan, over_devices


def mc_predict(
    apply_fn: Callable[..., Any] | nnx.Module | nn.Module,
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
        bound Linen model. A function is compiled once as long as the same object is passed, and
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
        the devices along that axis of the mesh. x may be sharded along other axes; what is sharded
        along the samples' axis is gathered first.

    Returns:
      What apply_fn returns, with a leading axis of T samples. Logits stay logits; the metrics of
      ``jaxdrop.mc`` take ``jax.nn.softmax`` of them.

    Raises:
      TypeError, ValueError: for invalid arguments, or if the devices cannot share num_samples
        evenly.

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
    apply_fn, key, plan = make_plan(
        apply_fn, key, num_samples, chunk_size, share_masks, sharding, "mc_predict"
    )
    return _predict(apply_fn, key, x, plan)


@functools.partial(jax.jit, static_argnames="plan")
def _predict(apply_fn: Any, key: jax.Array, x: Any, plan: Plan) -> Any:
    def stack(chunks: Chunks) -> Any:
        if chunks.whole == 1:
            y = chunks.chunk(jnp.uint32(0))
        else:
            y = jax.lax.map(chunks.chunk, jax.lax.iota(jnp.uint32, chunks.whole))
            y = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), y)
        if chunks.rest is None:
            return y
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), y, chunks.rest())

    return over_devices(stack, plan, apply_fn, key, x)
