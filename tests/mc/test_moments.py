"""mc_moments: the mean and variance of samples that are never kept, to the last digits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop import mc
from jaxdrop.mc._moments import _moments
from jaxdrop.mc._sampling_plan import Plan

X = np.linspace(0.5, 2, 24, dtype=np.float32).reshape(4, 6)


def key() -> jax.Array:
    return jax.random.key(9)


def drop(key: Any, x: Any) -> jax.Array:
    return jaxdrop.dropout(key, x, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("num_samples, chunk_size", [(1, 4), (7, 3), (64, 64)])
def test_they_are_those_of_the_samples(num_samples: int, chunk_size: int) -> None:
    samples = np.asarray(mc.mc_predict(drop, key(), X, num_samples), np.float64)
    mean, variance = mc.mc_moments(drop, key(), X, num_samples, chunk_size=chunk_size)
    np.testing.assert_allclose(mean, samples.mean(0), rtol=2e-6)
    np.testing.assert_allclose(variance, samples.var(0), rtol=2e-5, atol=1e-7)


@pytest.mark.slow
def test_a_small_spread_on_a_large_mean_is_not_lost() -> None:
    def far(key: Any, x: Any) -> jax.Array:
        return 4096 + drop(key, x)  # multiples of 2**-11 are kept

    samples = np.asarray(mc.mc_predict(far, key(), X, 1000), np.float64)
    _, variance = mc.mc_moments(far, key(), X, 1000, chunk_size=7)
    np.testing.assert_allclose(variance, samples.var(0), rtol=1e-3)
    # The textbook formula in the same precision, which the check catches.
    single = samples.astype(np.float32)
    textbook = np.square(single).mean(0) - np.square(single.mean(0))
    assert np.abs(textbook / samples.var(0) - 1).max() > 1e-1


def test_bfloat16_is_summed_in_float32() -> None:
    mean, variance = mc.mc_moments(drop, key(), X.astype(jnp.bfloat16), 2000, chunk_size=10)
    assert mean.dtype == variance.dtype == jnp.float32
    samples = mc.mc_predict(drop, key(), X.astype(jnp.bfloat16), 2000)
    np.testing.assert_allclose(mean, np.asarray(samples, np.float64).mean(0), rtol=1e-5)


def test_memory_does_not_depend_on_t() -> None:
    def temporary(num_samples: int) -> int:
        plan = Plan(num_samples, 10, False, None)
        lowered = _moments.lower(jax.tree_util.Partial(drop), key(), X, plan)
        memory = lowered.compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    assert temporary(1_000) == temporary(100_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [3])
def test_a_mesh_gives_the_same(chunk_size: int) -> None:
    mesh = jax.make_mesh((8,), ("samples",), axis_types=(AxisType.Auto,))
    over = NamedSharding(mesh, PartitionSpec("samples"))
    one = mc.mc_moments(drop, key(), X, 64, chunk_size=chunk_size)
    many = mc.mc_moments(drop, key(), X, 64, chunk_size=chunk_size, sharding=over)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-5)


@pytest.mark.slow
def test_entropies_of_any_number_of_samples_by_a_tree() -> None:
    def classify(key: Any, x: Any) -> Any:
        p = jax.nn.softmax(drop(key, x))
        return {"p": p, "entropy": mc.expected_entropy(p[None])}

    mean = mc.mc_moments(classify, key(), X, 50, chunk_size=8).mean
    streamed = mc.predictive_entropy(mean["p"][None]) - mean["entropy"]
    kept = mc.mutual_information(mc.mc_predict(classify, key(), X, 50)["p"])
    np.testing.assert_allclose(streamed, kept, atol=1e-6)


def test_the_mean_is_that_of_the_law() -> None:
    # Hoeffding: P(|mean - x| >= t) <= 2 exp(-2 T t**2 / (x / 0.7)**2), shared by 24 elements.
    count, alarm = 20_000, 1e-9 / X.size
    bound = X / 0.7 * np.sqrt(np.log(2 / alarm) / (2 * count))
    mean, _ = mc.mc_moments(drop, key(), X, count, chunk_size=100)
    assert (np.abs(mean - X) < bound).all()
    unscaled, _ = mc.mc_moments(lambda k, x: 0.7 * drop(k, x), key(), X, count, chunk_size=100)
    assert (np.abs(unscaled - X) > bound).all()


def test_no_samples_is_an_error_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="got num_samples=0, expected a whole number"):
        mc.mc_moments(drop, key(), X, 0)
