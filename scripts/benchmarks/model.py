"""scripts/bench model: the training step of a small transformer, dropout at the usual places.

Four pre-norm blocks, 256 wide, 4 heads, sequences of 256 tokens, 8 a batch, 1024 tokens in the
vocabulary, causal attention, Adam. Dropout at rate 0.1 on the embeddings, on the output of
attention and on that of the MLP: 9 masks a step. The whole step is one jitted function that gives
loss, gradients, and the next parameters and state; a key per step by ``fold_in``. In bfloat16,
activations and matmuls are bfloat16, parameters and Adam's state float32.

"flax, fast key" is flax's layer with bits of ``jaxdrop.fast_prng_impl``. Each figure is a ratio of
medians of the same run, over the step without dropout: the four take turns, in an order that
rotates, each step waited for.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from scripts.benchmarks import peers

TX = optax.adam(1e-3)
SUBJECTS: dict[str, peers.Apply] = {
    "no dropout": lambda key, x: x,
    "jaxdrop": peers.drop,
    "flax": peers.flax_linen,
    "flax, fast key": peers.with_fast_key(peers.flax_linen),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """A transformer's training step without dropout, with jaxdrop's and with flax's."""

    seconds: float = 60.0
    """Time per dtype, shared by all four, after compiling."""
    layers: int = 4
    """Blocks."""
    width: int = 256
    heads: int = 4
    length: int = 256
    """Tokens in a sequence."""
    batch: int = 8
    """Sequences in a step."""
    vocabulary: int = 1024
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


def parameters(key: jax.Array, config: Config) -> dict[str, Any]:
    """Draw the parameters, in float32."""
    width = config.width
    shapes = {"qkv": (width, 3 * width), "out": (width, width)}
    shapes |= {"up": (width, 4 * width), "down": (4 * width, width)}
    keys = iter(jax.random.split(key, config.layers * len(shapes) + 2))
    draw = lambda shape: jax.random.normal(next(keys), shape) / width**0.5  # noqa: E731
    return {
        "tokens": draw((config.vocabulary, width)),
        "places": draw((config.length, width)),
        "blocks": [{n: draw(s) for n, s in shapes.items()} for _ in range(config.layers)],
    }


