"""The run that scripts/kills kills: a small NNX network with dropout and batch norm, through fit.

    python -m scripts.kill_worker FOLDER STEPS

When it comes to its end it writes FOLDER/final.json: a digest of every array of the state.
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

ROWS, BATCH, UNITS = 1000, 16, 256
SAVE_EVERY = 10


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


def train(folder: Path, steps: int) -> tuple[jt.NNXTrainState, list[dict[str, Any]]]:
    x = np.asarray(jax.random.normal(jax.random.key(0), (ROWS, 16)))
    data = {"x": x, "y": (x[:, :4] + x[:, 4:8]).argmax(axis=1).astype(np.int32)}
    tx = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    state = jt.NNXTrainState.from_model(Net(nnx.Rngs(0)), tx, jax.random.key(1))
    epochs, odd = divmod(steps, ROWS // BATCH)
    if odd or not epochs:
        raise ValueError(f"got {steps} steps, expected a multiple of {ROWS // BATCH}")
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
    )


def digests(state: Any) -> dict[str, str]:
    """Return the sha256 of each array by its path."""
    plain = jax.tree.map(
        lambda a: (
            jax.random.key_data(a) if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key) else a
        ),
        state,
    )
    return {
        jax.tree_util.keystr(path): hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
        for path, leaf in jax.tree_util.tree_leaves_with_path(plain)
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    final, _ = train(place, int(sys.argv[2]))
    (place / "final.json").write_text(json.dumps(digests(final)))
