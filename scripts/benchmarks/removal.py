"""scripts/bench removal: steps that leave out what is dropped, beside the dense and masked ones.

Each entry of ``CASES`` is a network with its whole SGD step: without dropout, with independent
masks (``jaxdrop.dropout``), and with what is dropped not computed. ``mlp`` has four hidden layers
of 4096 units, as many inputs, 16 outputs and a batch of 512; ``transformer mlp`` is the MLP of a
block, 512 wide and four times as wide inside, gelu, on 2048 tokens; ``stack`` has four blocks of a
ViT, 256 wide: branches that a half of the examples skip, and a half of the tokens that skips all
blocks. Rate 0.5, float32, the parameters donated. Steps take turns, so that what disturbs the
machine disturbs all of them; the ratios are medians over turns, over the dense step of the same
turn. FLOPs are those of the compiled step (``cost_analysis``), over the dense one's.

Promised on CPUs: with blocks of 64, the MLP's step takes at most 0.45 of the dense one's time and
0.32 of its FLOPs, and that of the transformer's MLP at most 0.65 of the time; the stack takes at
most 0.6. If one is broken, the exit status is 1.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxdrop

Loss = Callable[[jax.Array, Any, jax.Array], jax.Array]
"""Of (random key, parameters, inputs)."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Dropped units that are not computed, against dense steps and masks."""

    batch: int = 512
    width: int = 4096
    """Of the MLP's inputs and hidden layers."""
    tokens: int = 2048
    model: int = 512
    """Width of the transformer; its MLP is four times as wide inside."""
    images: int = 8
    """Examples of the stack of blocks, of 128 patches."""
    rate: float = 0.5
    turns: int = 7
    """How often each step is taken, for a median."""
    only: tuple[str, ...] = ()
    """Names of cases; all by default."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One network and its steps.

    Attributes:
      start: ``start(config) -> (parameters, inputs)``.
      losses: ``losses(config) -> {subject: loss}``, the first of them "dense".
      most: the greatest ratios that are promised, ``{subject: {"time": ..., "flops": ...}}``.
    """

    start: Callable[[Config], tuple[Any, jax.Array]]
    losses: Callable[[Config], Mapping[str, Loss]]
    most: Mapping[str, Mapping[str, float]]


def chain(sizes: Sequence[int], rows: int) -> tuple[Any, jax.Array]:
    """Draw the layers of an MLP of these sizes, and its inputs."""
    key = jax.random.key(0)
    layers = []
    for i, (n, m) in enumerate(zip(sizes, sizes[1:], strict=False)):
        kernel = jax.random.normal(jax.random.fold_in(key, i), (n, m)) * (2 / n) ** 0.5
        layers.append({"kernel": kernel, "bias": jnp.zeros(m)})
    return layers, jax.random.normal(jax.random.fold_in(key, len(sizes)), (rows, sizes[0]))


def masked(key: Any, x: jax.Array, rate: float, layers: Any, activation: Any) -> jax.Array:
    """The dense layers, with a mask of its own for each example."""
    for i, layer in enumerate(layers):
        x = x @ layer["kernel"]
        x = x + jnp.broadcast_to(layer["bias"], x.shape)
        if i < len(layers) - 1:
            x = jaxdrop.dropout(jax.random.fold_in(key, i), activation(x), rate)
    return x


def mlp_losses(config: Config, activation: Any, choices: Mapping[str, Any]) -> dict[str, Loss]:
    def squares(apply: Callable[..., jax.Array], **options: Any) -> Loss:
        return lambda key, layers, x: jnp.mean(
            apply(key, x, config.rate, layers, activation=activation, **options) ** 2
        )

    mlp = jaxdrop.unit_dropout_mlp
    losses = {"dense": squares(mlp, deterministic=True), "masked": squares(masked)}
    return losses | {name: squares(mlp, **choice) for name, choice in choices.items()}


