"""Training the character model: its settings, the text, one run of ``fit``, its curves."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from experiments._data.texts import TextName, load_text, windows
from experiments._harness.result import CannotRun
from experiments._harness.settings import (
    check_choice,
    check_counts,
    check_positive,
    check_rates,
    check_seeds,
)
from experiments._networks.char_model import RULES, SPLIT, CharModel, bits_per_byte
from jaxdrop.training import NNXTrainState, fit, shard_state

LOG_EVERY = 10  # steps between the points of the curves


@dataclasses.dataclass(frozen=True)
class CharConfig:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """Seed of parameters, batch order and masks."""
    steps: int = 1200
    """Training steps of each model, rounded up to whole epochs."""
    text: TextName = "python"
    """python: the language reference of Python itself; kjv: see experiments/_data/texts.py."""
    data_dir: str | None = None
    """Folder with *.txt to read instead of --text."""
    train_bytes: int = 60_000
    """Number of bytes trained on, from the beginning of the text."""
    test_bytes: int = 20_000
    """Number of bytes tested on, from the end of the training text."""
    rate: float = 0.2
    """Dropout rate of the second model, after the rise."""
    rise: float = 0.1
    """Share of the steps over which the rate rises from 0."""
    layers: int = 3
    """Number of transformer blocks."""
    width: int = 96
    """Width of the residual stream."""
    heads: int = 4
    """Number of attention heads, a divisor of the width."""
    context: int = 64
    """Number of bytes that the model sees."""
    batch: int = 32
    """Number of windows in a step."""
    learning_rate: float = 2e-3
    """Peak learning rate, after a tenth of the steps; from there a cosine down to a tenth of it."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the computation; parameters and logits are float32."""
    model_devices: int = 1
    """Devices that share one copy of the parameters; the others share the batch."""


def check(config: CharConfig) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "steps", "train_bytes", "test_bytes", "layers", "width", "heads",
                 "context", "batch", "model_devices")  # fmt: skip
    check_seeds(config)
    check_rates(config, "rate", "rise")
    check_positive(config, "learning_rate")
    if config.width % config.heads:
        raise CannotRun(f"--heads is {config.heads}, which does not divide --width {config.width}")
    check_choice(config, "text", get_args(TextName))
    check_choice(config, "dtype", ("float32", "bfloat16"))
    rows = (config.train_bytes - 1) // config.context
    if rows < config.batch or config.test_bytes <= config.context:
        raise CannotRun(
            f"--train-bytes is {config.train_bytes} and --test-bytes {config.test_bytes}, expected "
            f"at least a batch ({config.batch * config.context + 1}) and a window "
            f"({config.context + 1}), with --batch {config.batch} and --context {config.context}"
        )


