"""Grid: the runs of a sweep, numbered in row-major order of its axes."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop._core.checks import array_of, check_mapping
from jaxdrop._core.key import is_typed
from jaxdrop.training._sweep_identity import array_digest


class Grid:
    """Hold the axes of a sweep on the host, and hand out the runs by number.

    Attributes:
      shape: how many values each axis has, in the order in which the axes were given.
      size: how many runs there are.
    """

    def __init__(self, axes: Mapping[str, Any]):
        expected = "a dict such as {'rate': [0.0, 0.5]}"
        if not check_mapping(axes, "axes", expected):
            raise ValueError(f"got no axes, {axes=}; expected one at least: {expected}")
        self._values: dict[str, np.ndarray] = {}
        self._impl: dict[str, Any] = {}  # of the axes that are typed keys
        for name, values in axes.items():
            array: Any = values
            if not isinstance(values, jax.Array):
                listed = isinstance(values, (list, tuple))
                array = values if listed else np.asarray(values)
                array = array_of(array, f"axis {name!r}", "expected an array or a list of numbers")
            if array.ndim < 1 or array.shape[0] < 1:
                raise ValueError(
                    f"got axis {name!r} of shape {array.shape}; expected one value at least, along "
                    "the first dimension"
                )
            if is_typed(array):
                self._impl[name] = jax.random.key_impl(array)
                array = jax.random.key_data(array)
            self._values[name] = np.asarray(array)
        self.shape = tuple(len(values) for values in self._values.values())
        self.size = math.prod(self.shape)

    def runs(self, numbers: np.ndarray) -> dict[str, jax.Array]:
        """Return the arguments of the runs of these numbers, stacked along a leading axis.

        A key that several runs share is a new array in each, so no key is used twice.
        """
        places = np.unravel_index(numbers, self.shape)
        chosen = {}
        for (name, values), place in zip(self._values.items(), places, strict=True):
            array = jnp.asarray(values[place])
            impl = self._impl.get(name)
            chosen[name] = array if impl is None else jax.random.wrap_key_data(array, impl=impl)
        return chosen

    def run(self, number: int) -> dict[str, jax.Array]:
        """Return the arguments of one run."""
        return {name: values[0] for name, values in self.runs(np.array([number])).items()}

    def digests(self) -> dict[str, str]:
        """Return a digest of each axis."""
        return {name: array_digest(values) for name, values in self._values.items()}
