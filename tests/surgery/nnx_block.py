"""An NNX model to operate on, every change that can be made to it, and what must not change."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

import jaxdrop.nnx
from jaxdrop import surgery

X = np.random.RandomState(0).standard_normal((4, 5, 8)).astype(np.float32)


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.attention = nnx.MultiHeadAttention(
            2, 8, dropout_rate=0.2, broadcast_dropout=False, decode=False, rngs=rngs
        )
        self.drops: Any = nnx.List([nnx.Dropout(0.3, rngs=rngs), jaxdrop.nnx.SpatialDropout(0.1)])
        self.dense = nnx.Linear(8, 8, rngs=rngs)
        self.again = self.drops[0]  # shared

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(x)
        return x + self.again(self.dense(self.drops[0](x)))


def block() -> Block:
    return Block(nnx.Rngs(0, dropout=1))


def fingerprint(model: nnx.Module) -> Any:
    """Everything that is stored, and every static attribute."""
    graphdef, state = nnx.split(model)
    leaves = jax.tree_util.tree_leaves_with_path(nnx.as_pure(state))
    plain = [
        (jax.tree_util.keystr(p), np.asarray(jax.random.key_data(a) if is_key(a) else a).tobytes())
        for p, a in leaves
    ]
    return graphdef, plain


def is_key(a: Any) -> bool:
    return jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)


def parameters(model: nnx.Module) -> Any:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.as_pure(nnx.state(model, nnx.Param)))
    return [(jax.tree_util.keystr(p), np.asarray(a).tobytes()) for p, a in leaves]


def is_linear(path: Any, module: Any) -> bool:
    return isinstance(module, nnx.Linear)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "replace": surgery.replace,
    "set_rates": lambda m: surgery.set_rates(m, 0.15),
    "insert": lambda m: surgery.insert(m, is_linear, 0.5, rngs=nnx.Rngs(3)),
    "variables": lambda m: (
        surgery.replace(m),
        surgery.rates_as_variables(m, lambda p, d: "attention" not in p),
    ),
}
