"""force_dropout, force_nnx: turn the dropouts of a model on, and nothing else."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flax import linen as nn
from flax import nnx

from jaxdrop.surgery._find_dropouts import find_dropouts
from jaxdrop.surgery._kinds import is_dropout
from jaxdrop.surgery._picklable_subclass import made_class


def force_dropout(
    next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    """Call a method as it is, a dropout's ``__call__`` with ``deterministic=False``.

    For ``nn.intercept_methods``. It goes before what constructor and call say, so that a model can
    be applied in test mode, with batch norm frozen, and still drop.

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
    given = module.deterministic
    # Flax refuses a mode in both places. A bound module is a copy that lives as long as the call.
    object.__setattr__(module, "deterministic", None)
    try:
        return next_fun(*call.args, **call.kwargs)
    finally:
        object.__setattr__(module, "deterministic", given)


def force_nnx(model: nnx.Module) -> None:
    """Do the same to an NNX model, in place: for one that was merged for the time of a call."""
    for _, module in list(find_dropouts(model)):
        module.deterministic = False
        kind: Any = type(module)
        object.__setattr__(module, "__class__", _forced(kind))


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

    return made_class(_forced, kind, __call__=call)
