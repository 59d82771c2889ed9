"""The schedules example: one trace for all schedules and seeds; rates as the papers have them."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import schedules  # noqa: E402  (after the check)


@pytest.mark.slow
def test_one_trace_serves_every_schedule_and_seed():
    schedules.TRACES.clear()
    cast(Any, schedules.train).clear_cache()  # jax's own annotation lacks it
    config = schedules.Config(seeds=2, epochs=1, units=8)
    numbers = schedules.run(config)["numbers"]
    assert schedules.TRACES == ["train"]
    assert list(numbers) == ["none", "constant", "early", "late", "curriculum"]
    ends = {name: tuple(one["test_loss"]) for name, one in numbers.items()}
    assert len(set(ends.values())) == 5  # the rates did reach the network
    assert np.isfinite(list(ends.values())).all()


@pytest.mark.slow
def test_schedules_are_on_when_they_say_so():
    rates = {
        name: np.asarray(jax.vmap(rate)(jnp.arange(100)))
        for name, rate in schedules.schedules(0.5, 100).items()
    }
    assert (rates["none"] == 0).all() and (rates["constant"] == 0.5).all()
    assert (rates["early"][:50] == 0.5).all() and (rates["early"][50:] == 0).all()
    assert (rates["late"][:50] == 0).all() and (rates["late"][50:] == 0.5).all()
    curriculum = rates["curriculum"]
    assert curriculum[0] == 0 and (np.diff(curriculum) > 0).all() and 0.499 < curriculum[-1] < 0.5


def test_a_traced_rate_drops_what_the_number_drops():
    key, x = jax.random.key(0), jnp.ones((50, 8))
    _, scanned = jax.lax.scan(
        lambda c, rate: (c, jaxdrop.dropout(key, x, rate)), 0, jnp.array([0.0, 0.25, 0.5])
    )
    for y, rate in zip(scanned, (0.0, 0.25, 0.5), strict=True):
        np.testing.assert_array_equal(y, jaxdrop.dropout(key, x, rate))
