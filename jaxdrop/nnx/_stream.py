"""Streams of keys: the one that a layer forks for itself, and the next key of one."""

from typing import Any

import jax
import numpy as np
from flax import nnx

Streams = nnx.Rngs | nnx.RngStream | None


def fork(rngs: Any, collection: str) -> Any:
    """Return a stream of the layer's own, forked as ``flax.nnx.Dropout`` does, or None."""
    if rngs is None:
        return nnx.data(None)
    if isinstance(rngs, nnx.Rngs):
        return rngs[collection].fork()
    if isinstance(rngs, nnx.RngStream):
        return rngs.fork()
    raise TypeError(
        f"got rngs of type {type(rngs).__name__}, expected nnx.Rngs, nnx.RngStream or None"
    )


def check_rngs(rngs: Any) -> None:
    """Raise an error if a layer could not draw its parameters from it."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(
            f"got rngs of type {type(rngs).__name__}, expected nnx.Rngs, such as nnx.Rngs(0)"
        )


def next_key(source: Any, collection: str) -> Any:
    """Return the next key of an Rngs or a RngStream, or the key that is given; else None."""
    if isinstance(source, nnx.Rngs):
        source = source[collection]
    if isinstance(source, nnx.RngStream):
        return single(source)()
    return source if isinstance(source, (jax.Array, np.ndarray)) else None


def single(stream: nnx.RngStream) -> nnx.RngStream:
    """Return a stream, or raise an error if it holds the keys of several layers."""
    shapes = stream.key[...].shape, stream.count[...].shape
    if any(shapes):
        raise ValueError(
            f"got a stream of keys of shape {shapes[0]} and counts of shape {shapes[1]} where a "
            "layer draws one: it was split for a stack of layers, so nnx.scan and nnx.vmap have to "
            "map over it; name it in the axes, nnx.StateAxes({nnx.RngState: 0, ...: others})"
        )
    return stream
