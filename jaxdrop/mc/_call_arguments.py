"""call_arguments: the input of a sampler as the arguments of a model's call."""

import inspect
from typing import Any

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def call_arguments(model: Any, x: Any, options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Return (args, kwargs) for the model's call.

    A tuple becomes the positional arguments if the call needs more than one; a dict whose keys are
    names of the call's parameters becomes those; anything else is the first argument.
    """
    signature = inspect.signature(type(model).__call__)
    if type(x) is tuple and not _is_enough(signature, x, options):
        return x, options
    if isinstance(x, dict) and x and set(x) <= set(argument_names(model)):
        return (), {**options, **x}
    return (x,), options


def argument_names(model: Any) -> list[str]:
    """Return the names of the arguments that the model's call accepts by name."""
    parameters = inspect.signature(type(model).__call__).parameters.values()
    return [p.name for p in parameters if p.kind in _NAMED]


def takes_any_name(model: Any) -> bool:
    """Return whether the model's call has ``**kwargs``."""
    parameters = inspect.signature(type(model).__call__).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _is_enough(signature: inspect.Signature, x: Any, options: dict[str, Any]) -> bool:
    try:
        signature.bind(None, x, **options)
    except TypeError:
        return False
    return True
