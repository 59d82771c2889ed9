"""Draw digits with classifier-free guidance: what the rate at which labels are dropped does.

Question: how often should a conditional generator be trained without its condition? Ho & Salimans
(Classifier-Free Diffusion Guidance, 2022) replace the label by a null one in 10 to 20% of the
examples, and at sampling move away from the prediction without label by a guidance scale. Here a
flow of 8x8 digits (flow matching, Lipman et al., ICLR 2023) is trained with
``jaxdrop.condition_dropout`` at several rates. Measured, for each rate and scale: how many drawn
digits a classifier of real digits takes for what was asked, and how much the digits of a class
differ, in mean distance, beside real ones.

    scripts/run guidance [--out DIR] [--seeds N]

Expected: a larger scale makes digits more recognisable and more alike; without guidance (scale 1) a
higher rate costs recognition; at a rate of 0 the null label was never seen, and guidance does harm.
Measured (three seeds, results/guidance/result.json): the first two. The third does not show in
these two measures on digits that are so easy: guidance by an untrained null label is as
recognisable.
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import jaxdrop
from experiments._data.images import data_digest, load
from experiments._harness.settings import check_counts, check_rates, check_seeds, refuse
from experiments._harness.summary import Summary
from experiments._harness.tick import Tick, silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NULL = 10  # the label that stands for none
BATCH = 128
EULER = 40  # steps from noise to digit
ADAM = optax.adam(1e-3)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """First seed; the others count up from it."""
    seeds: int = 3
    """Number of networks for each rate."""
    rates: tuple[float, ...] = (0.0, 0.1, 0.2, 0.5)
    """Probabilities of replacing a label by the null one."""
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Guidance scales; 1 is the conditional prediction itself."""
    units: int = 256
    """Units of each of the three hidden layers."""
    steps: int = 3000
    """Training steps."""
    drawn: int = 50
    """Digits of each class that are drawn."""


class Flow(nn.Module):
    """The velocity at a point, a time and a label."""

    units: int

    @nn.compact
    def __call__(self, x: Any, t: Any, labels: Any) -> Any:
        waves = t[:, None] * jnp.pi * 2.0 ** jnp.arange(6)[None]
        label = nn.Embed(NULL + 1, 32)(labels)
        h = jnp.concatenate([x, jnp.sin(waves), jnp.cos(waves), label], axis=-1)
        for _ in range(3):
            h = nn.silu(nn.Dense(self.units)(h))
        return nn.Dense(x.shape[-1])(h)


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds", "units", "steps", "drawn")
    check_seeds(config)
    check_rates(config, "rates")
    right = all(type(s) in (int, float) and 0 <= s < math.inf for s in config.scales)
    if not config.scales or not right:
        refuse("scales", config.scales, "numbers of 0 or more")


def ticks(config: Config) -> int:
    return config.seeds * len(config.rates)


@functools.partial(jax.jit, static_argnames=("units", "steps"))
def train(key: Any, rate: Any, x: Any, y: Any, *, units: int, steps: int) -> Any:
    """Return the parameters of a flow from normal noise (time 0) to digits (time 1)."""
    net, (start_key, step_key) = Flow(units), jax.random.split(key)
    params = net.init(start_key, x[:1], jnp.zeros(1), y[:1])

    def loss(params: Any, key: Any) -> Any:
        row_key, noise_key, time_key, drop_key = jax.random.split(key, 4)
        rows = jax.random.randint(row_key, (BATCH,), 0, len(y))
        noise, t = jax.random.normal(noise_key, (BATCH, 64)), jax.random.uniform(time_key, (BATCH,))
        labels = jaxdrop.condition_dropout(drop_key, y[rows], rate, null=NULL)
        at = noise + t[:, None] * (x[rows] - noise)
        wrong: Any = net.apply(params, at, t, labels) - (x[rows] - noise)
        return jnp.square(wrong).mean()

    def step(carry: Any, number: Any) -> tuple[Any, None]:
        params, state = carry
        grads = jax.grad(loss)(params, jax.random.fold_in(step_key, number))
        updates, state = ADAM.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, ADAM.init(params)), jnp.arange(steps))[0][0]


@functools.partial(jax.jit, static_argnames=("units",))
def draw_digits(params: Any, key: Any, labels: Any, scale: Any, *, units: int) -> Any:
    """Follow ``v(null) + scale (v(label) - v(null))`` from noise, by Euler's steps."""
    net = Flow(units)

    def step(x: Any, t: Any) -> tuple[Any, None]:
        times = jnp.full(labels.shape, t)
        free: Any = net.apply(params, x, times, jnp.full_like(labels, NULL))
        asked: Any = net.apply(params, x, times, labels)
        return x + (free + scale * (asked - free)) / EULER, None

    noise = jax.random.normal(key, (len(labels), 64))
    return jax.lax.scan(step, noise, jnp.arange(EULER) / EULER)[0]


