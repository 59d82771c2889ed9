"""flax.serialization of train states: typed keys and NNX's trees as plain dicts of arrays."""

import dataclasses
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop.training._typed_keys import is_key


def make_serializable(kind: type) -> None:
    """Make ``to_bytes``, ``from_bytes`` and ``to_state_dict`` of flax.serialization take a state.

    The dicts are flax's own, with two differences: a typed key, wherever it stands, is
    ``{"key_data": words, "impl": name}``, and an ``nnx.State`` is a dict.
    """
    flax.serialization.register_serialization_state(kind, _to_dict, _from_dict, override=True)


def _to_dict(state: Any) -> dict[str, Any]:
    leaves = jax.tree.leaves(state)
    saved: dict[str, Any] = _filled(_numbered(state), lambda number: _saved(leaves[number]))
    return saved


def _from_dict(state: Any, saved: Any) -> Any:
    likes, structure = jax.tree.flatten(state)
    found = list(likes)

    def read(numbers: Any, node: Any, path: str) -> None:
        if numbers is None:
            return
        if not isinstance(numbers, dict):
            found[numbers] = _restored(likes[numbers], node, path)
            return
        names = set(node) if isinstance(node, dict) else None
        if names != set(numbers):
            raise ValueError(
                f"got {'a leaf' if names is None else sorted(names)} in what was saved as "
                f"{path or 'the state'}, expected {sorted(numbers)}: it is of another model or "
                "optimizer"
            )
        for name, below in numbers.items():
            read(below, node[name], f"{path}/{name}" if path else name)

    read(_numbered(state), saved, "")
    return jax.tree.unflatten(structure, found)


def _numbered(state: Any) -> dict[str, Any]:
    """Return the state's dict with the numbers of its leaves, in JAX's order, for the leaves."""
    leaves, structure = jax.tree.flatten(state)
    numbers = jax.tree.unflatten(structure, range(len(leaves)))
    fields = [f.name for f in dataclasses.fields(state) if f.metadata.get("pytree_node", True)]
    return {name: _plain(getattr(numbers, name)) for name in fields}


def _plain(node: Any) -> Any:
    node = flax.serialization.to_state_dict(node)
    if isinstance(node, dict | nnx.State):
        return {str(name): _plain(below) for name, below in node.items()}
    return node


def _filled(node: Any, leaf: Any) -> Any:
    if isinstance(node, dict):
        return {name: _filled(below, leaf) for name, below in node.items()}
    return node if node is None else leaf(node)


def _saved(leaf: Any) -> Any:
    if not is_key(leaf):
        return leaf
    return {"key_data": jax.random.key_data(leaf), "impl": str(jax.random.key_impl(leaf))}


def _restored(like: Any, saved: Any, path: str) -> Any:
    if not is_key(like):
        if np.shape(saved) != np.shape(like):
            raise ValueError(
                f"got {path} of shape {np.shape(saved)} in what was saved, expected "
                f"{np.shape(like)}: it is of another model or optimizer"
            )
        return jnp.asarray(saved) if isinstance(saved, np.ndarray) else saved
    impl = str(jax.random.key_impl(like))
    if not isinstance(saved, dict) or saved.get("impl") != impl:
        there = saved.get("impl") if isinstance(saved, dict) else type(saved).__name__
        raise ValueError(
            f"got {path} of {there} in what was saved, expected a key of {impl}; make the state "
            "to restore into with a key of the implementation that was saved"
        )
    return jax.random.wrap_key_data(jnp.asarray(saved["key_data"]), impl=jax.random.key_impl(like))
