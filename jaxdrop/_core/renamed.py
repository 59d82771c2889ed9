"""Former names: they still work, with a warning that gives the new name."""

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def renamed(module: str, name: str, names: Mapping[str, str]) -> Any:
    """Return what a former name of a module stands for; for any other, raise Python's own error.

    Args:
      module: the module's ``__name__``, whose ``__getattr__`` calls this.
      name: the attribute that it does not have.
      names: former name -> full path of the new one, such as ``"jaxdrop.variational.prune"``.
    """
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is now {names[name]}", DeprecationWarning, stacklevel=3)
    owner, _, new = names[name].rpartition(".")
    return getattr(importlib.import_module(owner), new)


def renamed_argument(**names: str) -> Callable[[F], F]:
    """Let a function also take an argument by its former name: ``renamed_argument(new="old")``."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for new, old in names.items():
                if old in kwargs and new not in kwargs:
                    kwargs[new] = kwargs.pop(old)
                    sentence = (
                        f"{function.__name__}({old}=...) is now {function.__name__}({new}=...)"
                    )
                    warnings.warn(sentence, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return cast(F, call)

    return decorate
