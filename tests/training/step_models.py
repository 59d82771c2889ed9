"""Two small models and their train states, for the tests of one training step."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
import jaxdrop.training as jt

X = jax.random.normal(jax.random.key(100), (16, 6))
Y = jnp.arange(16) % 3
BATCH = {"x": X, "y": Y}


class LinenMLP(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = jaxdrop.linen.Dropout(0.2, deterministic=not train)(x)
        x = nn.relu(nn.Dense(8)(x))
        if self.norm:
            x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(3)(jaxdrop.linen.Dropout(0.5, deterministic=not train)(x))


class NNXMLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, norm: bool = False, make: Any = jaxdrop.nnx.Dropout):
        self.drop_in = make(0.2, rngs=rngs)
        self.first = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs) if norm else None
        self.drop = make(0.5, rngs=rngs)
        self.second = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.first(self.drop_in(x)))
        if self.norm is not None:
            x = self.norm(x)
        return self.second(self.drop(x))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def linen_loss(variables: Any, batch: Any, key: jax.Array) -> Any:
    logits: Any = LinenMLP().apply(variables, batch["x"], train=True, rngs={"dropout": key})
    return cross_entropy(logits, batch["y"]), {"logits": logits}


def nnx_loss(model: NNXMLP, batch: Any, key: jax.Array) -> Any:
    logits = model(batch["x"])
    return cross_entropy(logits, batch["y"]), {"logits": logits}


def linen_state(seed: int = 0) -> jt.TrainState:
    params = LinenMLP().init(jax.random.key(0), X, train=False)["params"]
    return jt.TrainState.create(
        apply_fn=LinenMLP().apply,
        params=params,
        tx=optax.sgd(0.1, momentum=0.9),
        dropout_key=jax.random.key(seed),
    )


def nnx_state(seed: int = 0, **kwargs: Any) -> jt.NNXTrainState:
    model = NNXMLP(nnx.Rngs(0), **kwargs)
    return jt.NNXTrainState.from_model(model, optax.sgd(0.1, momentum=0.9), jax.random.key(seed))


BOTH = pytest.mark.parametrize(
    "make_state, loss_fn", [(linen_state, linen_loss), (nnx_state, nnx_loss)], ids=["linen", "nnx"]
)
Make = Callable[..., jt.TrainState]
Loss = Callable[..., Any]


def trace(loss_fn: Loss, state: jt.TrainState) -> Any:
    return jax.eval_shape(jt.make_train_step(loss_fn, donate=False), state, BATCH)
