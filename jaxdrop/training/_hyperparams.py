"""injected_hyperparams: what optax.inject_hyperparams keeps in an optimizer's state."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxdrop.training._mesh import path_name


def injected_hyperparams(opt_state: Any) -> dict[str, Any]:
    """Return the hyperparameters in an optimizer's state by place and name, as JSON values.

    Those that follow a schedule are left out: they change from step to step.

    >>> import jax.numpy as jnp, optax
    >>> tx = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
    >>> injected_hyperparams(tx.init(jnp.zeros(3)))
    {'learning_rate': 0.5}
    """
    found = {}
    for path, node in jax.tree_util.tree_leaves_with_path(opt_state, is_leaf=_injects):
        if _injects(node):
            scheduled = getattr(node, "hyperparams_states", {})
            for name, value in node.hyperparams.items():
                if name not in scheduled:
                    place = [part for part in (path_name(path), name) if part]
                    found["/".join(place)] = _plain(np.asarray(value))
    return found


def _injects(node: Any) -> bool:
    return isinstance(getattr(node, "hyperparams", None), Mapping)


def _plain(value: np.ndarray) -> Any:
    # JSON has no NaN and no infinity.
    return value.astype(float).tolist() if np.isfinite(value).all() else str(value)
