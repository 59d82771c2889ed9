"""A small run through fit that the tests of this folder share, for Linen and NNX."""

import hashlib
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
import jaxdrop.training as jt

X = np.asarray(jax.random.normal(jax.random.key(100), (70, 6)))
DATA = {"x": X, "y": X[:, :3].argmax(axis=1).astype(np.int32)}
TEST = {"x": X[:21], "y": DATA["y"][:21]}
STEPS = 4  # in an epoch: 70 rows in batches of 16


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(nn.Dense(8)(x))
        return nn.Dense(3)(jaxdrop.linen.Dropout(0.5, deterministic=not train)(x))


class NNXNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.drop(nnx.relu(self.norm(self.first(x)))))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def linen_loss(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
    logits: Any = LinenNet().apply(variables, batch["x"], train=True, rngs={"dropout": key})
    return cross_entropy(logits, batch["y"]).mean()


def linen_metric(variables: Any, batch: Any) -> Any:
    logits: Any = LinenNet().apply(variables, batch["x"], train=False)
    return {"test_loss": cross_entropy(logits, batch["y"])}


def nnx_loss(model: NNXNet, batch: Any, key: jax.Array) -> Any:
    return cross_entropy(model(batch["x"]), batch["y"]).mean(), {"one": jnp.ones(())}


def nnx_metric(model: NNXNet, batch: Any) -> Any:
    return {"test_loss": cross_entropy(model(batch["x"]), batch["y"])}


def linen_state(key: Any = None) -> jt.TrainState:
    return jt.TrainState.create(
        apply_fn=LinenNet().apply,
        params=LinenNet().init(jax.random.key(0), X[:1], train=False)["params"],
        tx=optax.sgd(0.1, momentum=0.9),
        dropout_key=jax.random.key(1) if key is None else key,
    )


def nnx_state(key: Any = None) -> jt.NNXTrainState:
    return jt.NNXTrainState.from_model(
        NNXNet(nnx.Rngs(0)), optax.sgd(0.1, momentum=0.9), jax.random.key(1) if key is None else key
    )


KINDS = {
    "linen": (linen_state, linen_loss, linen_metric),
    "nnx": (nnx_state, nnx_loss, nnx_metric),
}


def run(
    kind: str = "linen", folder: Path | None = None, *, state: Any = None, **options: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """Call fit on the small data; options go before its settings here."""
    make_state, loss_fn, metric_fn = KINDS[kind]
    settings: dict[str, Any] = {
        "data": DATA,
        "seed": 0,
        "epochs": 3,
        "batch_size": 16,
        "folder": folder,
        "metric_fn": metric_fn,
        "test": TEST,
        "save_every": 3,
        "log_every": 1,
        "tick": lambda n: None,
    } | options
    return jt.fit(make_state() if state is None else state, loss_fn, **settings)


def numbers(state: Any) -> list[np.ndarray]:
    """Return all arrays of a state, keys as their words."""
    return [
        np.asarray(jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a)
        for a in jax.tree.leaves(state)
    ]


def same(a: Any, b: Any) -> bool:
    return all(map(np.array_equal, numbers(a), numbers(b))) and len(numbers(a)) == len(numbers(b))


def contents(folder: Path) -> dict[str, str]:
    """Return every file below a folder and the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
