"""The quick part of the statistical battery, and that it exposes generators that are bad.

Full sizes, and every p-value: ``scripts/prng_quality`` and ``results/prng/report.md``.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scripts.quality import battery, counts, orders, verdict
from scripts.quality.candidates import PLANTED
from scripts.quality.generator import Mixed, Public, fixed_key

# As tests compile, 2**26 elements at six rates take 45 s. A count of 2**16 has the variance of the
# binomial law just as well, and is as normal: at rate 0.1 its standard deviation is 77.
QUICK = battery.QUICK | {"variance": lambda g: counts.variance(g, 16, 64)}


@pytest.mark.slow
def test_the_generator_passes_every_test() -> None:
    findings = battery.run(Public(), QUICK)
    assert {f.test.split(" (")[0] for f in findings} >= {"rate", "variance", "lags", "serial"}
    assert all(0 <= f.p <= 1 for f in findings)
    assert not verdict.failures(findings)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_generator_is_exposed(name: str) -> None:
    findings = QUICK[battery.EXPOSED_BY[name]](Mixed(PLANTED[name]))
    assert verdict.failures(findings), f"{name} passes; smallest p: {min(f.p for f in findings)}"


@pytest.mark.slow
def test_mixed_and_public_are_the_same_generator() -> None:
    from scripts.quality.candidates import chosen

    for arguments in ({}, {"index_offset": (2**32 - 7,)}, {"index_offset": (2**33 + 1,)}):
        one = Public().bits(fixed_key(1), (20,), **arguments)
        np.testing.assert_array_equal(one, Mixed(chosen).bits(fixed_key(1), (20,), **arguments))
    one = Public().drops(fixed_key(2), (1000,), 0.3)
    np.testing.assert_array_equal(one, Mixed(chosen).drops(fixed_key(2), (1000,), 0.3))


def test_p_values_are_two_sided() -> None:
    law = stats.binom(1000, 0.5)
    assert verdict.two_sided(law, 500) == 1.0
    assert verdict.two_sided(law, 380) == pytest.approx(verdict.two_sided(law, 620))
    assert verdict.two_sided(stats.chi2(100), 20.0) < 1e-12
    assert verdict.two_sided(stats.chi2(100), 300.0) < 1e-12


def test_deviates_of_a_perfect_generator_have_uniform_p_values() -> None:
    """The machinery itself, fed NumPy's generator: 400 p-values against the uniform law."""
    rng = np.random.default_rng(5)
    found = [verdict.of_normals("", "", rng.standard_normal(300)) for _ in range(400)]
    p = [pair[0].p for pair in found]
    assert stats.kstest(p, "uniform").pvalue > 1e-6
    assert not verdict.failures([finding for pair in found for finding in pair])


def test_reversal_of_bits_is_an_involution() -> None:
    x = jnp.asarray(np.random.default_rng(2).integers(0, 2**32, 100, np.uint32))
    once = jax.jit(orders._reverse)(x)
    assert int(orders._reverse(jnp.uint32(1))) == 1 << 31
    assert not np.array_equal(once, x)
    np.testing.assert_array_equal(orders._reverse(once), x)
