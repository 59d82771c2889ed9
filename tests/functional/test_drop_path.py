"""drop_path: one decision per example; its rates over depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop


def test_batch_axis_says_who_decides() -> None:
    x = jnp.ones((3, 64, 2))
    y = jaxdrop.drop_path(jax.random.key(0), x, 0.5, batch_axis=1)
    assert (y == y[:1, :, :1]).all() and set(np.unique(y)) == {0.0, 2.0}
    y = jaxdrop.drop_path(jax.random.key(0), x, 0.5, batch_axis=None)
    assert len(np.unique(y)) == 1


def test_rates_are_timms_linspace() -> None:
    np.testing.assert_allclose(jaxdrop.drop_path_rates(12, 0.3), np.linspace(0, 0.3, 12))
    assert jaxdrop.drop_path_rates(12, 0.3)[-1] == 0.3
    assert jaxdrop.drop_path_rates(1, 0.3) == (0.0,)
    assert jaxdrop.drop_path_rates(0, 0.3) == ()


def test_rates_of_the_paper() -> None:
    """Huang et al.: layer l of L survives with probability 1 - l / L * max_rate."""
    depth, rate = 54, 0.5
    rates = jaxdrop.drop_path_rates(depth, rate, first=rate / depth)
    np.testing.assert_allclose(rates, np.arange(1, depth + 1) / depth * rate)
    # "the expected depth is (3 L - 1) / 4" with a last survival probability of one half
    np.testing.assert_allclose(sum(1 - r for r in rates), (3 * depth - 1) / 4)


def test_rates_of_deepspeeds_progressive_layer_dropping() -> None:
    """Zhang & He: layer l of L is kept with probability 1 - l / L * (1 - theta(t))."""
    depth, theta, gamma = 24, 0.5, 0.001

    @jax.jit
    def rates(step: jax.Array) -> tuple[jax.Array, ...]:
        most = (1 - theta) * (1 - jnp.exp(-gamma * step))
        return jaxdrop.drop_path_rates(depth, most, first=most / depth)

    for step in (0, 1, 700, 100_000):
        theta_then = (1 - theta) * np.exp(-gamma * step) + theta
        want = 1 - np.arange(1, depth + 1) / depth * (1 - theta_then)
        np.testing.assert_allclose(1 - jnp.stack(rates(jnp.float32(step))), want, rtol=1e-6)
    assert rates(jnp.float32(0))[-1] == 0


def test_rates_of_a_schedule_are_traced() -> None:
    rates = jax.jit(lambda rate: jaxdrop.drop_path_rates(3, rate))(jnp.float32(0.5))
    np.testing.assert_allclose(jnp.stack(rates), [0, 0.25, 0.5])


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="^got depth=-1, expected 0 or more layers"):
        jaxdrop.drop_path_rates(-1, 0.5)
    with pytest.raises(ValueError, match="^got max_rate=1.5; expected 0 <= max_rate <= 1"):
        jaxdrop.drop_path_rates(3, 1.5)
    with pytest.raises(ValueError, match="^got batch_axis=2 for an array of 2 dim.*=None says"):
        jaxdrop.drop_path(jax.random.key(0), jnp.ones((2, 3)), 0.5, batch_axis=2)
    with pytest.raises(
        TypeError, match="^got batch_axis=0.0 of type float, expected the number of"
    ):
        jaxdrop.drop_path(jax.random.key(0), jnp.ones((2, 3)), 0.5, batch_axis=0.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^got depth=3.0 of type float, expected the number of lay"):
        jaxdrop.drop_path_rates(3.0, 0.5)  # type: ignore[arg-type]
