"""Sparse variational dropout: Molchanov 2017."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import Case, Normal
from scripts.members._layer import ROWS, SEQUENCES, Layer
from scripts.members._panel import N, Panel
from scripts.members._record import Record
from scripts.members._timed import Timed
from scripts.members.drop_connect import permutation

LOG_ALPHA = -1.5
STD = math.exp(LOG_ALPHA / 2)


def noisy(x: Any) -> dict[str, Any]:
    return {"kernel": permutation(x), "log_sigma2": jnp.full_like(permutation(x), LOG_ALPHA)}


def noisy_window(x: Any) -> dict[str, Any]:
    kernel = jnp.stack([0 * permutation(x), permutation(x), 0 * permutation(x)])
    return {"kernel": kernel, "log_sigma2": jnp.full_like(kernel, LOG_ALPHA)}


def spread(x: np.ndarray) -> np.ndarray:
    """The standard deviation that a window of three positions gives, by NumPy."""
    squares = np.pad((x**2).sum(-1, keepdims=True), ((0, 0), (1, 1), (0, 0)))
    window = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    return np.sqrt(window * math.exp(LOG_ALPHA))


NOISY_WEIGHTS: dict[str, Any] = dict(
    test_time=lambda x: x @ permutation(x),
    rate_one=None,
    diagonal=False,
    lean=False,
    affine=False,
    rated=False,
    traced_rate=False,
    complex_input=False,
)


def draw(key: jax.Array) -> jax.Array:
    variance = jnp.linspace(-6, 0, N)[None]  # of a weight for each unit
    return jaxdrop.variational_dense(key, jnp.ones((N, 1)), jnp.ones((1, N)), variance)


RECORD = Record(
    section="Weights",
    after="weight_drop",
    method="sparse variational dropout",
    paper="Molchanov 2017",
    one_decision_for="a weight, by way of the outputs",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="pruning",
    not_for="training without its KL term",
    cases=(
        Case(
            "variational_dense",
            Normal(
                mean=lambda x, _: x[..., ::-1],
                std=lambda x, _: (x**2).sum(-1, keepdims=True) ** 0.5 * STD + 0 * x,
            ),
            options=noisy,
            split=(0, 1),
            **NOISY_WEIGHTS,
        ),
        Case(
            "variational_conv",
            Normal(mean=lambda x, _: x[..., ::-1], std=lambda x, _: spread(x) + 0 * x),
            options=noisy_window,
            split=(0,),  # along the others a convolution reads its neighbours
            **NOISY_WEIGHTS,
        ),
    ),
    layers=(
        Layer(
            "VariationalDense",
            lambda: jaxdrop.linen.VariationalDense(3, deterministic=False, init_log_sigma2=-1.0),
            lambda rngs: jaxdrop.nnx.VariationalLinear(4, 3, init_log_sigma2=-1.0, rngs=rngs),
            ROWS,
            nnx_name="VariationalLinear",
            bad_input={"inputs": "features"},
        ),
        Layer(
            "VariationalConv",
            lambda: jaxdrop.linen.VariationalConv(
                3, (2,), deterministic=False, init_log_sigma2=-1.0
            ),
            lambda rngs: jaxdrop.nnx.VariationalConv(4, 3, (2,), init_log_sigma2=-1.0, rngs=rngs),
            SEQUENCES,
            bad_input={"inputs": "features"},
        ),
    ),
    panels=(Panel("variational_dense", "examples", "learned variance", draw),),
    timed=(
        Timed(
            "variational_dense",
            lambda key, x, w: jaxdrop.variational_dense(key, x, w, w - 8),
            "layer",
        ),
    ),
)
