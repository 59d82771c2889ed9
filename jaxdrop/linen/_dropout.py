"""Dropout as a Flax Linen module."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes, RateLike
from jaxdrop._flax.call import call, mode_from_number
from jaxdrop._functional.dropout import Bits, ScaleAt, dropout
from jaxdrop.linen._layer import DropoutLayer

__all__ = ["Dropout"]

# Flax's class, also when a program sets nn.Dropout to ours.
FlaxDropout = nn.Dropout


class Dropout(DropoutLayer, FlaxDropout):
    """Drop elements at random while training: ``flax.linen.Dropout``, on CPUs as fast as a copy.

    ``y = jaxdrop.dropout(rng, inputs, rate)``, with ``rng`` from ``make_rng(rng_collection)``

    Takes the arguments of ``flax.linen.Dropout`` in the same order, asks for a key in the same
    cases and raises the same errors if something is missing; it is a subclass, so that
    ``isinstance(m, flax.linen.Dropout)`` holds. A rate and a mode may also be traced.

    Attributes:
      rate: probability of dropping, as in ``jaxdrop.dropout``.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      scale_at: "train" divides by ``1 - rate`` in training; "test" multiplies by it at test time.
      bits: "fast", or "key" for the mask that ``flax.linen.Dropout`` draws from the same rngs.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    Reference:
      Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.Dropout(0.5, deterministic=False)
    >>> y = layer.apply({}, jnp.ones((2, 4)), rngs={"dropout": jax.random.key(0)})
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]
    """

    rate: RateLike  # type: ignore[assignment]  # Flax declares a float; an array works here, too
    scale_at: ScaleAt = "train"
    bits: Bits = "fast"
    _: dataclasses.KW_ONLY
    mesh_axes: MeshAxes = ()

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply dropout to the inputs.

        Args:
          inputs: floating or complex array of any shape.
          deterministic: True for test time; give it here or to the constructor, not to both.
          rng: a key to use in place of one from ``make_rng``.

        Returns:
          Array like the inputs, in their dtype.
        """
        return call(
            dropout,
            lambda: self._key(rng),
            inputs,
            self.rate,
            mode_from_number(self._mode(deterministic)),
            broadcast_dims=self.broadcast_dims,
            scale_at=self.scale_at,
            bits=self.bits,
            mesh_axes=self.mesh_axes,
        )
