"""layer_skip_rates: the paper's two exponentials, and torchtune's formula for the first."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def of_torchtune(layers: int, max_rate: float) -> list[float]:
    """Its rule: the rate times exp(l log 2 / (layers - 1)) - 1."""
    return [max_rate * (math.exp(n * math.log(2) / (layers - 1)) - 1) for n in range(layers)]


def test_rates_are_torchtunes_and_end_at_what_was_asked_for() -> None:
    for layers in (2, 5, 32):
        rates = jaxdrop.layer_skip_rates(layers, 0.2)
        np.testing.assert_allclose(rates, of_torchtune(layers, 0.2), rtol=1e-13, atol=1e-16)
        assert rates[0] == 0 and rates[-1] == 0.2
        below = jaxdrop.drop_path_rates(layers, 0.2)
        assert all(a < b for a, b in zip(rates[1:-1], below[1:-1], strict=True))
    assert jaxdrop.layer_skip_rates(1, 0.2) == (0.0,) and jaxdrop.layer_skip_rates(0, 0.2) == ()


def test_the_curriculum_begins_with_nothing_and_may_be_traced() -> None:
    steps = 11
    for step in (0, 3, 10):
        rates = jaxdrop.layer_skip_rates(5, 0.2, progress=step / (steps - 1))
        want = np.multiply(math.exp(step * math.log(2) / (steps - 1)) - 1, of_torchtune(5, 0.2))
        np.testing.assert_allclose(rates, want, rtol=1e-12, atol=1e-16)

    @jax.jit
    def last(step: jax.Array) -> jax.Array:
        return jaxdrop.layer_skip_rates(5, 0.2, progress=step / (steps - 1))[-1]

    np.testing.assert_allclose(
        last(jnp.float32(3)), jaxdrop.layer_skip_rates(5, 0.2, progress=0.3)[-1], rtol=1e-6
    )


def test_wrong_use_is_told_in_a_sentence() -> None:
    for options, said in (
        ({"depth": -1}, "^got depth=-1, expected a whole number of at least 0"),
        ({"max_rate": 1.5}, "^got max_rate=1.5; expected 0 <= max_rate <= 1"),
        ({"progress": 2.0}, "^got progress=2.0; expected 0 <= progress <= 1"),
        ({"progress": np.zeros(2)}, r"^got progress of shape \(2,\), expected one number"),
    ):
        with pytest.raises(ValueError, match=said):
            jaxdrop.layer_skip_rates(**({"depth": 3, "max_rate": 0.1} | options))
