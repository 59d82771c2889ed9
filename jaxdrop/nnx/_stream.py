"""What the family's NNX layers share: initialisers, stream, mode, and the key of a call."""

from typing import Any

import jax
import numpy as np
from flax import nnx

Streams = nnx.Rngs | nnx.RngStream | None

# Those of flax.nnx.Linear.
KERNEL_INIT = nnx.initializers.lecun_normal()
BIAS_INIT = nnx.initializers.zeros_init()


class Mode:
    """The mode and the stream of a layer, under the names that ``flax.nnx.Dropout`` gives them."""

    deterministic: Any

    def _keep_stream(self, deterministic: Any, rng_collection: str, rngs: Streams) -> None:
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        self.rngs = fork(rngs, rng_collection)

    # Lets nnx.view(model, deterministic=...) set the mode.
    def set_view(self, deterministic: bool | None = None) -> None:
        if deterministic is not None:
            self.deterministic = deterministic


def check_cell(cell: Any, caller: str) -> None:
    """Raise a sentence if it is no RNN cell."""
    if isinstance(cell, type) or not hasattr(cell, "initialize_carry"):
        raise TypeError(
            f"got cell={cell!r:.60} of type {type(cell).__name__}; {caller} takes an RNN cell, "
            "such as nnx.LSTMCell, and the rate after it"
        )


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
    """Raise a sentence if a layer could not draw its parameters from it."""
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
    """Return a stream, or raise a sentence if it holds the keys of several layers."""
    shapes = stream.key[...].shape, stream.count[...].shape
    if any(shapes):
        raise ValueError(
            f"got a stream of keys of shape {shapes[0]} and counts of shape {shapes[1]} where a "
            "layer draws one: it was split for a stack of layers, so nnx.scan and nnx.vmap have to "
            "map over it; name it in the axes, nnx.StateAxes({nnx.RngState: 0, ...: others})"
        )
    return stream


def draw(layer: Any, rngs: Any) -> jax.Array:
    """Return a key: the one given in the call, or the next one of the stream."""
    source = layer.rngs if rngs is None else rngs
    key = next_key(source, layer.rng_collection)
    if key is not None:
        return key
    raise ValueError(
        f"got rngs={source!r:.60}: {type(layer).__name__} needs a key while training; give "
        "rngs=nnx.Rngs(seed) to the constructor, or rngs or a key to the call, or set "
        "deterministic=True"
    )


def mode_of(layer: Any, deterministic: Any) -> Any:
    """Return the call's mode if it has one, else the layer's."""
    mode = layer.deterministic if deterministic is None else deterministic
    if mode is None:
        raise ValueError(
            f"{type(layer).__name__} does not know its mode: give deterministic=True or False to "
            "the constructor, to the call, or by model.train() and model.eval()"
        )
    return mode
