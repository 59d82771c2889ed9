"""replaced and inserted: surgery on a Linen model for the time of a call, by interception."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from flax import linen as nn

import jaxdrop.linen
from jaxdrop._check import check_deterministic
from jaxdrop._dropout import Bits, dropout
from jaxdrop._layer import apply_dropout
from jaxdrop._rate import check_rate
from jaxdrop.surgery._attention import fast_attention
from jaxdrop.surgery._find import Where, everywhere
from jaxdrop.surgery._kinds import is_attention, is_dropout, rate_name


@contextlib.contextmanager
def replaced(rate: Any = None, where: Where = everywhere, *, bits: Bits = "fast") -> Iterator[None]:
    """Within the context, flax's Linen dropouts act as jaxdrop's, and may have another rate.

    Nothing of the model changes, neither its source nor its variables; keys are asked for in the
    same places. The dropout inside ``MultiHeadDotProductAttention`` draws by jaxdrop's generator.

    Args:
      rate: probability of dropping, which may be traced except in attention; or a function of
        (path, module) that returns one, or None to leave it. None leaves all as they are.
      where: predicate on path and module; a path is a tuple of names.
      bits: "fast", or "key" for the masks that flax would have drawn.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from jaxdrop import surgery
    >>> layer, x = nn.Dropout(0.5, deterministic=False), jnp.ones((2, 4))
    >>> with surgery.replaced(rate=1.0):
    ...     y = layer.apply({}, x, rngs={"dropout": jax.random.key(0)})
    >>> float(y.sum())
    0.0
    """
    if bits not in ("fast", "key"):
        raise ValueError(f"got {bits=}, expected 'fast' or 'key'")
    if rate is not None and not callable(rate):
        check_rate(rate)

    def intercept(next_fun: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not is_dropout(module):
            return next_fun(*args, **kwargs)
        if not where(module.path, module):
            return next_fun(*args, **kwargs)
        changes = {}
        new = rate(module.path, module) if callable(rate) else rate
        if new is not None:
            check_rate(new)
            changes[rate_name(module)] = new
        if is_attention(module) and bits == "fast":
            changes["attention_fn"] = fast_attention(module.attention_fn)
        with _changed(module, changes):
            if isinstance(module, nn.Dropout) and not isinstance(module, jaxdrop.linen.Dropout):
                call = inspect.signature(context.orig_method).bind(*args, **kwargs).arguments
                return _drop(module, bits, **call)
            return next_fun(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield


@contextlib.contextmanager
def inserted(
    where: Where, rate: Any, *, deterministic: Any, rng_collection: str = "dropout"
) -> Iterator[None]:
    """Within the context, the first argument of every chosen layer goes through dropout.

    Parameters are where they were. The key is the layer's own ``make_rng(rng_collection)``, which
    moves no other layer's.

    Args:
      where: predicate on path and module; a path is a tuple of names.
      rate: probability of dropping; it may be traced.
      deterministic: True for test time.
      rng_collection: name of the collection that keys are taken from.

    Raises:
      TypeError, ValueError: with what was given and what is expected.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from jaxdrop import surgery
    >>> layer, x = nn.Dense(3), jnp.ones((2, 4))
    >>> variables = layer.init(jax.random.key(0), x)
    >>> with surgery.inserted(lambda p, m: isinstance(m, nn.Dense), 1.0, deterministic=False):
    ...     y = layer.apply(variables, x, rngs={"dropout": jax.random.key(1)})
    >>> float(jnp.abs(y).sum())
    0.0
    """
    check_rate(rate)
    mode = check_deterministic(deterministic)

    def intercept(next_fun: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        chosen = context.method_name == "__call__" and not is_dropout(module)
        if chosen and args and mode is not True and where(module.path, module):
            x = dropout(module.make_rng(rng_collection), args[0], rate, deterministic=mode)
            args = (x, *args[1:])
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield


def _drop(module: Any, bits: Bits, inputs: Any, deterministic: Any = None, rng: Any = None) -> Any:
    """What ``jaxdrop.linen.Dropout`` does, with the key that flax's module would have drawn."""
    return apply_dropout(
        functools.partial(module.make_rng, module.rng_collection) if rng is None else lambda: rng,
        inputs,
        module.rate,
        nn.merge_param("deterministic", module.deterministic, deterministic),
        broadcast_dims=module.broadcast_dims,
        scale_at="train",
        bits=bits,
    )


@contextlib.contextmanager
def _changed(module: Any, changes: dict[str, Any]) -> Iterator[None]:
    """Give a bound module other fields for a while; it is frozen, and a copy made for the call."""
    before = {name: getattr(module, name) for name in changes}
    for name, value in changes.items():
        object.__setattr__(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(module, name, value)
