"""Compare what makes a classifier of digits say how sure it is: samples, several, or one number.

Question: what does dropout at prediction (Gal & Ghahramani, ICML 2016) have over a deep ensemble
(Lakshminarayanan et al., NeurIPS 2017) and over temperature scaling (Guo et al., ICML 2017)? The
same ReLU network is trained on digits of MNIST without dropout, from several starts, and with it.
One network, the mean of dropout samples and the mean of an ensemble are judged on the test digits,
as they are and with a temperature that is fitted on held-out rows; and by whether clothes of
Fashion-MNIST are told from digits by the entropy.

    scripts/run fetch mnist
    scripts/run fetch fashion
    scripts/run calibration [--out DIR] [--seeds N] [--rows N] [--members N]

Expected: an ensemble has the lowest negative log-likelihood; a temperature takes most of the
calibration error away and leaves the accuracy; it does not help to tell clothes from digits.
Measured, with the seconds that it took: results/calibration/result.json. The rows are a twelfth of
MNIST, so that the networks are wrong often enough to be judged.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._data.images import data_digest, load
from experiments._harness.result import params_digest
from experiments._harness.settings import check_counts, check_rates, check_seeds, refuse
from experiments._harness.tick import Tick, silent
from experiments._networks.feedforward import Net
from experiments.calibration.judging import judge, with_temperature
from experiments.calibration.report import draw as draw
from experiments.calibration.report import readme_line as readme_line
from experiments.calibration.report import show as show
from experiments.calibration.training import train
from jaxdrop import mc

HELD_OUT = 1000  # digits on which temperatures are fitted


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    """First seed; the others count up from it."""
    seeds: int = 3
    """Number of ensembles, and of networks with dropout."""
    members: int = 5
    """Networks of an ensemble."""
    samples: int = 30
    """T, the number of passes with dropout."""
    rate: float = 0.5
    """Probability of dropping a hidden unit."""
    rows: int = 5000
    """Digits to train on; the thousand after them are held out."""
    units: int = 200
    """Units of each of the two hidden layers."""
    epochs: int = 15
    """Passes over the digits."""
    test_rows: int = 10_000
    """Digits to judge by, and as many clothes."""
    data_dir: str | None = None
    """Folder in which the data are looked for first."""


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "seeds", "members", "samples", "rows", "units", "epochs", "test_rows")
    check_seeds(config)
    check_rates(config, "rate")
    if config.test_rows > 10_000:
        refuse("test_rows", config.test_rows, "at most 10000, which is all that there are")
    if config.rows + HELD_OUT > 60_000:
        refuse("rows", config.rows, f"at most {60_000 - HELD_OUT}; {HELD_OUT} are held out")


def ticks(config: Config) -> int:
    return config.seeds * (config.members + 2)


def run(config: Config, tick: Tick = silent) -> dict[str, Any]:
    """Train and judge from every seed; return {"numbers": ..., "digests": ...}."""
    digits, clothes = (load(name, config.data_dir) for name in ("mnist", "fashion"))
    rows = slice(config.rows, config.rows + HELD_OUT)
    held_out = digits.x_train[rows], digits.y_train[rows]
    test = digits.x_test[: config.test_rows], digits.y_test[: config.test_rows]
    outside = clothes.x_test[: config.test_rows]
    x, y = (jnp.asarray(a[: config.rows]) for a in (digits.x_train, digits.y_train))
    found, digests = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        *keys, key = jax.random.split(jax.random.key(seed), config.members + 2)
        options = {"units": config.units, "epochs": config.epochs}
        networks = []
        for member in keys[:-1]:
            networks.append(jax.block_until_ready(train(member, 0.0, x, y, **options)))
            tick()
        dropped = jax.block_until_ready(train(keys[-1], config.rate, x, y, **options))
        tick()
        functions = _functions(config, networks, dropped)
        one = {}
        for i, (name, (f, samples)) in enumerate(functions.items()):
            parts = []
            for j, x_of in enumerate((held_out[0], test[0], outside)):
                sample_key = jax.random.fold_in(key, 3 * i + j)
                logits = mc.mc_predict(f, sample_key, x_of, samples, chunk_size=5)
                sums = jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0)
                parts.append(sums - jnp.log(jnp.float32(samples)))  # of the mean probability
            one[name] = judge(parts[1], parts[2], test[1])
            one[f"{name}, temperature"] = with_temperature(parts, held_out[1], test[1])
        found.append(one)
        digests.append(params_digest([networks, dropped]))
        tick()
    numbers = {name: _together([one[name] for one in found]) for name in found[0]}
    digests_of = {"digits": data_digest(digits), "clothes": data_digest(clothes)}
    return {"numbers": {"methods": numbers}, "digests": {**digests_of, "networks": digests}}


def _functions(config: Config, networks: list[Any], dropped: Any) -> dict[str, tuple[Any, int]]:
    """Return what is compared: a function (key, x) -> logits, and how many samples of it."""
    hidden = (config.units, config.units)
    plain, noisy = Net(hidden), Net(hidden, hidden_rate=config.rate)
    return {
        "one network": (mc.ensemble(plain, [{"params": networks[0]}]), 1),
        "dropout, weight scaling": (mc.ensemble(noisy, [{"params": dropped}]), 1),
        "dropout, samples": (mc.sampler(noisy, {"params": dropped}), config.samples),
        "ensemble": (mc.ensemble(plain, [{"params": p} for p in networks]), config.members),
    }


def _together(seeds: list[Any]) -> Any:
    """Return the numbers of all seeds, field by field: a list over seeds in place of each."""
    return {field: np.asarray([one[field] for one in seeds]).tolist() for field in seeds[0]}