def stack(config: Config) -> tuple[Any, jax.Array]:
    """Draw pre-norm transformer blocks like those of a ViT, and their inputs."""
    key, width = jax.random.key(0), 256
    shapes = {"qkv": (width, 3 * width), "out": (width, width)}
    shapes |= {"up": (width, 4 * width), "down": (4 * width, width)}
    blocks = []
    for i in range(4):
        keys = jax.random.split(jax.random.fold_in(key, i), len(shapes))
        blocks.append(
            {
                name: jax.random.normal(k, shape) / shape[0] ** 0.5
                for k, (name, shape) in zip(keys, shapes.items(), strict=True)
            }
        )
    return blocks, jax.random.normal(jax.random.fold_in(key, 4), (config.images, 128, width))


def attention(block: Any, h: jax.Array) -> jax.Array:
    q, k, v = jnp.split(jax.nn.standardize(h) @ block["qkv"], 3, axis=-1)
    heads = (*h.shape[:2], 4, -1)
    y = jax.nn.dot_product_attention(q.reshape(heads), k.reshape(heads), v.reshape(heads))
    return y.reshape(h.shape) @ block["out"]


def perceptron(block: Any, h: jax.Array) -> jax.Array:
    return jax.nn.gelu(jax.nn.standardize(h) @ block["up"]) @ block["down"]


def branches(drop: Callable[[Any, Any, jax.Array], jax.Array]) -> Loss:
    """A stack whose branches are dropped by ``drop(key, branch, h)``."""

    def loss(key: jax.Array, blocks: Any, h: jax.Array) -> jax.Array:
        for i, block in enumerate(blocks):
            for j, branch in enumerate((attention, perceptron)):
                one = jax.random.fold_in(key, 2 * i + j)
                h = h + drop(one, functools.partial(branch, block), h)
        return jnp.mean(h**2)

    return loss


def stack_losses(config: Config) -> dict[str, Loss]:
    dense = branches(lambda key, branch, h: branch(h))

    def skipping(key: jax.Array, blocks: Any, h: jax.Array) -> jax.Array:
        def layers(h: jax.Array, positions: jax.Array) -> jax.Array:
            for block in blocks:
                h = h + attention(block, h)
                h = h + perceptron(block, h)
            return h

        return jnp.mean(jaxdrop.token_skip(key, layers, h, config.rate) ** 2)

    return {
        "dense": dense,
        "masked": branches(lambda key, f, h: jaxdrop.drop_path(key, f(h), config.rate)),
        "drop_path_subset": branches(
            lambda key, f, h: jaxdrop.drop_path_subset(key, f, h, config.rate)
        ),
        "token_skip": skipping,
    }


CHOICES: dict[str, Any] = {
    "units": {},
    "blocks of 16": {"block_size": 16},
    "blocks of 64": {"block_size": 64},
    "contiguous": {"contiguous": True},
}
CASES: dict[str, Case] = {
    "mlp": Case(
        lambda c: chain([c.width] * 5 + [16], c.batch),
        lambda c: mlp_losses(c, jax.nn.relu, CHOICES),
        {"blocks of 64": {"time": 0.45, "flops": 0.32}},
    ),
    "transformer mlp": Case(
        lambda c: chain([c.model, 4 * c.model, c.model], c.tokens),
        lambda c: mlp_losses(c, jax.nn.gelu, CHOICES),
        {"blocks of 64": {"time": 0.65}},
    ),
    "stack": Case(
        stack, stack_losses, {"drop_path_subset": {"time": 0.6}, "token_skip": {"time": 0.6}}
    ),
}


def step(loss: Loss) -> Callable[..., Any]:
    """Return one step of SGD, (parameters, key, inputs) -> parameters."""

    def sgd(params: Any, key: Any, x: jax.Array) -> Any:
        grads = jax.grad(loss, argnums=1)(key, params, x)
        return jax.tree.map(lambda w, g: w - 1e-3 * g, params, grads)

    return sgd


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    unknown = set(config.only) - CASES.keys()
    if unknown:
        names = ", ".join(CASES)
        raise SystemExit(f"got {sorted(unknown)[0]!r} in only, expected one of: {names}")
    cases = []
    with console.status("") as status:
        for network in config.only or CASES:
            cases += measure(config, network, status.update)
    console.print(table(cases))
    console.print(verdict(cases))
    return cases