def epochs_and_steps(config: CharConfig) -> tuple[int, int]:
    """Return the epochs of a model and its steps."""
    per_epoch = (config.train_bytes - 1) // config.context // config.batch
    epochs = -(-config.steps // per_epoch)
    return epochs, epochs * per_epoch


def load(config: CharConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows trained on and those tested on, each (rows, context + 1)."""
    text = load_text(config.text, config.data_dir)
    wanted = config.train_bytes + config.test_bytes
    if len(text) < wanted:
        raise CannotRun(f"the text has {len(text)} bytes, and {wanted} are asked for")
    seen = windows(text[: config.train_bytes], config.context)
    return seen, windows(text[config.train_bytes : wanted], config.context)


def loss_fn(model: CharModel, batch: Any, key: jax.Array) -> Any:
    """Return the mean bits per byte of windows, and the dropout rate."""
    now = model.begin_step()
    bits = bits_per_byte(model(batch["text"][:, :-1]), batch["text"][:, 1:])
    return bits.mean(), {"rate": now}


def begin(config: CharConfig, rate: float, **drops: Any) -> NNXTrainState:
    """Return the state of a model that has not been trained; drops are options of ``CharModel``."""
    _, steps = epochs_and_steps(config)
    model = CharModel(
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        context=config.context,
        rate=optax.linear_schedule(0.0, rate, max(1, round(config.rise * steps))),
        dtype=jnp.dtype(config.dtype),
        rngs=nnx.Rngs(config.seed),
        **drops,
    )
    peak, rise = config.learning_rate, max(1, steps // 10)
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, rise, steps, peak / 10)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    return NNXTrainState.from_model(model, tx, jax.random.key(config.seed))


def train(
    config: CharConfig,
    rate: float,
    seen: np.ndarray,
    unseen: np.ndarray,
    mesh: Mesh | None,
    tick: Callable[[int], None],
    folder: Path | None,
    loss_fn: Callable[..., Any] = loss_fn,
    **drops: Any,
) -> tuple[NNXTrainState, list[dict[str, Any]]]:
    """Train one model through ``fit``; return its state and its lines of metrics."""
    # The loss on both texts in test mode comes from one evaluation: a row says whose it is.
    held = np.concatenate([seen[: len(unseen)], unseen])
    trained_on = np.arange(len(held)) < len(seen[: len(unseen)])
    weights = {"train": trained_on / trained_on.mean(), "test": ~trained_on / (~trained_on).mean()}

    def metric_fn(model: CharModel, batch: Any) -> dict[str, jax.Array]:
        bits = bits_per_byte(model(batch["text"][:, :-1]), batch["text"][:, 1:]).mean(axis=-1)
        return {name: bits * batch[name] for name in weights}

    state = begin(config, rate, **drops)
    if mesh is not None:
        state = shard_state(state, mesh, RULES if config.model_devices > 1 else {})
    return fit(
        state,
        loss_fn,
        {"text": seen},
        seed=config.seed,
        epochs=epochs_and_steps(config)[0],
        batch_size=config.batch,
        folder=folder,
        metric_fn=metric_fn,
        test={"text": held, **{k: v.astype(np.float32) for k, v in weights.items()}},
        config=dataclasses.asdict(config) | {"rate": rate},
        mesh=mesh,
        save_every=100,
        keep=2,
        log_every=LOG_EVERY,
        tick=tick,
    )


def split_loss_fn(mesh: Mesh) -> Callable[..., Any]:
    """Return ``loss_fn`` with the windows of a batch, and the bytes of each, split over a mesh."""

    def loss_fn(model: CharModel, batch: Any, key: jax.Array) -> Any:
        now = model.begin_step()
        graph, state = nnx.split(model)

        @jax.shard_map(mesh=mesh, in_specs=(P(), P(*SPLIT), P(*SPLIT)), out_specs=P())
        def mean_bits(state: Any, text: jax.Array, targets: jax.Array) -> jax.Array:
            model = nnx.merge(graph, state)
            return jax.lax.pmean(bits_per_byte(model(text), targets).mean(), SPLIT)

        text = batch["text"]
        return mean_bits(state, text[:, :-1], text[:, 1:]), {"rate": now}

    return loss_fn


def make_mesh(config: CharConfig) -> Mesh | None:
    """Return a mesh of all devices, or None if there is one only."""
    devices, share = jax.device_count(), config.model_devices
    if devices % share or config.heads % share or config.batch % (devices // share):
        raise CannotRun(
            f"there are {devices} devices, and --model-devices is {share}: expected a divisor of "
            f"{devices} and of --heads {config.heads}, with --batch {config.batch} a multiple of "
            "the other devices"
        )
    if devices == 1:
        return None
    return jax.make_mesh((devices // share, share), ("data", "model"), (AxisType.Auto,) * 2)


def gathered(params: Any) -> Any:
    """Return the parameters, gathered so that this process holds all of them."""
    sharding = jax.tree.leaves(params)[0].sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
        whole = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
        return jax.jit(lambda tree: tree, out_shardings=whole)(params)
    return params


def summarise(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Turn the lines of metrics into curves and final numbers for the JSON."""
    steps = [line for line in lines if "loss" in line and line["step"] % LOG_EVERY == 0]
    epochs = [line for line in lines if "test" in line]
    test = [line["test"] for line in epochs]
    best = int(np.argmin(test))
    return {
        "steps": {name: [line[name] for line in steps] for name in ("step", "loss", "rate")},
        "epochs": {name: [line[name] for line in epochs] for name in ("step", "train", "test")},
        "final": {"train": epochs[-1]["train"], "test": test[-1],
                  "gap": test[-1] - epochs[-1]["train"]},
        "best": {"test": test[best], "step": epochs[best]["step"]},
    }  # fmt: skip
