"""What the family's NNX layers share: initialisers, stream, mode, and the key of a call."""

from typing import Any

import jax
from flax import nnx

Streams = nnx.Rngs | nnx.RngStream | None

# Those of flax.nnx.Linear.
KERNEL_INIT = nnx.initializers.lecun_normal()
BIAS_INIT = nnx.initializers.zeros_init()


class Mode:
    """Lets ``nnx.view(model, deterministic=...)`` set the mode, as ``flax.nnx.Dropout`` does."""

    deterministic: Any

    def set_view(self, deterministic: bool | None = None) -> None:
        if deterministic is not None:
            self.deterministic = deterministic


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


def draw(layer: Any, rngs: Any) -> jax.Array:
    """Return a key: the one given in the call, or the next one of the stream."""
    source = layer.rngs if rngs is None else rngs
    if isinstance(source, nnx.Rngs):
        return source[layer.rng_collection]()
    if isinstance(source, nnx.RngStream):
        return source()
    if isinstance(source, jax.Array):
        return source
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
