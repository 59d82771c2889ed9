"""Undo: takes a change of a model back, step by step."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import nnx

from jaxdrop.surgery._picklable_subclass import set_class

_ABSENT = object()


class Undo:
    """Call it to take a change back; a second call does nothing.

    Undo several changes in the reverse order of making them, as one closes brackets.

    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(nnx.Dropout(0.5))
    >>> undo = surgery.set_rates(model, 0.1)
    >>> undo()
    >>> model.layers[0].rate
    0.5
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] = []

    def set(self, module: Any, **attributes: Any) -> None:
        """Set attributes of a module and remember what they were."""
        for name, value in attributes.items():
            before = vars(module).get(name, _ABSENT)
            self._steps.append(partial(_restore, module, name, before))
            _assign(module, name, value)

    def become(self, module: Any, kind: type) -> None:
        """Change the class of a module and remember what it was."""
        self._steps.append(partial(set_class, module, type(module)))
        set_class(module, kind)

    def write(self, variable: Any, value: Any) -> None:
        """Write into a variable and remember what it held."""
        before = variable[...]
        self._steps.append(lambda: variable.set_value(before))
        variable.set_value(value)

    def __call__(self) -> None:
        while self._steps:
            self._steps.pop()()


def _restore(module: Any, name: str, before: Any) -> None:
    if before is _ABSENT:
        delattr(module, name)
    else:
        _assign(module, name, before)


def _assign(module: Any, name: str, value: Any) -> None:
    # NNX remembers whether an attribute holds arrays, and must be told when that changes.
    entries = value if isinstance(value, tuple) else (value,)
    is_data = any(map(nnx.is_data, entries))
    setattr(module, name, nnx.data(value) if is_data else nnx.static(value))
