"""A small transformer over bytes in Flax NNX, with dropout wherever a transformer has it.

It runs inside ``shard_map``, too, on a part of the batch and of the text: see ``SPLIT``.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P

import jaxdrop
from experiments._networks.feedforward import Choice
from jaxdrop.nnx import Dropout, DropPath, dot_product_attention

BYTES = 256
# How the parameters of a block lie on a mesh: heads and hidden units over "model" (Megatron).
RULES = {
    r"(qkv|up)/kernel$": P(None, "model"),
    r"(qkv|up)/bias$": P("model"),
    r"(attended|down)/kernel$": P("model", None),
}
# The mesh axes that split batch and text, where the model runs inside shard_map over them.
DATA, SEQUENCE = SPLIT = ("data", "sequence")


class Rate(nnx.Variable[jax.Array]):
    """A dropout rate that a schedule changes from step to step."""


def ring(q: Any, k: Any, v: Any, *, broadcast_dropout: bool, dropout_rng: Any, **given: Any) -> Any:
    """Attention to bytes on all devices; outside of ``shard_map`` what "jaxdrop" is."""
    assert not broadcast_dropout
    return jaxdrop.ring_attention(
        q, k, v, axis_name=SEQUENCE, mesh_axes=SPLIT, dropout_key=dropout_rng, **given
    )


Library = Literal["jaxdrop", "flax", "ring"]
ATTENTION: dict[Library, Callable[..., jax.Array]] = {
    "jaxdrop": dot_product_attention,
    "flax": nnx.dot_product_attention,
    "ring": ring,
}


def causal_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attend to what comes before."""
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


