"""Stochastic depth on a subset of the batch as an NNX module: a branch computed for some."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxdrop._core.checks import check_function
from jaxdrop._flax.around import over_examples, with_mode
from jaxdrop._flax.call import call
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import Streams


class DropPathSubset(DropoutLayer, nnx.Module):
    """Compute a residual branch for a random subset of the examples: ``drop_path_subset``.

    ``y[kept] = branch(x[kept], ...) * batch / k``, else 0; used as
    ``h + DropPathSubset(f, rate)(h)`` in place of ``h + DropPath(rate)(f(h))``.

    ``jaxdrop.drop_path_subset`` states moments, paper and invalid uses. ``deterministic`` and
    ``rngs`` are DropPathSubset's own; a branch that drops as well takes its mode from
    ``model.train()`` and ``model.eval()``, or from ``branch_deterministic``.

    Args:
      branch: module from the kept examples to their outputs, without the residual connection.
      rate: share of the examples to drop, in [0, 1); a Python number.
      deterministic: True for test time, when all examples are computed; ``model.train()`` and
        ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> rngs, x = nnx.Rngs(0), jnp.ones((4, 3))
    >>> layer = jaxdrop.nnx.DropPathSubset(nnx.Linear(3, 3, rngs=rngs), 0.5, rngs=rngs)
    >>> int((layer(x) != 0).any(axis=1).sum())
    2
    """

    def __init__(
        self,
        branch: Callable[..., Any],
        rate: Any,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        check_function(branch, "branch", "DropPathSubset takes a module for kept examples")
        self.branch = branch
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs)

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        deterministic: Any = None,
        rngs: Any = None,
        branch_deterministic: Any = None,
        **kwargs: Any,
    ) -> jax.Array:
        """Compute the branch for a subset.

        Args:
          inputs: the function's x.
          args: further arrays with an entry for each example, such as masks; the branch gets those
            of the kept ones.
          deterministic: the mode; overrides the constructor's.
          rngs: a key, RngStream or Rngs to use in place of the layer's own stream.
          branch_deterministic: what the branch is called with as its ``deterministic``; None for
            nothing.
          kwargs: passed to the branch as they are.

        Returns:
          What the function returns.
        """
        drop = over_examples(self.branch, *args, **with_mode(kwargs, branch_deterministic))
        mode = self._mode(deterministic)
        return call(drop, lambda: self._key(rngs), inputs, read_rate(self.rate), mode)
