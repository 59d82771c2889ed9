"""Loops over time around a recurrent cell, bare and with dropout, timed side by side."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.benchmarks import timing

RATE = 0.25
OVER_TIME: dict[Any, bool] = {"params": False, "dropout": False}

Loop = Callable[[Any, Any, jax.Array], Any]  # (parameters, key, x) -> y like x
Shape = tuple[int, int, int]  # sequences, steps, units


def linen_rnn(
    dropped: bool, shape: Shape, kind: Callable[..., Any] = nn.LSTMCell, variant: Any = "state"
) -> tuple[Any, Loop]:
    cell: Any = kind(shape[-1])
    if dropped:
        cell = jaxdrop.linen.RecurrentDropout(
            cell, RATE, input_rate=RATE, variant=variant, deterministic=False
        )
    rnn = nn.RNN(cell, split_rngs=OVER_TIME)
    params = nn.RNN(kind(shape[-1])).init(jax.random.key(0), jnp.ones(shape))
    return params, lambda params, key, x: rnn.apply(params, x, rngs={"dropout": key})


def nnx_rnn(
    dropped: bool, shape: Shape, kind: Callable[..., Any] = nnx.LSTMCell, variant: Any = "state"
) -> tuple[Any, Loop]:
    rngs = nnx.Rngs(0)
    cell: Any = kind(shape[-1], shape[-1], rngs=rngs)
    if dropped:
        cell = jaxdrop.nnx.RecurrentDropout(cell, RATE, input_rate=RATE, variant=variant, rngs=rngs)
    graph, *states = nnx.split(nnx.RNN(cell, rngs=rngs), nnx.Param, ...)
    params, rest = states

    def loop(params: Any, key: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params, rest, copy=True)(x)

    return params, loop


def scan(dropped: bool, shape: Shape) -> tuple[Any, Loop]:
    batch, _, units = shape
    module = nn.LSTMCell(units)
    start = module.initialize_carry(jax.random.key(0), (batch, units))
    params = module.init(jax.random.key(0), start, jnp.ones((batch, units)))

    def loop(params: Any, key: Any, x: jax.Array) -> jax.Array:
        def cell(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
            return module.apply(params, carry, x)  # type: ignore[return-value]  # flax says Any

        step = jaxdrop.recurrent_cell(key, cell, RATE, input_rate=RATE) if dropped else cell
        return jax.lax.scan(step, start, x.swapaxes(0, 1))[1].swapaxes(0, 1)

    return params, loop


LOOPS: dict[str, Callable[[bool, Shape], tuple[Any, Loop]]] = {
    "nn.RNN, LSTM": linen_rnn,
    "nn.RNN, LSTM, candidate": functools.partial(linen_rnn, variant="candidate"),
    "nn.RNN, GRU": functools.partial(linen_rnn, kind=nn.GRUCell),
    "nn.RNN, GRU, candidate": functools.partial(linen_rnn, kind=nn.GRUCell, variant="candidate"),
    "nn.RNN, SimpleCell": functools.partial(linen_rnn, kind=nn.SimpleCell),
    "nn.RNN, SimpleCell, candidate": functools.partial(
        linen_rnn, kind=nn.SimpleCell, variant="candidate"
    ),
    "nnx.RNN, LSTM": nnx_rnn,
    "nnx.RNN, LSTM, candidate": functools.partial(nnx_rnn, variant="candidate"),
    "nnx.RNN, GRU": functools.partial(nnx_rnn, kind=nnx.GRUCell),
    "nnx.RNN, GRU, candidate": functools.partial(nnx_rnn, kind=nnx.GRUCell, variant="candidate"),
    "lax.scan, LSTM": scan,
}


def times(mode: str, seconds: float, loops: Iterable[str], shape: Shape) -> dict[str, float]:
    """Return the median seconds of each loop: dropped under "name", bare under "name, bare"."""
    calls, parameters = {}, {}
    for loop in loops:
        for dropped in (False, True):
            name = loop if dropped else f"{loop}, bare"
            parameters[name], run = LOOPS[loop](dropped, shape)
            calls[name] = _call(mode, name, run)
    x = [jax.random.normal(jax.random.key(i), shape) for i in (1, 2)]
    inputs = [(jax.random.key(3), one, parameters) for one in x]
    return timing.medians(calls, inputs, x[0], seconds=seconds)


def _call(mode: str, name: str, loop: Loop) -> Callable[..., Any]:
    # The parameters are arguments: as constants they would be rearranged while compiling.
    if mode == "forward":
        return timing.into_buffer(lambda key, x, p: loop(p[name], key, x))

    def loss(params: Any, x: jax.Array, key: Any) -> jax.Array:
        return jnp.square(loop(params, key, x)).sum()

    gradient = jax.grad(loss, (0, 1))
    return timing.into_buffer(lambda key, x, p: gradient(p[name], x, key))
