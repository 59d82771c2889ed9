"""fast_prng_impl: jax.random with the generator's bits, keys handled as threefry handles them."""

import functools
import importlib.util
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from scipy import stats

import jaxdrop

FAST = jaxdrop.fast_prng_impl
ROOT = pathlib.Path(__file__).resolve().parent.parent
FALSE_ALARM = 1e-8  # of each statistical test here


def fast(seed: int = 0) -> jax.Array:
    return jax.random.key(seed, impl=FAST)


def data(keys: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(keys))


def of(key_data: Any) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(key_data), impl=FAST)


# Keys are threefry's


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_seed_is_threefrys(seed: int) -> None:
    np.testing.assert_array_equal(data(fast(seed)), data(jax.random.key(seed, impl="threefry2x32")))


def test_split_and_fold_in_are_threefrys() -> None:
    def walk(key: jax.Array) -> list[np.ndarray]:
        first, second, third = jax.random.split(key, 3)
        folded = jax.random.fold_in(first, 7)
        return [data(k) for k in (second, folded, jax.random.split(third, (2, 3)))]

    for one, other in zip(walk(fast(5)), walk(jax.random.key(5, impl="threefry2x32")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_key_data_and_back() -> None:
    key = fast(9)
    assert jax.random.key_impl(key) == "jaxdrop_fast"
    again = of(jax.random.key_data(key))
    np.testing.assert_array_equal(jax.random.bits(key, (5,)), jax.random.bits(again, (5,)))
    assert key.dtype == again.dtype and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


# Bits are the generator's


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4), (0,), (4, 0)])
def test_words_are_random_bits(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(
        jax.random.bits(fast(3), shape, "uint32"), jaxdrop.random_bits(fast(3), shape)
    )
    plain = jax.random.key(3, impl="threefry2x32")
    np.testing.assert_array_equal(
        jaxdrop.random_bits(plain, shape), jaxdrop.random_bits(fast(3), shape)
    )


@pytest.mark.parametrize("width", [8, 16])
def test_narrow_bits_are_the_top_of_the_word(width: int) -> None:
    narrow = jax.random.bits(fast(3), (40,), f"uint{width}")
    assert narrow.dtype == jnp.dtype(f"uint{width}")
    word = np.asarray(jaxdrop.random_bits(fast(3), (40,)))
    np.testing.assert_array_equal(narrow, word >> np.uint32(32 - width))


@pytest.mark.usefixtures("x64")
def test_64_bits_are_two_words() -> None:
    wide = jax.random.bits(fast(3), (5, 4), "uint64")
    assert wide.dtype == jnp.uint64
    words = np.asarray(jaxdrop.random_bits(fast(3), (5, 4, 2))).astype(np.uint64)
    np.testing.assert_array_equal(wide, words[..., 0] << np.uint64(32) | words[..., 1])


def test_dropout_with_such_a_key() -> None:
    x = jnp.ones((64, 33))
    plain = jax.random.key(3, impl="threefry2x32")
    np.testing.assert_array_equal(jaxdrop.dropout(fast(3), x, 0.3), jaxdrop.dropout(plain, x, 0.3))
    by_key = jaxdrop.keep_mask(fast(3), x.shape, 0.3, bits="key")
    np.testing.assert_array_equal(by_key, jax.random.bernoulli(fast(3), 0.7, x.shape))


# jax.random's distributions


@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.usefixtures("x64")
def test_every_bit_is_fair(width: int) -> None:
    n = 1 << 16
    drawn = np.asarray(jax.random.bits(fast(21), (n,), f"uint{width}"))
    ones = [
        int((drawn >> np.array(b, drawn.dtype) & np.array(1, drawn.dtype)).sum())
        for b in range(width)
    ]
    assert _fair(ones, n)
    stuck = drawn | np.array(1, drawn.dtype)
    broken = [
        int((stuck >> np.array(b, drawn.dtype) & np.array(1, drawn.dtype)).sum())
        for b in range(width)
    ]
    assert not _fair(broken, n)


def _fair(ones: list[int], n: int) -> bool:
    law = stats.binom(n, 0.5)
    return all(2 * min(law.cdf(c), law.sf(c - 1)) > FALSE_ALARM / len(ones) for c in ones)


CONTINUOUS: dict[str, tuple[Callable[..., jax.Array], Any]] = {
    "uniform": (jax.random.uniform, stats.uniform),
    "normal": (jax.random.normal, stats.norm),
    "exponential": (jax.random.exponential, stats.expon),
    "gumbel": (jax.random.gumbel, stats.gumbel_r),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name: str) -> None:
    draw, law = CONTINUOUS[name]
    sample = np.asarray(draw(fast(31), (1 << 16,)))
    assert stats.kstest(sample, law.cdf).pvalue > FALSE_ALARM
    assert stats.kstest(sample * 1.05, law.cdf).pvalue < FALSE_ALARM


def test_bernoulli() -> None:
    n, p = 1 << 18, 0.3
    law = stats.binom(n, p)
    count = int(jax.random.bernoulli(fast(32), p, (n,)).sum())
    assert 2 * min(law.cdf(count), law.sf(count - 1)) > FALSE_ALARM
    off = int(jax.random.bernoulli(fast(32), p + 0.01, (n,)).sum())
    assert 2 * min(law.cdf(off), law.sf(off - 1)) < FALSE_ALARM


def test_categorical() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    n = 1 << 16
    drawn = jax.random.categorical(fast(33), jnp.log(jnp.asarray(p, jnp.float32)), shape=(n,))
    counts = np.bincount(np.asarray(drawn), minlength=4)
    assert stats.chisquare(counts, n * p).pvalue > FALSE_ALARM
    assert stats.chisquare(counts, n * np.roll(p, 1)).pvalue < FALSE_ALARM


def test_permutation() -> None:
    keys = jax.random.split(fast(34), 6000)
    drawn = np.asarray(jax.vmap(lambda key: jax.random.permutation(key, 4))(keys))
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(4), (6000, 1)))
    counts = np.bincount(drawn @ np.array([64, 16, 4, 1]))
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_permutation_of_an_array_keeps_its_rows() -> None:
    x = jnp.arange(30).reshape(10, 3)
    shuffled = np.asarray(jax.random.permutation(fast(35), x))
    np.testing.assert_array_equal(shuffled[np.argsort(shuffled[:, 0])], x)
    assert not np.array_equal(shuffled, x)


