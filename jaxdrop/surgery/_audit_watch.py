"""Watch: a model's calls in training and in test mode as programs, its dropouts marked."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

from jaxdrop.surgery._audit_marks import mark
from jaxdrop.surgery._audit_sites import scope
from jaxdrop.surgery._changed_fields import changed_fields
from jaxdrop.surgery._find_dropouts import find_dropouts
from jaxdrop.surgery._kinds import is_attention, is_dropout, kind_of, rate_of
from jaxdrop.surgery._linen import is_replaced
from jaxdrop.surgery._picklable_subclass import picklable_subclass, set_class
from jaxdrop.surgery._where import Path

PROBE = 10**6
"""In place of a layer's number: what is drawn to look at a mask does not count."""


class Layer:
    """A dropout of the model that is known by its class."""

    def __init__(self, number: int, path: Path, module: Any):
        self.number, self.path = number, path
        self.kind = "jaxdrop Dropout" if is_replaced(module) else kind_of(module)
        self.rate = rate_of(module)
        self.type: type = type(module)
        self.is_attention = is_attention(module)


class Watch:
    """The layers that were met, in the order of the call; it puts marks around them."""

    def __init__(self) -> None:
        self.layers: dict[Path, Layer] = {}

    def meet(self, path: Path, module: Any) -> Layer:
        """Return the layer of a path."""
        if path not in self.layers:
            self.layers[path] = Layer(len(self.layers), path, module)
        return self.layers[path]

    def dropout(self, number: int, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a dropout between marks."""
        args, kwargs = _marked((args, kwargs), "in", number)
        with scope(number):
            result = call(*args, **kwargs)
        return _marked(result, "out", number)

    def attention(self, number: int, attention_fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of attention that marks its result with the mask of its weights.

        With queries of zeros all weights are equal, and values that are the unit vectors of H keys
        return the weights of these: those that are 0 were dropped.
        """

        @functools.wraps(attention_fn)
        def attend(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            with scope(number):
                result = attention_fn(query, key, value, *args, **kwargs)
            with scope(PROBE):
                plain: Any = {"mask": None, "bias": None, "is_causal": False, "module": None}
                plain = kwargs | {k: v for k, v in plain.items() if k in kwargs}
                length, size = value.shape[-3], value.shape[-1]
                weights = []
                for first in range(0, length, size):
                    units = jnp.eye(length, size, -first, dtype=value.dtype)
                    units = jnp.broadcast_to(units[:, None], value.shape)
                    zeros = jnp.zeros_like(query), jnp.zeros_like(key)
                    weights.append(attention_fn(*zeros, units, *args, **plain))
                kept = jnp.concatenate(weights, -1)[..., :length] != 0
            return mark(result, "out", number, jnp.moveaxis(kept, -2, -3))

        return attend


def _marked(tree: Any, place: Any, number: int) -> Any:
    """Mark the arrays in tuples, lists and dicts; modules and streams of keys stay."""
    if isinstance(tree, jax.Array | np.ndarray):
        plain = np.ndim(tree) and not jnp.issubdtype(tree.dtype, jax.dtypes.extended)
        return mark(jnp.asarray(tree), place, number) if plain else tree
    if isinstance(tree, dict):
        return {name: _marked(value, place, number) for name, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [_marked(value, place, number) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return tree


def _uses_batch(module: Any, function: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a call of a batch norm takes the statistics of the batch."""
    given = inspect.signature(function).bind(*args, **kwargs).arguments
    mode = given.get("use_running_average")
    mode = module.use_running_average if mode is None else mode
    return mode is False or mode is None


# ------------------------------------------------------------------------------------------ Linen


@dataclasses.dataclass(frozen=True)
class Interceptor:
    """For ``nn.intercept_methods``: marks around the dropouts and before the batch norms."""

    watch: Watch

    def __call__(self, next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        if isinstance(module, nn.BatchNorm) and _uses_batch(
            module, context.orig_method, args, kwargs
        ):
            args, kwargs = _marked((args, kwargs), "norm", 0)
        if not is_dropout(module):
            return next_fun(*args, **kwargs)
        layer = self.watch.meet(module.path, module)
        if not layer.is_attention:
            return self.watch.dropout(layer.number, next_fun, args, kwargs)
        attend = self.watch.attention(layer.number, module.attention_fn)
        with changed_fields(module, attention_fn=attend):
            return next_fun(*args, **kwargs)


# -------------------------------------------------------------------------------------------- NNX


def watched_nnx(model: nnx.Module, watch: Watch) -> nnx.Module:
    """Return a copy of a model whose dropouts and batch norms put marks when they are called."""
    copy = nnx.merge(*nnx.split(model))
    for path, module in list(find_dropouts(copy)):
        number = watch.meet(path, module).number
        if is_attention(module):
            module.attention_fn = watch.attention(number, module.attention_fn)
        else:
            module.surgery_watch = (watch, number)
            kind: Any = type(module)
            set_class(module, _dropout_class(kind))
    for _, module in nnx.iter_modules(copy):
        if isinstance(module, nnx.BatchNorm):
            set_class(module, _norm_class(type(module)))
    return copy


@functools.cache
def _dropout_class(kind: Any) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch, number = self.surgery_watch
        return watch.dropout(number, functools.partial(kind.__call__, self), args, kwargs)

    return picklable_subclass(_dropout_class, kind, __call__=call)


@functools.cache
def _norm_class(kind: Any) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _uses_batch(self, kind.__call__, (self, *args), kwargs):
            args, kwargs = _marked((args, kwargs), "norm", 0)
        return kind.__call__(self, *args, **kwargs)

    return picklable_subclass(_norm_class, kind, __call__=call)
