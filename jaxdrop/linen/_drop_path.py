"""Dropout of residual branches and of tokens as Flax Linen modules."""

from jaxdrop._functional.drop_path import drop_path
from jaxdrop._functional.patch_dropout import patch_dropout
from jaxdrop.linen._member import Member


class DropPath(Member, kw_only=True):
    """Drop a residual branch for some examples: stochastic depth.

    Calls ``jaxdrop.drop_path``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      batch_axis: the dimension of the examples; None for one decision for all.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.DropPath(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    batch_axis: int | None = 0

    _function = staticmethod(drop_path)


class PatchDropout(Member, kw_only=True):
    """Keep a random subset of the tokens of every example.

    Calls ``jaxdrop.patch_dropout``, which states formula, moments, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection: as in ``jaxdrop.linen.Dropout``.
      prefix: number of leading tokens that are always kept.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.PatchDropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 9, 3)), rngs={"dropout": jax.random.key(0)})
    """

    prefix: int = 1

    _function = staticmethod(patch_dropout)
