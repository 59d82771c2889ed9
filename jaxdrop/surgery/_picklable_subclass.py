"""made_class: a subclass that is made when it is needed, and can be pickled nevertheless."""

import copyreg
import functools
from collections.abc import Callable
from typing import Any


def made_class(maker: Callable[[type], type], kind: type, **members: Any) -> type:
    """Return a subclass of a layer's class, under its name.

    A pickle holds the call that makes it, in place of a name that no module has.

    Args:
      maker: a function of a module that makes this class of ``kind``, the same each time.
      kind: the layer's class.
      members: what differs.
    """
    made = _metaclass(type(kind))(kind.__name__, (kind,), members)
    type.__setattr__(made, "_made_by", (maker, kind))
    return made


@functools.cache
def _metaclass(of_kind: type) -> Any:
    """Pickle asks a class's class how to write it."""
    made: Any = type(of_kind.__name__, (of_kind,), {})
    copyreg.pickle(made, _reduce)
    return made


def _reduce(made: Any) -> Any:
    maker, kind = made._made_by
    return maker, (kind,)
