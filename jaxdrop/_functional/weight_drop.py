"""weight_drop: DropConnect on the recurrent matrices of a parameter tree (Merity et al. 2018)."""

import zlib
from collections.abc import Callable
from typing import Any

import jax

from jaxdrop._core.annotations import Flag, RateLike
from jaxdrop._core.checks import check_function, check_input, check_sequence
from jaxdrop._core.key import AnyKey, typed
from jaxdrop._core.mesh import or_default
from jaxdrop._core.mode import resolve_key
from jaxdrop._core.rate import check_rate
from jaxdrop._core.renamed import renamed_argument
from jaxdrop._functional.dropout import dropout

# The layers of Flax's recurrent cells that read the hidden state, Linen and NNX.
RECURRENT_LAYERS = frozenset({"h", "hh", "hi", "hf", "hg", "ho", "hr", "hz", "hn", "dense_h"})


def is_recurrent_kernel(path: tuple[str, ...]) -> bool:
    """Say whether a parameter's path names the hidden-to-hidden matrix of a Flax cell.

    >>> import jaxdrop
    >>> jaxdrop.recurrent.is_recurrent_kernel(("cell", "hf", "kernel"))
    True
    >>> jaxdrop.recurrent.is_recurrent_kernel(("cell", "if", "kernel"))
    False
    """
    names = check_sequence(path, "path", "a tuple of names, such as ('cell', 'hf', 'kernel')")
    names = tuple(name for name in names if name != "value")  # where an NNX path ends
    return len(names) >= 2 and names[-1] == "kernel" and names[-2] in RECURRENT_LAYERS


@renamed_argument(params="x")
def weight_drop(
    key: AnyKey | None,
    params: Any,
    rate: RateLike,
    *,
    where: Callable[[tuple[str, ...]], bool] = is_recurrent_kernel,
    deterministic: Flag = False,
) -> Any:
    """Drop weights of the recurrent matrices of a parameter tree, once for a whole sequence.

    ``W' = where(keep, W / (1 - rate), 0)`` for each parameter that ``where`` chooses; the others
    are returned as they are. Run the recurrent network with the result: its cell needs no change,
    and an optimised kernel for it can still be used, since the same W' serves every time step.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1. Every matrix has
        its own mask, which depends on the key and on the matrix's path, not on what else is in the
        tree.
      params: parameters of a Linen module, the ``nnx.Param`` state of an NNX module, or one array,
        which is then dropped whatever ``where`` says.
      rate: probability of dropping a weight, as in ``dropout``.
      where: takes a parameter's path, a tuple of names; says whether its weights are dropped.
      deterministic: True for test time: the tree is returned as it is.

    Returns:
      A tree like params, E[W'] = W.

    Not for the input-to-hidden matrices (drop inputs instead), and not for biases.

    Raises:
      ValueError: if ``where`` chooses no parameter of the tree.

    Reference:
      Merity, Keskar & Socher, Regularizing and Optimizing LSTM Language Models, 2018.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop
    >>> model, x = nn.RNN(nn.LSTMCell(4)), jnp.ones((2, 5, 3))
    >>> params = model.init(jax.random.key(0), x)["params"]
    >>> dropped = jaxdrop.weight_drop(jax.random.key(1), params, 0.5)
    >>> bool((model.apply({"params": dropped}, x) == model.apply({"params": params}, x)).all())
    False
    >>> same = jax.tree.map(lambda a, b: bool((a == b).all()), params, dropped)["cell"]
    >>> same["hf"], same["if"]
    ({'bias': True, 'kernel': False}, {'kernel': True})
    """
    check_function(where, "where", "weight_drop takes a function of a parameter's path")
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    if not leaves:
        raise TypeError(
            f"got params={params!r:.60} of type {type(params).__name__}; weight_drop takes a tree "
            "of parameters"
        )
    named = [(tuple(_name(part) for part in path), leaf) for path, leaf in leaves]
    chosen = [not path or where(path) for path, _ in named]
    if not any(chosen):
        raise ValueError(
            "weight_drop found no recurrent kernel in the tree: its parameters are "
            f"{', '.join('/'.join(path) for path, _ in named[:8])}; pass where=, a function that "
            "takes a path such as ('cell', 'hi', 'kernel') and returns True for those to drop"
        )
    key, mode = resolve_key(key, check_rate(rate), deterministic, "weight_drop")
    if mode is True:
        return params

    def drop(path: tuple[str, ...], leaf: Any) -> jax.Array:
        weights = check_input(leaf, "weight_drop", "params")
        own = or_default((), weights, weights=True)
        return dropout(_path_key(key, path), weights, rate, deterministic=mode, mesh_axes=own)

    dropped = [
        drop(path, leaf) if is_chosen else leaf
        for (path, leaf), is_chosen in zip(named, chosen, strict=True)
    ]
    return jax.tree_util.tree_unflatten(structure, dropped)


def _name(part: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)


def _path_key(key: Any, path: tuple[str, ...]) -> Any:
    if key is None or not path:
        return key
    return jax.random.fold_in(typed(key), zlib.crc32("/".join(path).encode()))
