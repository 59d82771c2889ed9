"""Two runs for scripts/kill_and_resume: a small NNX network through fit, and a sweep.

    python -m scripts.kill_worker fit|sweep FOLDER
    python -m scripts.kill_worker fit FOLDER --short    # one epoch, for a rehearsal

At its end it writes FOLDER/final.json: a digest of every array that came out.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxdrop
import jaxdrop.nnx
import jaxdrop.training as jt
from jaxdrop.training._typed_keys import words_of_keys

ROWS, BATCH, UNITS = 1000, 16, 256
EPOCHS, SAVE_EVERY = 5, 10
RUNS, LENGTH = 30, 2**21


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(16, UNITS, rngs=rngs)
        self.norm = nnx.BatchNorm(UNITS, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Linear(UNITS, UNITS, rngs=rngs)
        self.out = nnx.Linear(UNITS, 4, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.drop(nnx.relu(self.norm(self.first(x))))
        return self.out(self.drop(nnx.relu(self.second(x))))


def loss_fn(model: Net, batch: Any, key: jax.Array) -> Any:
    losses = optax.softmax_cross_entropy_with_integer_labels(model(batch["x"]), batch["y"])
    return losses.mean()


def correct(model: Net, batch: Any) -> dict[str, jax.Array]:
    right = jnp.argmax(model(batch["x"]), axis=-1) == batch["y"]
    return {"accuracy": right.astype(jnp.float32)}


def fit(folder: Path, epochs: int) -> jt.NNXTrainState:
    x = np.asarray(jax.random.normal(jax.random.key(0), (ROWS, 16)))
    data = {"x": x, "y": (x[:, :4] + x[:, 4:8]).argmax(axis=1).astype(np.int32)}
    tx = optax.adam(optax.cosine_decay_schedule(1e-3, epochs * (ROWS // BATCH)))
    state = jt.NNXTrainState.from_model(Net(nnx.Rngs(0)), tx, jax.random.key(1))
    return jt.fit(
        state,
        loss_fn,
        data,
        seed=0,
        epochs=epochs,
        batch_size=BATCH,
        folder=folder,
        metric_fn=correct,
        test={"x": data["x"][:200], "y": data["y"][:200]},
        save_every=SAVE_EVERY,
        log_every=1,
    )[0]


def sweep(folder: Path) -> jax.Array:
    def train(key: jax.Array, rate: jax.Array) -> jax.Array:
        def step(x: jax.Array, key: jax.Array) -> Any:
            return jnp.sin(jaxdrop.dropout(key, x, rate)), None

        return jax.lax.scan(step, jnp.ones(LENGTH), jax.random.split(key, 4))[0]

    found: list[Any] = []

    def on_chunk(runs: int, way: str) -> None:
        if runs > 1 and not found:
            print(f"Resuming from run {runs} of {RUNS}.", file=sys.stderr, flush=True)
        found.append(runs)

    axes = {"key": jax.random.split(jax.random.key(0), RUNS // 2), "rate": jnp.array([0.1, 0.5])}
    return jt.sweep(train, axes, vectorize="map", chunk=1, folder=folder, on_chunk=on_chunk)


def digests(state: Any) -> dict[str, str]:
    """Return the sha256 of each array by its path."""
    return {
        jax.tree_util.keystr(path): hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
        for path, leaf in jax.tree_util.tree_leaves_with_path(words_of_keys(state))
    }


if __name__ == "__main__":
    name, place, short = sys.argv[1], Path(sys.argv[2]), "--short" in sys.argv
    final = sweep(place) if name == "sweep" else fit(place, 1 if short else EPOCHS)
    (place / "final.json").write_text(json.dumps(digests(final)))