def measure(config: Config, network: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Time the steps of one network in turn."""
    case = CASES[network]
    start, x = case.start(config)
    key = jax.random.key(1)
    programs: dict[str, Any] = {}
    flops: dict[str, float] = {}
    for subject, loss in case.losses(config).items():
        say(f"{network}: compiling {subject}")
        donating = jax.jit(step(loss), donate_argnums=0)
        programs[subject] = donating.lower(start, key, x).compile()
        flops[subject] = float(programs[subject].cost_analysis()["flops"])
    taken: dict[str, list[float]] = {subject: [] for subject in programs}
    for turn in range(-1, config.turns):  # the first, to warm up, does not count
        say(f"{network}: turn {turn + 1} of {config.turns}")
        for subject, program in programs.items():
            params = jax.block_until_ready(jax.tree.map(jnp.copy, start))
            own = jax.random.fold_in(key, turn + 1)
            begin = time.perf_counter()
            jax.block_until_ready(program(params, own, x))
            taken[subject].append(time.perf_counter() - begin)
    seconds = {subject: np.array(times[1:]) for subject, times in taken.items()}
    return record(network, seconds, flops)


def record(
    network: str, seconds: Mapping[str, np.ndarray], flops: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return a case for the time of each step, and one for its FLOPs: ratios over the dense one."""
    milliseconds = {subject: float(np.median(times)) * 1e3 for subject, times in seconds.items()}
    over = {subject: times / seconds["dense"] for subject, times in seconds.items()}
    cases = []
    for subject in seconds:
        most = CASES[network].most.get(subject, {})
        for what, ratio, value in (
            ("time", float(np.median(over[subject])), {"ms": milliseconds[subject]}),
            ("flops", flops[subject] / flops["dense"], {"gflop": flops[subject] / 1e9}),
        ):
            promise = most.get(what)
            cases.append(
                {
                    "name": f"{network}, {subject}, {what}",
                    "ratio": ratio,
                    "promise": promise,
                    "kept": None if promise is None else ratio <= promise,
                    **value,
                }
            )
    return cases


def failed(cases: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a promise was broken."""
    return any(case["kept"] is False for case in cases)


def verdict(cases: Sequence[dict[str, Any]]) -> str:
    return "\n".join(
        f"{case['name']}: {case['ratio']:.2f} of dense, promised at most {case['promise']:g}: "
        f"{'kept' if case['kept'] else 'BROKEN'}"
        for case in cases
        if case["promise"] is not None
    )


SHOWN = {  # in docs/removal.md
    "mlp": ("masked", "units", "blocks of 64"),
    "transformer mlp": ("blocks of 64",),
    "stack": ("drop_path_subset", "token_skip"),
}


def markdown(cases: Sequence[dict[str, Any]]) -> str:
    """Return rows for docs/removal.md: ratios of time and of FLOPs."""
    ratios = {case["name"]: f"{case['ratio']:.2f}" for case in cases}
    return "\n".join(
        f"| {network} | {subject} | {ratios[f'{network}, {subject}, time']} | "
        f"{ratios[f'{network}, {subject}, flops']} |"
        for network, subjects in SHOWN.items()
        for subject in subjects
    )


def table(cases: Sequence[dict[str, Any]]) -> Table:
    out = Table(title="removal: SGD steps, medians of calls taken in turn")
    out.add_column("")
    for name in ("ms, or GFLOP", "of dense"):
        out.add_column(name, justify="right")
    for case in cases:
        value = case["ms"] if "ms" in case else case["gflop"]
        out.add_row(case["name"], f"{value:.1f}", f"{case['ratio']:.3f}")
    return out
