"""What the calls of the public functions are given: arrays, models, kinds."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxdrop
import jaxdrop.nnx
import jaxdrop.training

Kinds = Mapping[str, str | None]
KEY = jax.random.key(3)
ATTENTION_KINDS: Kinds = {
    **dict.fromkeys(["query", "key", "value"], "reals"),
    "bias": "reals or None",
    "mask": "pairs",
    "scale": "scale or None",
    "query_seq_lengths": "integers or None",
    "key_value_seq_lengths": "integers or None",
    "local_window_size": "sides of a window",
    "global_length": "sides of a window",
    "dropout_rate": "rate",
    "broadcast_dropout_dims": "dims",
    "is_causal": "static switch",
    "dropout_on": "choice",
    "method": "choice",
    "implementation": "choice or None",
    **dict.fromkeys(["block_q", "block_kv"], "count or None"),
}
X = jnp.linspace(0.5, 2.0, 12).reshape(3, 4)
KERNEL = jnp.ones((4, 2))
PARAMS = {"a": {"kernel": KERNEL, "log_sigma2": -KERNEL}}
P = np.full((3, 2, 4), 0.25)
CHAIN = [{"kernel": jnp.ones(shape)} for shape in [(4, 8), (8, 8), (8, 2)]]
CONVOLUTIONS = [{"kernel": jnp.ones(shape)} for shape in [(3, 1, 8), (3, 8, 8), (3, 8, 2)]]
CHAIN_KINDS = {"layers": "dicts", "block_size": "count", "deterministic": "static switch"}
Q = jnp.linspace(0.5, 2.0, 96).reshape(2, 3, 4, 4)
LABELS = np.array([0, 3])
EDGES = np.array([0, 1, 1, 2, 2, 0]), np.array([1, 0, 2, 1, 0, 2])
GRAPH_KINDS = {
    "graph": "graph",
    "padding_node": "token",
    "num_nodes": "count or None",
    "undirected": "static switch",
}
MASK = np.random.default_rng(0).random((64, 64)) < 0.5


def recurrent(carry: Any, x: Any) -> tuple[Any, Any]:
    return x + carry, x


def dropped(key: Any, x: Any) -> Any:
    return jaxdrop.dropout(key, x, 0.5)


def loss(variables: Any, batch: Any, key: Any = None) -> Any:
    return jnp.float32(0)


def scale(rate: Any) -> Any:
    return 2 * rate


def is_linear(path: Any, module: Any) -> bool:
    return isinstance(module, (nnx.Linear, nn.Dense))


class Fresh:
    """A model that is made for each call, since surgery changes it."""

    def __call__(self) -> Any:
        rngs = nnx.Rngs(0)
        return nnx.Sequential(nnx.Linear(2, 2, rngs=rngs), jaxdrop.nnx.Dropout(0.5, rngs=rngs))


class FreshAdapters(Fresh):
    """A model with an adapter."""

    def __call__(self) -> Any:
        return nnx.Sequential(nnx.LoRALinear(4, 3, lora_rank=2, rngs=nnx.Rngs(0)))


ADAPTED = FreshAdapters()
FRESH, TX = Fresh(), optax.sgd(0.1)
MESH = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])


class FreshState(Fresh):
    """A train state that is made for each call, since a run takes over its memory."""

    def __call__(self) -> Any:
        return jaxdrop.training.TrainState.create(
            apply_fn=recurrent, params=PARAMS, tx=TX, dropout_key=KEY
        )


FRESH_STATE = FreshState()


def fresh(function: Any) -> Callable[..., Any]:
    """Make the model of a call; go through what is a generator, or a context."""

    def run(**given: Any) -> Any:
        given = {name: v() if isinstance(v, Fresh) else v for name, v in given.items()}
        result = function(**given)
        if hasattr(result, "__enter__"):
            with result:
                Net().init({"params": KEY, "dropout": KEY}, X)
        return list(result) if inspect.isgenerator(result) else result

    return run


class Net(nn.Module):
    """A model to be changed by ``surgery.replaced`` and ``surgery.inserted``."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(2)(x))
