"""Every Linen and NNX layer that draws, as data: how it is made, and an x for it.

A new layer is one entry here; those whose constructor takes a rate and options come from
``test_modules.MODULES``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import jaxdrop.linen as L
import jaxdrop.nnx as N
from tests.flax.test_modules import MODULES, nnx_class


class Layer(NamedTuple):
    """One layer in both libraries.

    Attributes:
      linen: ``linen() -> module`` in training.
      nnx: ``nnx(rngs) -> module`` in training.
      x: an example input.
    """

    linen: Callable[[], nn.Module]
    nnx: Callable[[nnx.Rngs], nnx.Module]
    x: jax.Array


ROWS = jnp.linspace(-1.5, 2.0, 12).reshape(3, 4)
SEQUENCES = jnp.linspace(-1.5, 2.0, 24).reshape(2, 3, 4)


def _member(name: str) -> Layer:
    _, x, options = MODULES[name]
    return Layer(
        lambda: getattr(L, name)(0.5, deterministic=False, **options),
        lambda rngs: getattr(N, name)(0.5, rngs=rngs, **options),
        x,
    )


def start(cell: Any, x: jax.Array, *, linen: bool) -> Any:
    """The first carry, marked as varying over the axis "a" inside ``shard_map``.

    A scan wants a carry of one type, and what follows from x or from the key varies.
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
        return self.rnn(x, initial_carry=start(self.cell, x, linen=True))


class NNXRNN(nnx.Module):
    """A cell run over time, from a carry that is marked."""

    def __init__(self, cell: nnx.RNNCellBase, rngs: nnx.Rngs):
        self.rnn = nnx.RNN(cell, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.rnn(x, initial_carry=start(self.rnn.cell, x, linen=False))


def _recurrent(cell: str, **options: Any) -> Layer:
    def linen() -> nn.Module:
        wrapped = L.RecurrentDropout(getattr(nn, cell)(4), 0.5, deterministic=False, **options)
        return LinenRNN(wrapped, {"dropout": False})

    def by_nnx(rngs: nnx.Rngs) -> nnx.Module:
        bare = getattr(nnx, cell)(4, 4, rngs=rngs)
        return NNXRNN(N.RecurrentDropout(bare, 0.5, rngs=rngs, **options), rngs)

    return Layer(linen, by_nnx, SEQUENCES)


def _with_features(name: str, rate: tuple[float, ...] = (), **options: Any) -> Layer:
    """A layer of 4 inputs and 3 outputs."""
    return Layer(
        lambda: getattr(L, name)(3, *rate, deterministic=False, **options),
        lambda rngs: nnx_class(name)(4, 3, *rate, rngs=rngs, **options),
        ROWS,
    )


LAYERS: dict[str, Layer] = {name: _member(name) for name in MODULES} | {
    "Dropout": Layer(
        lambda: L.Dropout(0.4, deterministic=False), lambda rngs: N.Dropout(0.4, rngs=rngs), ROWS
    ),
    "LayerDrop": Layer(
        lambda: L.LayerDrop(nn.Dense(4), 0.5, deterministic=False),
        lambda rngs: N.LayerDrop(nnx.Linear(4, 4, rngs=rngs), 0.5, rngs=rngs),
        ROWS,
    ),
    "DropConnectDense": _with_features("DropConnectDense", (0.4,)),
    "DropConnectDense, per example": _with_features(
        "DropConnectDense", (0.4,), per_example=True, chunk=1
    ),
    "ConcreteDropout": Layer(
        lambda: L.ConcreteDropout(0.3, deterministic=False),
        lambda rngs: N.ConcreteDropout(0.3, rngs=rngs),
        ROWS,
    ),
    "VariationalDropout": Layer(
        lambda: L.VariationalDropout(0.3, deterministic=False),
        lambda rngs: N.VariationalDropout(4, 0.3, rngs=rngs),
        ROWS,
    ),
    "VariationalDense": _with_features("VariationalDense", init_log_sigma2=-1.0),
    "VariationalConv": Layer(
        lambda: L.VariationalConv(3, (2,), deterministic=False, init_log_sigma2=-1.0),
        lambda rngs: N.VariationalConv(4, 3, (2,), init_log_sigma2=-1.0, rngs=rngs),
        SEQUENCES,
    ),
    "RecurrentDropout": _recurrent("LSTMCell", input_rate=0.4),
    "RecurrentDropout, one state": _recurrent("GRUCell", input_rate=0.4),
    "RecurrentDropout, candidate": _recurrent("GRUCell", variant="candidate"),
    "Zoneout": Layer(
        lambda: LinenRNN(
            L.Zoneout(nn.LSTMCell(4), (0.5, 0.2), deterministic=False), {"zoneout": True}
        ),
        lambda rngs: NNXRNN(N.Zoneout(nnx.LSTMCell(4, 4, rngs=rngs), (0.5, 0.2), rngs=rngs), rngs),
        SEQUENCES,
    ),
}
