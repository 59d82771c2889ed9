"""Layers around an RNN cell, run over time in Linen and in NNX."""

from typing import Any

import flax.linen as nn
import jax
from flax import nnx


def start(cell: Any, x: jax.Array, *, linen: bool) -> Any:
    """The first carry, marked as varying over the axis "a" inside ``shard_map``.

    A scan needs a carry of one type, and what depends on x or on the key varies.
    """
    shape = x[:, 0].shape
    key: Any = jax.random.key(0)
    carry = cell.initialize_carry(*((key, shape) if linen else (shape, nnx.Rngs(key))))
    if "a" not in jax.sharding.get_abstract_mesh().manual_axes:
        return carry
    return jax.tree.map(lambda c: jax.lax.pcast(c, "a", to="varying"), carry)


class LinenRNN(nn.Module):
    """A cell run over time, from a carry that is marked."""

    cell: nn.RNNCellBase
    split_rngs: Any

    def setup(self) -> None:
        self.rnn = nn.RNN(self.cell, split_rngs={"params": False, **self.split_rngs})

    def __call__(self, x: jax.Array) -> jax.Array:
        y: Any = self.rnn(x, initial_carry=start(self.cell, x, linen=True))
        return y


class NNXRNN(nnx.Module):
    """A cell run over time, from a carry that is marked."""

    def __init__(self, cell: nnx.RNNCellBase, rngs: nnx.Rngs):
        self.rnn = nnx.RNN(cell, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y: Any = self.rnn(x, initial_carry=start(self.rnn.cell, x, linen=False))
        return y
