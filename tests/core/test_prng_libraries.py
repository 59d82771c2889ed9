"""Other libraries' dropout and noise, unchanged, given a key of fast_prng_impl."""

import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdrop
from tests.core.fast_keys import FALSE_ALARM, fast

ROOT = pathlib.Path(__file__).resolve().parents[2]

RATE = 0.3
SIZE = 1 << 18


def check_rate(y: Any) -> None:
    """Every element is 0 or 1 / (1 - RATE), and the zeros are binomial."""
    values = np.asarray(y).reshape(-1)
    kept = values != 0
    np.testing.assert_allclose(values[kept], 1 / (1 - RATE), rtol=1e-6)
    law = stats.binom(values.size, RATE)
    dropped = int(values.size - kept.sum())
    assert 2 * min(law.cdf(dropped), law.sf(dropped - 1)) > FALSE_ALARM


def ones() -> jax.Array:
    return jnp.ones((SIZE // 64, 64))


def test_flax_linen_takes_a_fast_key() -> None:
    from flax import linen

    y = linen.Dropout(RATE, deterministic=False).apply({}, ones(), rngs={"dropout": fast(61)})
    check_rate(y)


def test_flax_nnx_takes_a_fast_key() -> None:
    from flax import nnx

    layer = nnx.Dropout(RATE, rngs=nnx.Rngs(dropout=fast(62)))
    first, second = layer(ones()), layer(ones())
    check_rate(first)
    check_rate(second)
    assert not np.array_equal(first, second)


def test_haiku_takes_a_fast_key() -> None:
    haiku = pytest.importorskip("haiku")  # an extra: dev
    net = haiku.transform(lambda x: haiku.dropout(haiku.next_rng_key(), RATE, x))
    with jax.numpy_dtype_promotion("standard"):  # haiku itself is not strict
        check_rate(net.apply({}, fast(63), ones()))


def test_equinox_takes_a_fast_key() -> None:
    equinox = pytest.importorskip("equinox")  # an extra: dev
    check_rate(equinox.nn.Dropout(RATE)(ones(), key=fast(64)))


@pytest.mark.slow
def test_optax_noise_takes_a_fast_key() -> None:
    import optax

    noise = optax.add_noise(eta=1.0, gamma=0.0, key=fast(65))
    gradients = {"w": jnp.zeros((1 << 14,))}
    with jax.numpy_dtype_promotion("standard"):  # optax itself is not strict
        updates, _ = noise.update(gradients, noise.init(gradients))
    assert stats.kstest(np.asarray(updates["w"]), "norm").pvalue > FALSE_ALARM


def test_broken_rates_are_noticed() -> None:
    with pytest.raises(AssertionError):
        check_rate(jaxdrop.dropout(fast(68), ones(), RATE + 0.01) * np.float32(0.69 / 0.7))


KERAS = """
import jax, keras, numpy as np, jaxdrop
key = jax.random.key(7, impl=jaxdrop.fast_prng_impl)
y = keras.random.dropout(np.ones((4096, 64), np.float32), 0.3, seed=key)
np.save("y.npy", np.asarray(y))
layer = keras.layers.Dropout(0.3, seed=1)
layer(np.ones((4, 4), np.float32), training=True)
state = layer.seed_generator.next()
assert state.dtype == np.uint32, "Keras' layers now make other keys: tell docs/generator.md"
"""


@pytest.mark.slow
def test_keras_takes_a_fast_key_in_its_function_not_in_its_layer(tmp_path: pathlib.Path) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is an extra: dev")
    subprocess.run(
        [sys.executable, "-P", "-c", KERAS],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", "KERAS_HOME": "."},
    )
    check_rate(np.load(tmp_path / "y.npy"))
