"""Models that do with dropout what they should, and much that could be mistaken for a mistake."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop.linen import DropPath
from scripts.members._rnn import LinenRNN
from tests.flax.layers import LAYERS

WIDTH = 16


class Block(nn.Module):
    off: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        y = nn.Dropout(0.1, deterministic=self.off)(nn.relu(nn.Dense(WIDTH)(x)))
        return x + y, None


class Sound(nn.Module):
    """Batch norm and residuals in the right places; keys split for scan, vmap and shard_map."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        off = not train

        x = nn.BatchNorm(use_running_average=off)(nn.Dense(WIDTH)(x))
        x = nn.BatchNorm(use_running_average=off)(x + DropPath(0.1)(nn.Dense(WIDTH)(x), off))
        x = nn.Dropout(0.0)(x, deterministic=off)
        split: Any = {"params": True, "dropout": True}
        blocks = nn.scan(Block, variable_axes={"params": 0}, split_rngs=split, length=3)
        x, _ = blocks(off)(x)
        x = nn.vmap(nn.Dropout, variable_axes={}, split_rngs=split)(0.5, deterministic=off)(x)
        x = nn.remat(nn.Dropout)(0.3, deterministic=off, name="again")(x)
        attend = nn.MultiHeadDotProductAttention(
            2, dropout_rate=0.2, broadcast_dropout=False, deterministic=off
        )
        x = x + attend(nn.LayerNorm()(x))
        return self.by_hand(x, off) if train else x

    def by_hand(self, x: Any, off: bool) -> Any:
        keys = jax.random.split(self.make_rng("dropout"), 3)
        x = jnp.where(jax.random.bernoulli(keys[0], 0.9, x.shape), x / 0.9, 0)
        noise = jax.random.normal(keys[1], x.shape)

        def part(first: Any) -> Any:
            rows = jax.lax.dynamic_slice_in_dim(x, first, 4)
            return jaxdrop.dropout(keys[2], rows, 0.5, index_offset=(first,))

        x = jax.lax.map(part, jnp.arange(0, len(x), 4)).reshape(x.shape) + noise
        mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
        rows = PartitionSpec("data")

        def shard(key: Any, x: Any) -> Any:
            return jaxdrop.dropout(key, x, 0.5, mesh_axes=("data",))

        given = self.make_rng("dropout"), x
        return jax.shard_map(shard, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows)(
            *given
        )


class SoundNNX(nnx.Module):
    """Flax's and jaxdrop's dropouts and attention, a shared layer, a stack that is scanned."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)

        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stack(rngs: Any) -> Any:
            return nnx.Sequential(nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.Dropout(0.2, rngs=rngs))

        def attention(**options: Any) -> Any:
            return nnx.MultiHeadAttention(
                2, WIDTH, dropout_rate=0.2, broadcast_dropout=False, decode=False, rngs=rngs,
                **options,
            )  # fmt: skip

        self.norm = nnx.BatchNorm(WIDTH, rngs=rngs)
        self.attend = attention()
        self.ours = attention(attention_fn=jaxdrop.nnx.dot_product_attention)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.no_stream = jaxdrop.nnx.Dropout(0.5)
        self.stack = stack(rngs)

    def __call__(self, x: Any, rngs: nnx.Rngs) -> Any:
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def run(layer: Any, x: Any) -> Any:
            return x + layer(x)

        x = self.norm(x)
        x = self.drop(x + self.drop(nnx.relu(self.attend(x))))
        x = self.no_stream(x + self.ours(x), rngs=rngs)
        return run(self.stack, x)


class EveryLayer(nnx.Module):
    """Layers of the family, each with the input of its record."""

    def __init__(self, names: Sequence[str]) -> None:
        layers = [LAYERS[name].nnx(nnx.Rngs(seed)) for seed, name in enumerate(names)]
        self.layers = nnx.List(layers)

    def __call__(self, inputs: Any) -> Any:
        return [layer(x) for layer, x in zip(self.layers, inputs, strict=True)]


class EveryLinenLayer(nn.Module):
    """As ``EveryLayer``."""

    names: tuple[str, ...]

    @nn.compact
    def __call__(self, inputs: Any, train: bool) -> Any:
        found = []
        for name, x in zip(self.names, inputs, strict=True):
            layer = _IN_MODE[name, train].clone(parent=self, name=name)
            found.append(layer(x))
        return found


def _in_mode(layer: Any, train: bool) -> Any:
    outer = layer.linen()
    if isinstance(outer, LinenRNN):
        inner: Any = outer.cell
        return outer.clone(cell=inner.clone(deterministic=not train))
    return outer.clone(deterministic=not train)


_IN_MODE = {(n, on): _in_mode(layer, on) for n, layer in LAYERS.items() for on in (True, False)}
# Made by their records with an option that shares the mask of the examples.
SHARED = {"AlphaDropout", "DropPath"}