def test_randint_choice_and_truncated_normal_run() -> None:
    drawn = jax.random.randint(fast(36), (4096,), 0, 10)
    assert set(np.asarray(drawn).tolist()) == set(range(10))
    chosen = jax.random.choice(fast(37), 100, (50,), replace=False)
    assert len(set(np.asarray(chosen).tolist())) == 50
    cut = jax.random.truncated_normal(fast(38), -1.0, 1.0, (1000,))
    assert float(jnp.abs(cut).max()) <= 1.0


# Transformations


def test_vmap_over_keys_equals_the_loop() -> None:
    keys = data(jax.random.split(fast(41), 5))
    for draw in (jax.random.bits, jax.random.normal, jax.random.uniform):
        mapped = jax.vmap(functools.partial(draw, shape=(3, 4)))(of(keys))
        for i in range(5):
            np.testing.assert_array_equal(mapped[i], draw(of(keys[i]), (3, 4)))


def test_jit_equals_eager() -> None:
    eager = jax.random.bits(fast(42), (33, 5))
    np.testing.assert_array_equal(
        jax.jit(lambda key: jax.random.bits(key, (33, 5)))(fast(42)), eager
    )


def test_scan_over_keys_and_with_a_key_in_the_carry() -> None:
    keys = data(jax.random.split(fast(43), 4))
    _, drawn = jax.lax.scan(lambda c, key: (c, jax.random.bits(key, (6,))), 0, of(keys))
    for i in range(4):
        np.testing.assert_array_equal(drawn[i], jax.random.bits(of(keys[i]), (6,)))

    def step(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        key, now = jax.random.split(key)
        return key, jax.random.uniform(now, (2,))

    last, values = jax.lax.scan(step, fast(44), None, length=3)
    assert values.shape == (3, 2) and len(np.unique(values)) == 6
    assert jax.random.key_impl(last) == "jaxdrop_fast"


def mesh() -> Mesh:
    return Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))


COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def test_sharded_bits_are_the_same_without_collectives() -> None:
    place = NamedSharding(mesh(), PartitionSpec("x", "y"))
    draw = jax.jit(lambda key: jax.random.bits(key, (64, 32)), out_shardings=place)
    text = draw.lower(fast(45)).compile().as_text()
    assert text
    assert not [name for name in COLLECTIVES if name in text]
    np.testing.assert_array_equal(draw(fast(45)), jax.random.bits(fast(45), (64, 32)))


def test_sharded_dropout_of_jax_random_has_no_collectives() -> None:
    place = NamedSharding(mesh(), PartitionSpec("x", "y"))

    def drop(key: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0.0)

    x = jnp.ones((64, 32))
    jitted = jax.jit(drop, in_shardings=(None, place), out_shardings=place)
    text = jitted.lower(fast(46), x).compile().as_text()
    assert text
    assert not [name for name in COLLECTIVES if name in text]
    np.testing.assert_array_equal(jitted(fast(46), jax.device_put(x, place)), drop(fast(46), x))


def test_shard_map_with_a_key_for_each_shard() -> None:
    keys = data(jax.random.split(fast(47), 4))
    rows = PartitionSpec("x")

    def draw(keys: jax.Array) -> jax.Array:
        return jax.random.bits(keys[0], (1, 8))

    drawn = jax.shard_map(draw, mesh=mesh(), in_specs=(rows,), out_specs=rows, check_vma=False)(
        of(keys)
    )
    for i in range(4):
        np.testing.assert_array_equal(drawn[i], jax.random.bits(of(keys[i]), (1, 8))[0])


def test_sharded_keys() -> None:
    place = NamedSharding(mesh(), PartitionSpec("x"))
    keys = data(jax.random.split(fast(48), 4))
    mapped = jax.jit(jax.vmap(lambda key: jax.random.bits(key, (3,))))
    np.testing.assert_array_equal(mapped(jax.device_put(of(keys), place)), mapped(of(keys)))


def test_reuse_of_a_key_is_noticed() -> None:
    key = fast(49)
    jax.random.normal(key, (2,))
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.normal(key, (2,))


def test_use_after_split_is_noticed() -> None:
    key = fast(50)
    jax.random.split(key)
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.bits(key, (2,))


# Saving


OTHER_PROCESS = """
import pickle, sys, jax
key = pickle.load(sys.stdin.buffer)
print(jax.random.bits(key, (6,)).tolist())
print(jax.random.bits(jax.random.split(key)[0], (2,)).tolist())
"""


def test_a_pickled_key_draws_the_same_in_another_process() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", OTHER_PROCESS],
        input=pickle.dumps(fast(53)),
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    expected = [
        jax.random.bits(fast(53), (6,)).tolist(),
        jax.random.bits(jax.random.split(fast(53))[0], (2,)).tolist(),
    ]
    assert done.stdout.decode().splitlines() == [str(line) for line in expected]


# Other libraries' dropout, unchanged, given such a key

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
