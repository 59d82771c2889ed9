"""picklable_subclass: a subclass made at run time that can be pickled all the same."""

import copyreg
import functools
from collections.abc import Callable
from typing import Any


def picklable_subclass(maker: Callable[[type], type], kind: type, **members: Any) -> type:
    """Return a subclass of a layer's class, under its name.

    A pickle holds the call that makes it: the name is in no module.

    Args:
      maker: a function at the top of a module that makes this class of ``kind``, the same each
        time.
      kind: the layer's class.
      members: what differs.
    """
    made = _metaclass(type(kind))(kind.__name__, (kind,), members)
    type.__setattr__(made, "_made_by", (maker, kind))
    return made


def set_class(module: Any, kind: type) -> None:
    """Change the class of an NNX module; all that refers to the module still does."""
    # Not by setattr, which NNX would take for an attribute of the model.
    object.__setattr__(module, "__class__", kind)


@functools.cache
def _metaclass(of_kind: type) -> Any:
    """Return a metaclass that tells pickle how to write its classes."""
    made: Any = type(of_kind.__name__, (of_kind,), {})
    copyreg.pickle(made, _reduce)
    return made


def _reduce(made: Any) -> Any:
    maker, kind = made._made_by
    return maker, (kind,)