def spread(x: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean distance of two digits of one class."""
    found = []
    for label in range(10):
        mine = x[labels == label]
        squares = np.square(mine[:, None] - mine[None]).sum(-1)
        found.append(np.sqrt(squares).sum() / (len(mine) * (len(mine) - 1)))
    return float(np.mean(found))


def run(config: Config, tick: Tick = silent) -> dict[str, Any]:
    """Train at every rate, draw at every scale; return {"numbers": ..., "digests": ...}."""
    from sklearn.svm import SVC

    data = load("digits")
    judge = SVC().fit(data.x_train, data.y_train)
    x, y = jnp.asarray(2 * data.x_train - 1), jnp.asarray(data.y_train)
    labels = jnp.repeat(jnp.arange(10, dtype=jnp.int32), config.drawn)
    numbers: dict[str, Any] = {
        "real": {
            "recognised": float(judge.score(data.x_test, data.y_test)),
            "spread": spread(data.x_test, data.y_test),
        },
        **{field: np.zeros((len(config.rates), len(config.scales), config.seeds)) for field in
           ("recognised", "spread")},
    }  # fmt: skip
    for s, seed in enumerate(range(config.seed, config.seed + config.seeds)):
        train_key, draw_key = jax.random.split(jax.random.key(seed))
        for i, rate in enumerate(config.rates):
            key = jax.random.clone(train_key)  # the same start and rows for every rate
            params = train(key, rate, x, y, units=config.units, steps=config.steps)
            for j, scale in enumerate(config.scales):
                key = jax.random.clone(draw_key)
                digits = draw_digits(params, key, labels, scale, units=config.units)
                found = np.clip((np.asarray(digits) + 1) / 2, 0, 1)
                numbers["recognised"][i, j, s] = judge.score(found, np.asarray(labels))
                numbers["spread"][i, j, s] = spread(found, np.asarray(labels))
            tick()
    stored = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in numbers.items()}
    return {"numbers": stored, "digests": {"data": data_digest(data)}}


def show(result: dict[str, Any], console: Console) -> None:
    """Print, for each rate and scale, what is recognised and how much a class varies."""
    numbers, config = result["numbers"], result["config"]
    table = Table(title="Recognised, and spread of a class beside that of real digits")
    for column in ("rate", *(f"scale {scale:g}" for scale in config["scales"])):
        table.add_column(column, justify="right")
    for i, rate in enumerate(config["rates"]):
        pairs = zip(*(np.mean(numbers[f][i], axis=-1) for f in ("recognised", "spread")),
                    strict=True)  # fmt: skip
        real = numbers["real"]["spread"]
        table.add_row(f"{rate:g}", *(f"{100 * r:.1f}%, {d / real:.2f}" for r, d in pairs))
    console.print(table)


def readme_line(result: dict[str, Any]) -> Summary:
    """Return the line of experiments/README.md: each rate at the smallest and the largest scale."""
    numbers, config = result["numbers"], result["config"]
    order = np.argsort(config["scales"])
    ours, found_gains = [], []
    for rate, found in zip(config["rates"], numbers["recognised"], strict=True):
        low, high = (100 * np.asarray(found[i]) for i in (order[0], order[-1]))
        ours.append(f"{low.mean():.1f}% → {high.mean():.1f}% at {rate:g}")
        found_gains.append(high - low)
    gains, seeds = np.asarray(found_gains), config["seeds"]
    errors = gains.std(axis=1, ddof=1) / math.sqrt(seeds) if seeds > 1 else math.inf
    sure = (gains.mean(axis=1) > 2 * errors).all()
    return Summary(
        "How often should the label be dropped, for guidance?",
        "Ho & Salimans 2022",
        "10 to 20% of the labels; guidance trades variety for recognition",
        f"recognised at scale {min(config['scales']):g} → {max(config['scales']):g}: "
        + ", ".join(ours),
        f"guidance is recognised more at every rate: {'yes' if sure else 'undecided'} "
        "(by two standard errors)",
    )


def draw(result: dict[str, Any], figure: "Figure") -> None:
    """Draw recognition against diversity: a line for each rate, a dot for each scale."""
    numbers, config = result["numbers"], result["config"]
    figure.set_size_inches(7, 4.6)
    axes = figure.subplots()
    real = numbers["real"]["spread"]
    for i, rate in enumerate(config["rates"]):
        x = np.mean(numbers["spread"][i], axis=-1) / real
        y = 100 * np.mean(numbers["recognised"][i], axis=-1)
        axes.plot(x, y, "o-", color=f"C{i}", label=f"labels dropped at {rate:g}")
        for one, two, scale in zip(x, y, config["scales"], strict=True):
            axes.annotate(f"{scale:g}", (one, two), (4, 4), textcoords="offset points", fontsize=8)
    axes.set(
        xlabel="spread of a class, real digits = 1", ylabel="recognised, %",
        title="Guidance scale (numbers) and rate of dropping the label",
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
