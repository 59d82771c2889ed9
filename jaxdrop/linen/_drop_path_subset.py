"""Stochastic depth on a subset of the batch as a Linen module: a branch computed for some."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._core.checks import check_function
from jaxdrop._flax.around import over_examples, with_mode
from jaxdrop._flax.call import call
from jaxdrop.linen._layer import DropoutLayer


class DropPathSubset(DropoutLayer, nn.Module):
    """Compute a residual branch for a random subset of the examples: ``drop_path_subset``.

    ``y[kept] = branch(x[kept], ...) * batch / k``, else 0; used as
    ``h + DropPathSubset(f, rate)(h)`` in place of ``h + DropPath(rate)(f(h))``.

    ``jaxdrop.drop_path_subset`` states moments, paper and invalid uses. ``deterministic`` and
    ``rng`` are DropPathSubset's own; a branch that drops as well takes its mode from its own
    constructor, or from ``branch_deterministic``.

    Attributes:
      branch: module from the kept examples to their outputs, without the residual connection.
      rate: share of the examples to drop, in [0, 1); a Python number.
      deterministic: True for test time, when all examples are computed; give it here or in the
        call.
      rng_collection: name of the collection that the key is taken from.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> model, x = jaxdrop.linen.DropPathSubset(nn.Dense(3), 0.5), jnp.ones((4, 3))
    >>> variables = model.init(jax.random.key(0), x, deterministic=True)
    >>> y = model.apply(variables, x, deterministic=False, rngs={"dropout": jax.random.key(0)})
    >>> int((y != 0).any(axis=1).sum())
    2
    """

    branch: nn.Module
    rate: Any
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(
        self,
        inputs: Any,
        *args: Any,
        deterministic: Any = None,
        rng: jax.Array | None = None,
        branch_deterministic: Any = None,
        **kwargs: Any,
    ) -> jax.Array:
        """Compute the branch for a subset.

        Args:
          inputs: the function's x.
          args: further arrays with an entry for each example, such as masks; the branch gets those
            of the kept ones.
          deterministic: the mode; give it here or to the constructor, not to both.
          rng: a key to use in place of one from ``make_rng``.
          branch_deterministic: what the branch is called with as its ``deterministic``; None for
            nothing.
          kwargs: passed to the branch as they are.

        Returns:
          What the function returns.
        """
        mode = self._mode(deterministic)
        check_function(self.branch, "branch", "DropPathSubset takes a module for kept examples")
        drop = over_examples(self.branch, *args, **with_mode(kwargs, branch_deterministic))
        return call(drop, lambda: self._key(rng), inputs, self.rate, mode)