def norm(x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    return jax.nn.standardize(wide, epsilon=1e-5).astype(x.dtype)


def attention(x: jax.Array, qkv: jax.Array, out: jax.Array, heads: int) -> jax.Array:
    batch, length, width = x.shape
    parts = jnp.split((x @ qkv).reshape(batch, length, heads, -1), 3, axis=-1)
    mixed = jax.nn.dot_product_attention(*parts, is_causal=True)
    return mixed.reshape(batch, length, width) @ out


def logits(
    params: dict[str, Any], tokens: jax.Array, key: jax.Array, drop: peers.Apply, dtype: Any,
    heads: int,
) -> jax.Array:  # fmt: skip
    params = jax.tree.map(lambda p: p.astype(dtype), params)
    keys = iter(jax.random.split(key, 2 * len(params["blocks"]) + 1))
    x = drop(next(keys), params["tokens"][tokens] + params["places"][None])
    for block in params["blocks"]:
        x = x + drop(next(keys), attention(norm(x), block["qkv"], block["out"], heads))
        x = x + drop(next(keys), jax.nn.gelu(norm(x) @ block["up"]) @ block["down"])
    return (norm(x) @ params["tokens"].T).astype(jnp.float32)


def make_step(drop: peers.Apply, dtype: Any, heads: int) -> Callable[..., Any]:
    """Return a jitted step whose parameters and state are donated."""

    def loss(params: dict[str, Any], tokens: jax.Array, key: jax.Array) -> jax.Array:
        out = logits(params, tokens[:, :-1], key, drop, dtype, heads)
        return optax.softmax_cross_entropy_with_integer_labels(out, tokens[:, 1:]).mean()

    def step(params: Any, state: Any, tokens: jax.Array, key: jax.Array, i: jax.Array) -> Any:
        value, by = jax.value_and_grad(loss)(params, tokens, jax.random.fold_in(key, i))
        updates, state = TX.update(by, state, params)
        return optax.apply_updates(params, updates), state, value

    return jax.jit(step, donate_argnums=(0, 1))


class Runner:
    """One of the four in training: every call is a step, and is waited for."""

    def __init__(self, drop: peers.Apply, dtype: Any, config: Config):
        keys = jax.random.split(jax.random.key(0), 3)
        self.params = parameters(keys[0], config)
        self.state = TX.init(self.params)
        shape = config.batch, config.length + 1
        self.tokens = jax.random.randint(keys[1], shape, 0, config.vocabulary)
        self.key, self.step, self.i = keys[2], make_step(drop, dtype, config.heads), 0

    def __call__(self) -> float:
        """Take a step; return its seconds."""
        start = time.perf_counter()
        self.params, self.state, self.loss = jax.block_until_ready(
            self.step(self.params, self.state, self.tokens, self.key, np.int32(self.i))
        )
        self.i += 1
        return time.perf_counter() - start


def record(dtype: str, taken: dict[str, list[float]]) -> dict[str, Any]:
    """Summarise the steps of one dtype."""
    base = np.array(taken["no dropout"])
    medians = {name: float(np.median(times)) for name, times in taken.items()}
    return {
        "dtype": dtype,
        "turns": len(base),
        "ms": {name: median * 1e3 for name, median in medians.items()},
        "times_no_dropout": {n: m / medians["no dropout"] for n, m in medians.items()},
        "quartiles": {
            name: [float(q) for q in np.quantile(np.array(times) / base, (0.25, 0.75))]
            for name, times in taken.items()
        },
    }


def measure(dtype: str, config: Config, least: int = 5) -> dict[str, Any]:
    runners = {name: Runner(drop, dtype, config) for name, drop in SUBJECTS.items()}
    for runner in runners.values():
        runner(), runner()  # compiles, and takes the memory
    taken: dict[str, list[float]] = {name: [] for name in runners}
    names, stop = list(runners), time.perf_counter() + config.seconds
    while len(taken[names[-1]]) < least or time.perf_counter() < stop:
        for name in names:
            taken[name].append(runners[name]())
        names = names[1:] + names[:1]
    for name, runner in runners.items():
        if not np.isfinite(runner.loss):
            raise FloatingPointError(f"{name}: got loss {runner.loss}, expected a finite one")
    return record(dtype, taken)


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    cases = []
    for dtype in config.dtypes:
        with console.status(f"{dtype}, {config.seconds:g} s and compiling"):
            cases.append(measure(dtype, config))
    console.print(table(cases))
    return cases


def table(cases: Sequence[dict[str, Any]]) -> Table:
    out = Table(title="a training step, times that without dropout (medians, measured in turn)")
    for name in ("", "no dropout, ms", *cases[0]["ms"], "turns"):
        if name != "no dropout":
            out.add_column(name, justify="right" if name else "left")
    for case in cases:
        cells = [
            f"{ratio:.3f}\n{case['quartiles'][name][0]:.2f}-{case['quartiles'][name][1]:.2f}"
            for name, ratio in case["times_no_dropout"].items()
            if name != "no dropout"
        ]
        out.add_row(case["dtype"], f"{case['ms']['no dropout']:.0f}", *cells, str(case["turns"]))
    return out


COLUMNS = ("jaxdrop", "flax", "flax, fast key")


def markdown(cases: Sequence[dict[str, Any]]) -> str:
    """The table as README shows it: one row per dtype, one column per dropout."""
    rows = [["", "no dropout, ms", *COLUMNS], ["---", *("---:" for _ in range(len(COLUMNS) + 1))]]
    for case in cases:
        ratios = (f"{case['times_no_dropout'][column]:.2f}" for column in COLUMNS)
        rows.append([f"step, {case['dtype']}", f"{case['ms']['no dropout']:.0f}", *ratios])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
