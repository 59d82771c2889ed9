"""plain_config: the settings that a run's numbers depend on, as JSON values."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxdrop.training._typed_json import DEPTH
from jaxdrop.training._typed_keys import is_key


def plain_config(config: Any) -> dict[str, Any]:
    """Return a config as it is stored and compared: tuples as lists, arrays as numbers.

    Raises:
      TypeError, ValueError: names the value that JSON cannot hold, such as NaN or a function.

    >>> import numpy as np
    >>> plain_config({"lr": np.float32(0.5), "sizes": (8, 4)})
    {'lr': 0.5, 'sizes': [8, 4]}
    """
    if config is not None and not isinstance(config, Mapping):
        raise TypeError(
            f"got config={config!r:.60} of type {type(config).__name__}, expected a dict of "
            "JSON values; dataclasses.asdict makes one of a dataclass"
        )
    plain: dict[str, Any] = _plain(config or {}, "config", DEPTH)
    return plain


def _plain(value: Any, name: str, levels: int) -> Any:
    if not levels:
        raise ValueError(f"got a config that is nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise TypeError(f"got the name {odd[0]!r} in {name}, expected text, as in JSON")
        return {key: _plain(item, f"{name}[{key!r}]", levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{i}]", levels - 1) for i, item in enumerate(value)]
    if isinstance(value, np.generic | np.ndarray | jax.Array) and not is_key(value):
        return _plain(value.tolist(), name, levels - 1)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"got {name}={value}, which JSON cannot hold and which equals nothing, so that no "
            "later call could resume; leave it out, or give it as text"
        )
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(
            f"got {name} of type {type(value).__name__}, expected a JSON value: text, a number, "
            "True, False, None, or lists and dicts of them"
        )
    return value
