"""force_dropout, force_nnx: turn the dropouts of a model on, and nothing else."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flax import linen as nn
from flax import nnx

from jaxdrop.surgery._changed_fields import changed_fields
from jaxdrop.surgery._find_dropouts import find_dropouts
from jaxdrop.surgery._kinds import is_dropout
from jaxdrop.surgery._picklable_subclass import picklable_subclass, set_class


def force_dropout(
    next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    """Call a method unchanged, but a dropout's ``__call__`` with ``deterministic=False``.

    For ``nn.intercept_methods``. It overrides what constructor and call say, so that a model can be
    applied in test mode, with batch norm frozen, and still drop.

    Args:
      next_fun, args, kwargs, context: what ``nn.intercept_methods`` hands to an interceptor.

    Returns:
      What the method returns.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from jaxdrop import surgery
    >>> layer, key = nn.Dropout(0.5, deterministic=True), jax.random.key(0)
    >>> with nn.intercept_methods(surgery.force_dropout):
    ...     y = layer.apply({}, jnp.ones(8), rngs={"dropout": key})
    >>> sorted(set(y.tolist()))
    [0.0, 2.0]
    """
    module: Any = context.module
    if context.method_name != "__call__" or not is_dropout(module):
        return next_fun(*args, **kwargs)
    call = inspect.signature(context.orig_method).bind(*args, **kwargs)
    call.arguments["deterministic"] = False
    with changed_fields(module, deterministic=None):  # flax refuses a mode in both places
        return next_fun(*call.args, **call.kwargs)


def force_nnx(model: nnx.Module) -> None:
    """Do the same to an NNX model, in place: for a copy that was merged for one call."""
    for _, module in list(find_dropouts(model)):
        module.deterministic = False
        kind: Any = type(module)
        set_class(module, _forced(kind))


@functools.cache
def _forced(kind: type) -> type:
    method: Any = kind.__call__
    signature = inspect.signature(method)
    if "deterministic" not in signature.parameters:
        return kind

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.arguments["deterministic"] = False
        return method(*given.args, **given.kwargs)

    return picklable_subclass(_forced, kind, __call__=call)
