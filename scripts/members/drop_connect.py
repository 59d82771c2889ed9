"""DropConnect: Wan 2013."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._case import INVERTED, Case
from scripts.members._layer import ROWS, Layer
from scripts.members._panel import DRAWN_RATE, N, Panel, square
from scripts.members._record import Record
from scripts.members._timed import TIMED_RATE, Timed, plain


def permutation(x: Any) -> jax.Array:
    """A kernel with which sums of one weight and zeros are exact, whatever the compiler does."""
    return jnp.eye(5, dtype=x.dtype)[::-1]


def draw_dense(key: jax.Array) -> jax.Array:
    x, kernel = jnp.ones((N, 1)), jnp.ones((1, N))
    return jaxdrop.drop_connect_dense(key, x, DRAWN_RATE, kernel=kernel, per_example=True)


def dense(**options: Any) -> Callable[..., jax.Array]:
    return lambda key, x, w: jaxdrop.drop_connect_dense(key, x, TIMED_RATE, kernel=w, **options)


def layer(label: str = "", **options: Any) -> Layer:
    """A layer of 4 inputs and 3 outputs."""
    return Layer(
        "DropConnectDense",
        lambda rate=0.4: jaxdrop.linen.DropConnectDense(3, rate, deterministic=False, **options),
        lambda rngs, rate=0.4: jaxdrop.nnx.DropConnectLinear(4, 3, rate, rngs=rngs, **options),
        ROWS,
        nnx_name="DropConnectLinear",
        label=label,
        bad_input={"inputs": "features"},
        collects=bool(options.get("per_example")),
    )


RECORD = Record(
    section="Weights",
    after=None,
    method="DropConnect",
    paper="Wan 2013",
    one_decision_for="a weight, for the batch or for each example",
    mean_preserved="yes",
    variance_preserved="no",
    use_for="dense layers",
    not_for="biases",
    cases=(
        Case("drop_connect", INVERTED),
        Case(
            "drop_connect_dense",
            None,  # a sum of dropped weights
            options=lambda x: {"kernel": permutation(x)},
            test_time=lambda x: x @ permutation(x),
            split=(0, 1),
            diagonal=False,
            lean=False,  # the kernel is kept
        ),
        Case(
            "drop_connect_dense",
            None,
            label="per example",
            options=lambda x: {"kernel": permutation(x), "per_example": True},
            test_time=lambda x: x @ permutation(x),
            split=(0, 1),
            diagonal=False,
            lean=False,
            collects=True,
        ),
    ),
    layers=(
        layer(),
        layer("per example", per_example=True, chunk=1),
    ),
    panels=(
        Panel("drop_connect", "inputs", "units", square(jaxdrop.drop_connect)),
        Panel("drop_connect_dense, each", "examples", "units", draw_dense),
    ),
    timed=(
        Timed("drop_connect", plain(jaxdrop.drop_connect)),
        Timed("drop_connect_dense", dense(), "layer"),
        Timed("drop_connect_dense, per example", dense(per_example=True), "layer"),
        Timed(
            "drop_connect_dense, per example, 8 at a time",
            dense(per_example=True, chunk=8),
            "layer",
        ),
    ),
)
