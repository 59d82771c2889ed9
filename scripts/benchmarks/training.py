"""scripts/bench training: fit and accumulate against bare loops; a sweep against single runs.

"bare" calls the jitted step in a loop on batches that already lie on the device. "fit" takes
batches in a new order from arrays on the host, logs every 100 steps to a folder, and begins some
epochs. "calls" is fit with PER_CALL steps in a call, and "scan" the bare jitted loop over as many
steps, which takes the same rows from the data on the device; "ready" is that loop on batches that
lie there in one piece, which tells what it costs to read shuffled rows. "parts" is the bare step in
PARTS microbatches with the masks of the whole batch; "scan of parts" is what one would write by
hand: a loop over microbatches that adds up their gradients, with a key for each. What is compared
is timed right after one another, in an order that changes; a ratio is the median over the turns of
the ratios within one. Turns are short and many, because other work on the machine comes and goes
within seconds. "saving" is fit with one more checkpoint, in the middle: how long that holds up the
steps.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import jaxdrop.linen
import jaxdrop.training as jt
from scripts.benchmarks import sweep

BATCH, PARTS = 128, 4
PER_CALL = WARM = 50  # steps in a call; the first call is the warm one
SIZES = {"about 1 ms": (192, 150, 2, 4), "about 20 ms": (1750, 100, 1, 1)}
"""Units, steps in an epoch, epochs, and how many times as many turns."""
PROMISED = "about 1 ms", 1.03  # what calls and parts take at most, over what is bare


@dataclasses.dataclass(frozen=True)
class Config:
    """What fit adds to a step, and what a sweep saves."""

    turns: int = 10
    """How often each is timed; with steps of 1 ms four times as often."""
    sweeps: bool = True
    """Also time sweeps against the same runs one after another."""


class MLP(nn.Module):
    units: int
    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Dense(self.units)(x))
            x = jaxdrop.linen.Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(10)(x)


class Case:
    """A network of some size, its data, and the ways of training it."""

    def __init__(self, units: int, steps: int, epochs: int, rate: float = 0.5):
        self.model, self.steps, self.epochs = MLP(units, rate), steps * epochs, epochs
        draw = np.random.RandomState(0)
        rows = steps * BATCH
        self.data = {
            "x": draw.uniform(size=(rows, 784)).astype(np.float32),
            "y": draw.randint(0, 10, rows).astype(np.int32),
        }
        self.step = jt.make_train_step(self.loss)
        self.in_parts = jt.make_train_step(self.loss, accumulate=PARTS)
        self.by_hand = jax.jit(self.scan_of_parts, donate_argnums=0)
        self.loop = self.loop_over(
            lambda data, chosen: jax.tree.map(
                lambda a: a.at[chosen].get(mode="promise_in_bounds"), data
            )
        )
        self.loop_of_ready = self.loop_over(lambda _, batch: batch)
        self.batches = [
            jax.device_put(jax.tree.map(lambda a, i=i: a[i * BATCH :][:BATCH], self.data))
            for i in range(8)
        ]

    def loss(self, variables: Any, batch: Any, key: jax.Array) -> jax.Array:
        logits: Any = self.model.apply(variables, batch["x"], train=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    def state(self) -> jt.TrainState:
        params = self.model.init(jax.random.key(0), self.data["x"][:1], train=False)["params"]
        return jt.TrainState.create(
            apply_fn=self.model.apply,
            params=params,
            tx=optax.sgd(0.01, momentum=0.9),
            dropout_key=jax.random.key(1),
        )

    def loop_over(self, batch_of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """Return the jitted loop (state, data, xs) whose steps take batch_of(data, x)."""
        step = jt.make_train_step(self.loss, donate=False)

        def loop(state: jt.TrainState, data: Any, xs: Any) -> Any:
            return jax.lax.scan(lambda state, x: step(state, batch_of(data, x)), state, xs)

        return jax.jit(loop, donate_argnums=0)

    def scan_of_parts(self, state: jt.TrainState, batch: Any) -> tuple[jt.TrainState, jax.Array]:
        """Return the state after a step in microbatches, each with masks of its own."""
        key, variables = state.step_key(), {"params": state.params}

        def microbatch(sums: Any, given: Any) -> tuple[Any, None]:
            part, number = given
            own = jax.value_and_grad(self.loss)(variables, part, jax.random.fold_in(key, number))
            return jax.tree.map(jnp.add, sums, own), None

        zeros = jax.tree.map(jnp.zeros_like, (jnp.float32(0), variables))
        parts = jax.tree.map(lambda a: a.reshape(PARTS, -1, *a.shape[1:]), batch)
        sums, _ = jax.lax.scan(microbatch, zeros, (parts, jnp.arange(PARTS)))
        loss, grads = jax.tree.map(lambda total: total / PARTS, sums)
        return state.apply_gradients(grads=grads["params"]), loss

    def bare(self, step: Callable[..., Any]) -> float:
        """Return the seconds of a step."""
        state, start = self.state(), 0.0
        for i in range(self.steps):
            if i == WARM:
                jax.block_until_ready(state.params)
                start = time.perf_counter()
            state, _ = step(state, self.batches[i % len(self.batches)])
        jax.block_until_ready(state.params)
        return (time.perf_counter() - start) / (self.steps - WARM)

    def scan(self, *, ready: bool) -> float:
        """Return the seconds of a step in a loop of PER_CALL steps."""
        state, start = self.state(), 0.0
        rows = [jt.epoch_order(0, epoch, len(self.data["y"])) for epoch in range(self.epochs)]
        numbers = np.concatenate(rows).astype(np.uint32).reshape(-1, PER_CALL, BATCH)
        chosen = [self.batches[i % len(self.batches)] for i in range(PER_CALL)]
        batches = jax.tree.map(lambda *each: jnp.stack(each), *chosen) if ready else None
        data = None if ready else jax.device_put(self.data)
        for i, own in enumerate(numbers):
            if i * PER_CALL == WARM:
                jax.block_until_ready(state.params)
                start = time.perf_counter()
            if ready:
                state, _ = self.loop_of_ready(state, (), batches)
            else:
                state, _ = self.loop(state, data, own)
        jax.block_until_ready(state.params)
        return (time.perf_counter() - start) / (self.steps - WARM)

    def fit(self, save_every: int = 10**6, steps_per_call: int = 1) -> float:
        """Return the seconds from step WARM to the last, per step."""
        moments: list[float] = []

        def tick(n: int) -> None:
            moments.extend([time.perf_counter()] * n)

        with tempfile.TemporaryDirectory() as folder:
            jt.fit(
                self.state(),
                self.loss,
                self.data,
                seed=0,
                epochs=self.epochs,
                batch_size=BATCH,
                folder=Path(folder) / "run",
                save_every=save_every,
                steps_per_call=steps_per_call,
                tick=tick,
            )
        return (moments[-1] - moments[WARM - 1]) / (self.steps - WARM)

    def ways(self) -> dict[str, Callable[[], float]]:
        return {
            "bare": lambda: self.bare(self.step),
            "fit": self.fit,
            "saving": lambda: self.fit(save_every=self.steps // 2),
            "ready": lambda: self.scan(ready=True),
            "scan": lambda: self.scan(ready=False),
            "calls": lambda: self.fit(steps_per_call=PER_CALL),
            "scan of parts": lambda: self.bare(self.by_hand),
            "parts": lambda: self.bare(self.in_parts),
        }


GROUPS = (("bare", "fit", "saving"), ("ready", "scan", "calls"), ("scan of parts", "parts"))
PAIRS = {
    "fit": ("fit", "bare"),
    "calls": ("calls", "scan"),
    "calls of ready": ("calls", "ready"),
    "parts": ("parts", "scan of parts"),
}
NAMES = {
    "fit": "fit, over the bare step",
    "calls": f"steps_per_call={PER_CALL}, over a scan",
    "calls of ready": f"steps_per_call={PER_CALL}, over a scan of ready batches",
    "parts": f"accumulate={PARTS}, over a scan",
}


def in_turn(ways: Mapping[str, Callable[[], float]], turns: int) -> dict[str, np.ndarray]:
    """Call the groups in turn; return what each way returned in each turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # compiles
    for turn in range(turns):
        for group in GROUPS:
            first = turn % len(group)
            for name in group[first:] + group[:first]:
                taken[name].append(ways[name]())
    return {name: np.array(times) for name, times in taken.items()}


