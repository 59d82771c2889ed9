"""Which modules are dropouts, flax's own or jaxdrop's, and where each keeps its rate."""

from typing import Any

from flax import linen as nn
from flax import nnx

from jaxdrop._flax.stochastic_layer import StochasticLayer
from jaxdrop.linen._dropout import FlaxDropout as FlaxLinenDropout
from jaxdrop.nnx._dropout import FlaxDropout as FlaxNNXDropout
from jaxdrop.nnx._rate import read_rate
from jaxdrop.surgery._attention import library_of

DROPOUTS = (FlaxLinenDropout, FlaxNNXDropout, StochasticLayer)
ATTENTION = (nnx.MultiHeadAttention, nn.MultiHeadDotProductAttention)


def is_attention(module: Any) -> bool:
    """Return whether it is flax's attention, which drops weights of its own accord."""
    return isinstance(module, ATTENTION)


def is_dropout(module: Any) -> bool:
    """Return whether the module drops something, or adds noise, while training.

    An attention layer counts from a rate above 0 on: at 0 it has no stream to draw from.
    """
    if is_attention(module):
        return module.dropout_rate > 0
    return isinstance(module, DROPOUTS)


def is_layer(module: Any) -> bool:
    """Return whether dropout can be put before it: attention that drops is a layer, too."""
    return is_attention(module) or not is_dropout(module)


def rate_name(module: Any) -> str:
    """Return the attribute that holds the module's rate."""
    if is_attention(module):
        return "dropout_rate"
    by_stddev = isinstance(module, StochasticLayer) and hasattr(module, "stddev")
    return "stddev" if by_stddev else "rate"


def rate_of(module: Any) -> Any:
    """Return the module's rate as it is now; None where every weight has one of its own."""
    return read_rate(getattr(module, rate_name(module), None), lambda variable: variable[...])


def kind_of(module: Any) -> str:
    """Return the library that drops and the class of a module, such as ``flax Dropout``."""
    cls = type(module)
    if is_attention(module):
        return f"{library_of(module.attention_fn)} {cls.__qualname__} weights"
    return f"{cls.__module__.partition('.')[0]} {cls.__qualname__}"


def shares_mask(module: Any) -> bool | None:
    """Return whether attention has one mask for all examples and heads; None for others."""
    return bool(module.broadcast_dropout) if is_attention(module) else None
