"""The attention_fn by which flax's modules drop as jaxdrop does, and which of them can have it."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from flax import nnx

import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop.nnx._rate import read_rate

_OURS: dict[Any, Callable[..., Any]] = {
    nn.dot_product_attention: jaxdrop.linen.dot_product_attention,
    nnx.dot_product_attention: jaxdrop.nnx.dot_product_attention,
}
_EINSUMS = ("qk_attn_weights_einsum_cls", "attn_weights_value_einsum_cls")


@dataclasses.dataclass(frozen=True)  # to be equal to another, and to be pickled
class DroppingAttention:
    """Flax's attention function, but jaxdrop's where weights are dropped.

    At test time it is the one that was there, so that surgery moves no number.

    Args:
      attention_fn: flax's ``dot_product_attention``, Linen's or NNX's, or jaxdrop's for it, whose
        rate may then be traced.
    """

    attention_fn: Callable[..., Any]

    def __call__(
        self, *args: Any, dropout_rate: Any = 0.0, deterministic: Any = False, **kwargs: Any
    ) -> Any:
        """Attend as a module of flax asks for it; the rate may be in a variable."""
        if not deterministic:
            rate = read_rate(dropout_rate)
            ours = _OURS.get(self.attention_fn, self.attention_fn)
            return ours(*args, dropout_rate=rate, **kwargs)
        # Flax looks at the rate there too, for what it computes and whether it is below 1.
        rate = 0.5 if dropout_rate > 0 else 0.0
        return self.attention_fn(*args, dropout_rate=rate, deterministic=True, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        # Linen's attention looks at the signature for what it may pass.
        return inspect.signature(self.attention_fn)


def with_our_dropout(module: Any) -> Any:
    """Return the attention_fn that makes a module of flax drop by jaxdrop.

    A function of the user's own stays as it is, and so does what jaxdrop's cannot do: einsums of
    the user's own, and a precision that differs between operands.
    """
    function, precision = module.attention_fn, module.precision
    einsums = any(getattr(module, name, None) is not None for name in _EINSUMS)
    one = precision is None or isinstance(precision, str | jax.lax.Precision)
    known = any(function is f for pair in _OURS.items() for f in pair)
    return DroppingAttention(function) if known and one and not einsums else function


def without_our_dropout(module: Any) -> Any:
    """Return the attention_fn that a module had before."""
    function = module.attention_fn
    return function.attention_fn if isinstance(function, DroppingAttention) else function


def library_of(attention_fn: Any) -> str:
    """Return the package whose function computes attention."""
    while isinstance(attention_fn, functools.partial):
        attention_fn = attention_fn.func
    if isinstance(attention_fn, DroppingAttention):
        return "jaxdrop"
    return getattr(attention_fn, "__module__", "").partition(".")[0]