def record(label: str, seconds: Mapping[str, np.ndarray], steps: int) -> list[dict[str, Any]]:
    """Return a case for each ratio, and one for what a checkpoint holds up, from seconds of steps.

    Args:
      label: of the size of a step.
      seconds: of a step, in each turn.
      steps: in a turn.
    """
    cases: list[dict[str, Any]] = []
    for name, title in NAMES.items():
        ours, bare = (seconds[way] for way in PAIRS[name])
        over = ours / bare
        ratio = float(np.median(over))
        promise = PROMISED[1] if label == PROMISED[0] and name in ("calls", "parts") else None
        cases.append(
            {
                "case": title,
                "step": label,
                "ms": float(np.median(ours)) * 1e3,
                "bare_ms": float(np.median(bare)) * 1e3,
                "ratio": ratio,
                "quartiles": [float(q) for q in np.quantile(over, (0.25, 0.75))],
                "promise": promise,
                "kept": None if promise is None else ratio <= promise,
            }
        )
    saving = np.median(seconds["saving"] - seconds["fit"]) * steps
    return [*cases, {"case": "one checkpoint", "step": label, "ms": float(saving) * 1e3}]


def failed(cases: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a promise was broken."""
    return any(case.get("kept") is False for case in cases)


def run(config: Config, console: Console) -> list[dict[str, Any]]:
    cases = []
    for label, (units, steps, epochs, times) in SIZES.items():
        with console.status(f"fit, steps of {label}"):
            case = Case(units, steps, epochs)
            seconds = in_turn(case.ways(), config.turns * times)
            cases += record(label, seconds, case.steps - WARM)
    console.print(table(cases))
    if config.sweeps:
        cases += [
            {"case": "sweep against one after another", **case}
            for case in sweep.run(sweep.Config(), console)
        ]
    return cases


def table(cases: Sequence[dict[str, Any]]) -> Table:
    out = Table(title="training (medians, measured in turn; quartiles below)")
    for name in ("", "step", "ms", "bare, ms", "ratio", "promised"):
        out.add_column(name, justify="right" if name not in ("", "step") else "left")
    for case in cases:
        cells = [case["case"], case["step"], f"{case['ms']:.3g}"]
        if "ratio" in case:
            low, high = case["quartiles"]
            kept = {None: "-", True: "{:g}: kept", False: "{:g}: BROKEN"}
            cells += [f"{case['bare_ms']:.3g}", f"{case['ratio']:.3f}\n{low:.3f}-{high:.3f}"]
            cells += [kept[case["kept"]].format(case["promise"])]
        out.add_row(*cells)
    return out


def markdown(cases: Sequence[dict[str, Any]]) -> str:
    """Return rows for docs/benchmarks.md."""
    return "\n".join(
        f"| {case['case']} | {case['step']} | {case['bare_ms']:.2f} | {case['ratio']:.2f} |"
        for case in cases
        if "ratio" in case
    )
