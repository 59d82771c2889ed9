"""Dropout as a Flax NNX module."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from jaxdrop._core.annotations import AnyArray, MeshAxes
from jaxdrop._flax.call import call, mode_from_number
from jaxdrop._functional.dropout import Bits, ScaleAt, dropout
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import next_key

__all__ = ["Dropout"]

# Flax's class, also when a program sets nnx.Dropout to ours.
FlaxDropout = nnx.Dropout


class Dropout(FlaxDropout):
    """Drop elements at random while training: ``flax.nnx.Dropout``, on CPUs as fast as a copy.

    ``y = jaxdrop.dropout(key, inputs, rate)``, with ``key`` the next one of the layer's stream

    Takes the arguments of ``flax.nnx.Dropout``, forks and advances its stream in the same cases,
    and raises the same errors if something is missing. It is a subclass with the same state, so
    that filters on ``flax.nnx.Dropout`` and checkpoints made with it still work. A rate and a mode
    may also be traced; a rate may be an ``nnx.Variable``.

    Not for several threads at once: a call reads the stream's count and then advances it, so that
    threads that share a layer, or share its model, can draw the same mask, as with flax's. Give
    each its own (``nnx.clone(model)``, then ``nnx.reseed`` with a key of the thread), or a key in
    the call: ``layer(x, rngs=key)`` leaves the stream alone.

    Args:
      rate: probability of dropping, as in ``jaxdrop.dropout``.
      broadcast_dims: dimensions along which one decision is shared.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give one in each call.
      scale_at: "train" divides by ``1 - rate`` in training; "test" multiplies by it at test time.
      bits: "fast", or "key" for the mask that ``flax.nnx.Dropout`` draws from the same rngs.
      mesh_axes: inside ``shard_map``, the mesh axes that split the inputs: see ``jaxdrop.dropout``.

    Reference:
      Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    >>> sorted(set(layer(jnp.ones((2, 4))).ravel().tolist()))
    [0.0, 2.0]
    """

    mesh_axes: Any = ()  # also of a flax.nnx.Dropout that became one

    def __init__(
        self,
        rate: Any,
        *,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        scale_at: ScaleAt = "train",
        bits: Bits = "fast",
        mesh_axes: MeshAxes = (),
    ):
        super().__init__(
            keep_rate(rate),
            broadcast_dims=broadcast_dims,
            deterministic=deterministic,
            rng_collection=rng_collection,
            rngs=rngs,
        )
        self.scale_at = scale_at
        self.bits = bits
        self.mesh_axes = mesh_axes

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: Any = None,
        rngs: nnx.Rngs | nnx.RngStream | AnyArray | None = None,
    ) -> jax.Array:
        """Apply dropout to the inputs.

        Args:
          inputs: floating or complex array of any shape.
          deterministic: True for test time; overrides the constructor's.
          rngs: a key, RngStream or Rngs to use in place of the layer's own stream.

        Returns:
          Array like the inputs, in their dtype.
        """
        mode = self.deterministic if deterministic is None else deterministic
        if mode is None:
            return FlaxDropout(0.5, deterministic=None)(inputs)  # raises, in flax's own words
        source: Any = self.rngs if rngs is None else rngs

        def draw_key() -> jax.Array:
            key = next_key(source, self.rng_collection)
            if key is None:
                return FlaxDropout(0.5)(inputs, rngs=source)  # raises, in flax's own words
            return key

        return call(
            dropout,
            draw_key,
            inputs,
            read_rate(self.rate),
            mode_from_number(mode),
            broadcast_dims=self.broadcast_dims,
            scale_at=self.scale_at,
            bits=self.bits,
            mesh_axes=self.mesh_axes,
        )
