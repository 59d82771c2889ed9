"""A classifier of digits that says when it does not know: rotation, calibration, other images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from scipy import ndimage

from experiments._data.images import Split
from jaxdrop import mc
from jaxdrop.nnx import Dropout
from jaxdrop.training import NNXTrainState, make_train_step

ANGLES = np.arange(0, 181, 15)
BATCH = 100
BINS = 10
SHOWN = 60  # samples of the turned digit that are kept for the picture


class Classifier(nnx.Module):
    """Two ReLU layers, dropout of one half after each; NNX, where ``feedforward.Net`` is Linen."""

    def __init__(self, units: int, rngs: nnx.Rngs):
        self.first = nnx.Linear(784, units, rngs=rngs)
        self.second = nnx.Linear(units, units, rngs=rngs)
        self.out = nnx.Linear(units, 10, rngs=rngs)
        self.drop_first = Dropout(0.5, rngs=rngs)
        self.drop_second = Dropout(0.5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.drop_first(nnx.relu(self.first(x)))
        return self.out(self.drop_second(nnx.relu(self.second(x))))


def train(data: Split[np.ndarray], key: jax.Array, units: int, epochs: int) -> Classifier:
    """Train by Adam; the last rows of an epoch that do not fill a batch are left out."""
    start_key, dropout_key, order_key = jax.random.split(key, 3)
    model = Classifier(units, nnx.Rngs(start_key))
    state = NNXTrainState.from_model(model, optax.adam(1e-3), dropout_key)
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)

    def loss(model: Any, rows: Any, key: Any) -> Any:
        logits = model(x[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

    step = make_train_step(loss, donate=False)

    @jax.jit
    def epoch(state: Any, number: Any) -> Any:
        order = jax.random.permutation(jax.random.fold_in(order_key, number), len(y))
        batches = order[: len(y) // BATCH * BATCH].reshape(-1, BATCH)
        return jax.lax.scan(step, state, batches)[0]

    for number in range(epochs):
        state = epoch(state, jnp.uint32(number))
    return state.to_model()


def rotate(image: np.ndarray) -> np.ndarray:
    """Return one row of pixels for each angle."""
    turned = [
        ndimage.rotate(image.reshape(28, 28), angle, reshape=False, order=1, mode="constant")
        for angle in ANGLES
    ]
    return np.clip(np.stack(turned).reshape(-1, 784), 0, 1).astype(np.float32)


def measure(
    model: Classifier,
    data: Split[np.ndarray],
    outside: np.ndarray | None,
    key: jax.Array,
    samples: int,
) -> dict[str, Any]:
    """Return what the samples say about test rows, a rotated digit, and images of another kind."""
    f = mc.sampler(model)
    turn_key, test_key, outside_key = jax.random.split(key, 3)

    def predict(key: jax.Array, x: np.ndarray) -> jax.Array:
        return jax.nn.softmax(mc.mc_predict(f, key, x, samples, chunk_size=10))

    digit = int(np.flatnonzero(data.y_test == 1)[0])
    turned = rotate(data.x_test[digit])
    spread = predict(turn_key, turned)
    p = predict(test_key, data.x_test)
    plain = jax.nn.softmax(model(data.x_test))
    numbers: dict[str, Any] = {
        "rotated": {
            "angles": ANGLES.tolist(),
            "images": np.round(255 * turned[::2]).astype(int).tolist(),
            "mean": np.asarray(spread.mean(0)).tolist(),
            "some_samples": np.asarray(spread[:SHOWN]).round(4).tolist(),
            "mutual_information": np.asarray(mc.mutual_information(spread)).tolist(),
            "predictive_entropy": np.asarray(mc.predictive_entropy(spread)).tolist(),
        },
        "test": {
            "weight_scaling": judge(plain, jnp.asarray(data.y_test)),
            "mc": judge(p.mean(0), jnp.asarray(data.y_test)),
        },
    }
    wrong = np.asarray(p.mean(0).argmax(-1)) != data.y_test
    entropy, information = mc.predictive_entropy(p), mc.mutual_information(p)
    numbers["test"]["auroc_of_errors"] = {
        "predictive_entropy": mc.auroc(entropy[~wrong], entropy[wrong]),
        "mutual_information": mc.auroc(information[~wrong], information[wrong]),
    }
    if outside is not None:
        q = predict(outside_key, outside)
        baseline = jax.nn.softmax(model(outside)).max(-1)
        numbers["outside"] = {
            "mutual_information": np.asarray(mc.mutual_information(q)).round(5).tolist(),
            "of_test_rows": np.asarray(information).round(5).tolist(),
            "auroc": {
                "mutual_information": mc.auroc(information, mc.mutual_information(q)),
                "predictive_entropy": mc.auroc(entropy, mc.predictive_entropy(q)),
                "confidence without sampling": mc.auroc(-plain.max(-1), -baseline),
            },
        }
    return numbers


def judge(p: jax.Array, labels: jax.Array) -> dict[str, Any]:
    """Return accuracy, proper scores, and calibration with its diagram."""
    count, confidence, accuracy = mc.reliability(p, labels, bins=BINS)
    kept = np.asarray(count) > 0
    return {
        "accuracy": float((p.argmax(-1) == labels).mean()),
        "nll": float(mc.negative_log_likelihood(p, labels)),
        "brier": float(mc.brier_score(p, labels)),
        "ece": float(mc.expected_calibration_error(p, labels, bins=BINS)),
        "debiased": float(mc.debiased_calibration_error(p, labels, bins=BINS)),
        "diagram": {
            "count": np.asarray(count)[kept].tolist(),
            "confidence": np.asarray(confidence)[kept].tolist(),
            "accuracy": np.asarray(accuracy)[kept].tolist(),
        },
    }
