"""replaced and inserted: surgery on a Linen model, within a context, by interception."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from flax import linen as nn

import jaxdrop.linen
from jaxdrop._core.checks import check_choice, check_deterministic
from jaxdrop._core.rate import check_rate
from jaxdrop._flax.call import call, mode_from_number
from jaxdrop._functional.dropout import Bits, dropout
from jaxdrop.linen._dropout import FlaxDropout
from jaxdrop.surgery._attention import with_our_dropout, without_our_dropout
from jaxdrop.surgery._attention_rate import attention_rate
from jaxdrop.surgery._changed_fields import changed_fields
from jaxdrop.surgery._first_argument import change_first_argument
from jaxdrop.surgery._interceptors import inner_call, interceptors
from jaxdrop.surgery._kinds import is_attention, is_dropout, is_layer, kind_of, rate_name
from jaxdrop.surgery._where import Path, Where, check_where, everywhere, nothing_chosen


@contextlib.contextmanager
def replaced(rate: Any = None, where: Where = everywhere, *, bits: Bits = "fast") -> Iterator[None]:
    """Within the context, flax's Linen dropouts act as jaxdrop's, and may have another rate.

    The model itself does not change, neither its source nor its variables; keys are asked for in
    the same places. ``MultiHeadDotProductAttention`` drops by ``jaxdrop.dot_product_attention``,
    with one mask for all examples and heads if its ``broadcast_dropout`` says so; test mode stays
    flax's. One with an ``attention_fn`` or einsum of its own, or with a precision for each operand,
    gets the rate alone. Of nested contexts the inner one decides.

    A function of yours under ``jax.jit`` that was compiled outside the context does not see it, and
    one compiled inside keeps it outside: open the context inside the function. ``mc_predict`` and
    ``mc_moments`` see the context.

    Args:
      rate: probability of dropping, which may be traced; or a function of (path, module) that
        returns one, or None to leave it. None leaves all as they are. Attention that is not
        jaxdrop's takes a number below 1.
      where: predicate on path and module; a path is a tuple of names.
      bits: "fast", or "key" for the masks that flax would have drawn.

    Raises:
      TypeError, ValueError: if rate, where or bits is invalid; on leaving the context, if modules
        were called in it and no dropout was chosen.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from jaxdrop import surgery
    >>> layer, x = nn.Dropout(0.5, deterministic=False), jnp.ones((2, 4))
    >>> with surgery.replaced(rate=1.0):
    ...     y = layer.apply({}, x, rngs={"dropout": jax.random.key(0)})
    >>> float(y.sum())
    0.0
    """
    check_choice(bits, "bits", ("fast", "key"))
    check_where(where)
    if rate is not None and not callable(rate):
        check_rate(rate)
    with _intercepting(_Replaced(rate, where, bits), "dropout"):
        yield


@contextlib.contextmanager
def inserted(
    where: Where, rate: Any, *, deterministic: bool | jax.Array, rng_collection: str = "dropout"
) -> Iterator[None]:
    """Within the context, the first argument of every chosen layer goes through dropout.

    Parameters stay where they are. The key is the layer's own ``make_rng(rng_collection)``, which
    changes no other layer's key. For functions under ``jax.jit`` see ``replaced``.

    Args:
      where: predicate on path and module; a path is a tuple of names.
      rate: probability of dropping; it may be traced.
      deterministic: True for test time.
      rng_collection: name of the collection that keys are taken from.

    Raises:
      TypeError, ValueError: if an argument is invalid; on leaving the context, if modules were
        called in it and no layer was chosen, except in test mode.

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
    check_where(where)
    mode = check_deterministic(deterministic)
    if mode is True:
        yield
        return
    with _intercepting(_Inserted(rate, where, mode, rng_collection), "layer"):
        yield


@dataclasses.dataclass
class _Seen:
    """What an interceptor saw: the modules that were called, and whether one was chosen."""

    called: dict[Path, str] = dataclasses.field(default_factory=dict)
    chosen: bool = False

    def choose(self, kind: Callable[[Any], bool], where: Where, context: Any) -> bool:
        """Return whether it is the call of a module of that kind, and chosen."""
        module = context.module
        if context.method_name != "setup":
            self.called.setdefault(module.path, kind_of(module))
        chosen = context.method_name == "__call__" and kind(module)
        chosen = chosen and bool(where(module.path, module))
        self.chosen |= chosen
        return chosen


@contextlib.contextmanager
def _intercepting(interceptor: Any, what: str) -> Iterator[None]:
    with nn.intercept_methods(interceptor):
        yield
    seen = interceptor.seen
    if seen.called and not seen.chosen:
        raise nothing_chosen(what, "called within the context were", seen.called.items())


def is_replaced(module: Any) -> bool:
    """Return whether this module is flax's and an active ``replaced`` makes it act as ours."""
    active = [f for f in interceptors() or () if isinstance(f, _Replaced)]
    return _is_flaxs(module) and any(f.where(module.path, module) for f in active)


def _is_flaxs(module: Any) -> bool:
    return isinstance(module, FlaxDropout) and not isinstance(module, jaxdrop.linen.Dropout)


# Equal ones act alike, so what was compiled within one serves the other.
@dataclasses.dataclass(frozen=True)
class _Replaced:
    rate: Any
    where: Where
    bits: Bits
    seen: _Seen = dataclasses.field(default_factory=_Seen, compare=False)

    def __call__(self, next_fun: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if not self.seen.choose(is_dropout, self.where, context):
            return next_fun(*args, **kwargs)
        changes: dict[str, Any] = {}
        new = self.rate(module.path, module) if callable(self.rate) else self.rate
        if is_attention(module):
            find = with_our_dropout if self.bits == "fast" else without_our_dropout
            changes["attention_fn"] = find(module)
        if new is not None:
            check_rate(new)
            if is_attention(module):
                new = attention_rate(module.path, module, changes["attention_fn"], new)
            changes[rate_name(module)] = new
        if _is_flaxs(module):
            next_fun = inner_call(self, functools.partial(_drop, module, self.bits), context)
        with changed_fields(module, **changes):
            return next_fun(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class _Inserted:
    rate: Any
    where: Where
    mode: Any
    rng_collection: str
    seen: _Seen = dataclasses.field(default_factory=_Seen, compare=False)

    def __call__(self, next_fun: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        def drop(x: Any) -> Any:
            key = context.module.make_rng(self.rng_collection)
            return dropout(key, x, self.rate, deterministic=self.mode)

        if self.seen.choose(is_layer, self.where, context):
            args, kwargs = change_first_argument(drop, context.orig_method, args, kwargs)
        return next_fun(*args, **kwargs)


def _drop(module: Any, bits: Bits, inputs: Any, deterministic: Any = None, rng: Any = None) -> Any:
    """What ``jaxdrop.linen.Dropout`` does, with the key that flax's module would have drawn."""
    return call(
        dropout,
        functools.partial(module.make_rng, module.rng_collection) if rng is None else lambda: rng,
        inputs,
        module.rate,
        mode_from_number(nn.merge_param("deterministic", module.deterministic, deterministic)),
        broadcast_dims=module.broadcast_dims,
        scale_at="train",
        bits=bits,
    )