class Attention(nnx.Module):
    """Causal attention with dropout of its weights, a mask for each example and head.

    The rate is a number: flax's function compares it in Python.
    """

    def __init__(self, library: Library, rate: float, rngs: nnx.Rngs):
        self.library, self.rate, self.deterministic = library, rate, False
        self.rngs = rngs.attention.fork()

    def __call__(self, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return ATTENTION[self.library](
            q, k, v, is_causal=True, broadcast_dropout=False, dropout_rate=self.rate,
            dropout_rng=None if self.deterministic else self.rngs(),
            deterministic=self.deterministic,
        )  # fmt: skip


def perceptron(up: nnx.Linear, down: nnx.Linear, x: jax.Array) -> jax.Array:
    """Two dense layers."""
    return down(nnx.gelu(up(x)))


class HiddenDropout(nnx.Module):
    """``perceptron`` with dropout of its hidden units: by a mask for each byte, or left out."""

    def __init__(self, rate: float, choice: Choice | None, rngs: nnx.Rngs):
        self.rate, self.choice, self.deterministic = rate, choice, False
        self.rngs = rngs.hidden.fork()

    def __call__(self, up: nnx.Linear, down: nnx.Linear, x: jax.Array) -> jax.Array:
        if self.deterministic:
            return perceptron(up, down, x)
        if self.choice is None:
            return down(jaxdrop.dropout(self.rngs(), nnx.gelu(up(x)), self.rate))
        layers = [
            {"kernel": layer.kernel[...], "bias": jnp.asarray(layer.bias)} for layer in (up, down)
        ]
        return jaxdrop.unit_dropout_mlp(
            self.rngs(), x, self.rate, layers, activation=nnx.gelu, **self.choice._asdict()
        )


class Block(nnx.Module):
    """``x += drop_path(dropout(attention(norm(x)))); x += drop_path(dropout(mlp(norm(x))))``."""

    def __init__(self, width: int, heads: int, rate: Any, path_rate: Any, dtype: Any, rngs: Any):
        self.heads, self.width, self.dtype = heads, width, dtype

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, dtype=dtype, rngs=rngs)

        self.norm_attention = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.norm_mlp = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.qkv = linear(width, 3 * width)
        self.attended = linear(width, width)
        self.up = linear(width, 4 * width)
        self.down = linear(4 * width, width)
        self.drop_attention = Dropout(rate, rngs=rngs, mesh_axes=SPLIT)
        self.drop_mlp = Dropout(rate, rngs=rngs, mesh_axes=SPLIT)
        self.path_attention = DropPath(path_rate, rngs=rngs, mesh_axes=SPLIT)
        self.path_mlp = DropPath(path_rate, rngs=rngs, mesh_axes=SPLIT)
        self.attention: Any = causal_attention
        self.perceptron: Any = perceptron

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return x of shape (batch, time, width) after the block."""
        batch, time, width = x.shape
        # Heads first, so that a mesh that splits the columns splits heads.
        qkv = self.qkv(self.norm_attention(x)).reshape(batch, time, self.heads, 3, -1)
        q, k, v = (qkv[:, :, :, i] for i in range(3))
        y = self.attention(q, k, v).reshape(batch, time, width)
        x = x + self.path_attention(self.drop_attention(self.attended(y)))
        y = self.perceptron(self.up, self.down, self.norm_mlp(x))
        return x + self.path_mlp(self.drop_mlp(y))


class CharModel(nnx.Module):
    """Predict each next byte.

    Args:
      layers, width, heads, context: its size.
      rate: ``rate(step)`` of embeddings, attention outputs and MLPs, such as an optax schedule; a
        block's branches are dropped at the same rate times the block's share of the depth.
      dtype: of the computation; parameters stay float32.
      rngs: for parameters and masks.
      attention: the library that drops attention weights, and their rate; None for no such dropout.
      hidden: the rate of the MLPs' hidden units and how they are left out, where None stands for a
        mask; None for no such dropout.
    """

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        context: int,
        rate: Callable[[Any], Any],
        dtype: Any,
        rngs: nnx.Rngs,
        attention: tuple[Library, float] | None = None,
        hidden: tuple[float, Choice | None] | None = None,
    ):
        self.schedule = rate
        self.count = nnx.Variable(jnp.zeros((), jnp.int32))
        self.rate = Rate(jnp.zeros((), jnp.float32))
        self.path_rates = nnx.List([Rate(jnp.zeros((), jnp.float32)) for _ in range(layers)])
        self.bytes = nnx.Embed(BYTES, width, dtype=dtype, rngs=rngs)
        self.places = nnx.Embed(context, width, dtype=dtype, rngs=rngs)
        self.drop = Dropout(self.rate, rngs=rngs, mesh_axes=SPLIT)
        self.blocks = nnx.List(
            [Block(width, heads, self.rate, path, dtype, rngs) for path in self.path_rates]
        )
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, BYTES, dtype=dtype, rngs=rngs)
        if attention is not None:  # last, so that nothing else gets another key
            for block in self.blocks:
                block.attention = nnx.data(Attention(*attention, rngs))
        if hidden is not None:
            for block in self.blocks:
                block.perceptron = nnx.data(HiddenDropout(*hidden, rngs))

    def __call__(self, text: jax.Array) -> jax.Array:
        """Return float32 logits of shape (batch, time, 256) for int32 bytes (batch, time)."""
        places = self.places(first_place(text) + jnp.arange(text.shape[1]))
        x = self.drop(self.bytes(text) + jnp.broadcast_to(places, (len(text), *places.shape)))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x)).astype(jnp.float32)

    def begin_step(self) -> jax.Array:
        """Set the rates for a training step and count it; return the rate."""
        rate = jnp.asarray(self.schedule(self.count[...]), jnp.float32)
        self.rate[...] = rate
        for depth, path in enumerate(self.path_rates, 1):
            path[...] = rate * jnp.float32(depth / len(self.path_rates))
        self.count[...] = self.count[...] + 1
        return rate


def first_place(text: jax.Array) -> Any:
    """The place of the first byte that is here in its window."""
    inside = SEQUENCE in jax.sharding.get_abstract_mesh().manual_axes
    return jax.lax.axis_index(SEQUENCE) * text.shape[1] if inside else 0


def bits_per_byte(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the cross entropy of each byte in bits, of shape (batch, time)."""
    logs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    return -chosen / jnp.log(jnp.float32(2))
