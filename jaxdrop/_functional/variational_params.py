"""loss and sparsity: variational dropout over all layers of a tree of parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdrop._functional.variational_kl import PRUNE_AT, kl_divergence, log_alpha, pruned


def loss(params: Any) -> Float[Array, ""]:
    """Sum ``kl_divergence`` over every layer of a tree that has ``kernel`` and ``log_sigma2``.

    Args:
      params: parameters of a Linen model, or ``nnx.to_pure_dict`` of an NNX model's ``nnx.Param``
        state.

    >>> import jax.numpy as jnp, jaxdrop
    >>> params = {"a": {"kernel": jnp.ones((3, 2)), "log_sigma2": jnp.full((3, 2), 8.0)}}
    >>> float(jaxdrop.variational.loss(params)) < 0.01
    True
    """
    return sum(
        (kl_divergence(log_alpha(*layer)) for layer in _layers(params).values()),
        start=jnp.zeros(()),
    )


def sparsity(params: Any, *, threshold: float = PRUNE_AT) -> dict[str, float]:
    """Return, for every such layer by its path, the fraction of weights that ``prune`` removes.

    >>> import jax.numpy as jnp, jaxdrop
    >>> layer = {"kernel": jnp.array([[1.0, 0.01]]), "log_sigma2": jnp.full((1, 2), -4.0)}
    >>> jaxdrop.variational.sparsity({"dense": layer})
    {'dense': 0.5}
    """
    return {
        path: float(pruned(*layer, threshold=threshold).mean())
        for path, layer in _layers(params).items()
    }


def _layers(params: Any, path: tuple[str, ...] = ()) -> dict[str, tuple[jax.Array, jax.Array]]:
    if not hasattr(params, "items"):
        raise TypeError(
            f"got params={params!r:.60} of type {type(params).__name__}, expected a dict of "
            "parameters, such as a Linen model's or nnx.to_pure_dict of an NNX model's nnx.Param"
        )
    found = {}
    if "log_sigma2" in params and "kernel" in params:
        found["/".join(path)] = (params["kernel"], params["log_sigma2"])
    for name, child in params.items():
        if hasattr(child, "items"):
            found |= _layers(child, (*path, str(name)))
    if not path and not found:
        raise ValueError(
            f"found no layer with kernel and log_sigma2 in params={params!r:.60}; give the "
            "parameters of a model with VariationalDense or VariationalConv in it"
        )
    return found
