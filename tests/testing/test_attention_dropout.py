"""assert_attention_dropout: right attention passes, each planted fault has its sentence."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from jaxdrop.testing import assert_attention_dropout
from jaxdrop.testing._attention import LAWS

SMALL: dict[str, Any] = {"rate": 0.5, "shape": (2, 2, 64, 64), "head_size": 32}


def all_but(*laws: str) -> list[str]:
    """What to skip where the other laws have passed already: compiling is what takes time."""
    return [law for law in LAWS if law not in laws]


def flax(q: Any, k: Any, v: Any, *, dropout_key: Any, **given: Any) -> Any:
    return nn.dot_product_attention(q, k, v, dropout_rng=dropout_key, **given)


@pytest.mark.slow
def test_the_reference_passes() -> None:
    fn = functools.partial(jaxdrop.dot_product_attention, implementation="reference")
    assert_attention_dropout(fn, **SMALL)


@pytest.mark.slow
def test_ragged_tiles_pass_and_causality_may_be_an_option() -> None:
    def fn(*qkv: Any, mask: Any, **given: Any) -> Any:
        return jaxdrop.dot_product_attention(
            *qkv, is_causal=mask is not None, block_q=24, block_kv=20, **given
        )

    assert_attention_dropout(fn, **SMALL)


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # at rate 0 jax.nn promotes bfloat16
def test_in_bfloat16_it_passes() -> None:
    def fn(*qkv: Any, **given: Any) -> Any:
        return jaxdrop.dot_product_attention(*(a.astype(jnp.bfloat16) for a in qkv), **given)

    assert_attention_dropout(fn, **SMALL)


@pytest.mark.slow
def test_flax_with_a_mask_for_each_head_passes_but_at_rate_one() -> None:
    fn = functools.partial(flax, broadcast_dropout=False)
    assert_attention_dropout(fn, **SMALL, skip=["rate one"])
    with pytest.raises(AssertionError, match=r"^rate one: .* the output are not 0, \d+ of them Na"):
        assert_attention_dropout(fn, **SMALL, skip=all_but("rate one"))


@pytest.mark.slow
def test_drop_key_passes_but_for_the_scale_that_it_has_not() -> None:
    fn = functools.partial(jaxdrop.dot_product_attention, dropout_on="keys")
    assert_attention_dropout(fn, **SMALL, skip=["scale", "output", "gradient"])
    with pytest.raises(AssertionError, match="^scale: a weight that is kept is"):
        assert_attention_dropout(fn, **SMALL, skip=all_but("scale"))


# Planted faults. Each is the right function but for one of these hooks.


def keep(key: Any, shape: Any, rate: float) -> Any:
    return jaxdrop.keep_mask(key, shape, rate)


def scaled(p: Any, m: Any, rate: float) -> Any:
    return jnp.where(m, p / (1 - rate), 0.0) if rate < 1 else jnp.zeros_like(p)


def planted(
    keep: Callable[..., Any] = keep,
    drop: Callable[..., Any] = scaled,
    drop_logits: Callable[..., Any] | None = None,
    ignores_mode: bool = False,
) -> Callable[..., Any]:
    def fn(
        q: Any, k: Any, v: Any, *, mask: Any, dropout_rate: float, dropout_key: Any,
        deterministic: bool,
    ) -> Any:  # fmt: skip
        logits = jnp.einsum("btnh,bsnh->bnts", q, k) / q.shape[-1] ** 0.5
        if mask is not None:
            logits = jnp.where(mask, logits, -1e30)
        on = dropout_rate > 0 and (ignores_mode or not deterministic)
        m = None
        if on:
            key = jax.random.key(5) if dropout_key is None else dropout_key
            m = keep(key, logits.shape, dropout_rate)
            if drop_logits is not None:
                logits = drop_logits(logits, m, dropout_rate)
        p = jax.nn.softmax(logits)
        if on and drop_logits is None:
            p = drop(p, m, dropout_rate)
        return jnp.einsum("bnts,bsnh->btnh", p, v)

    return fn


def shared(*dims: int) -> Callable[..., Any]:
    return lambda key, shape, rate: jaxdrop.keep_mask(key, shape, rate, broadcast_dims=dims)


def tiled(key: Any, shape: Any, rate: float, rows: int = 16, columns: int = 16) -> Any:
    """One tile for all: the key is not folded with the number of the block."""
    b, n, t, s = shape
    tile = jaxdrop.keep_mask(key, (b, n, min(rows, t), min(columns, s)), rate)
    return jnp.tile(tile, (1, 1, t // tile.shape[2], s // tile.shape[3]))


def summed(key: Any, shape: Any, rate: float) -> Any:
    """The key is folded with the sum of a tile's row and column."""
    b, n, t, s = shape
    tiles = {
        i: jaxdrop.keep_mask(jax.random.fold_in(key, i), (b, n, t // 2, s // 2), rate)
        for i in range(3)
    }
    return jnp.block([[tiles[0], tiles[1]], [tiles[1], tiles[2]]])


def another_backward(p: Any, m: Any, rate: float) -> Any:
    @jax.custom_vjp
    def drop(p: Any) -> Any:
        return scaled(p, m, rate)

    drop.defvjp(lambda p: (drop(p), None), lambda _, g: (scaled(g, m[..., ::-1], rate),))
    return drop(p)


def twice_backward(p: Any, m: Any, rate: float) -> Any:
    @jax.custom_vjp
    def drop(p: Any) -> Any:
        return scaled(p, m, rate)

    drop.defvjp(lambda p: (drop(p), None), lambda _, g: (scaled(scaled(g, m, rate), m, rate),))
    return drop(p)


COUNT = np.zeros(1, np.uint32)


def counted(key: Any, shape: Any, rate: float) -> Any:
    """A hidden count of executions moves the mask."""

    def count() -> np.ndarray:
        COUNT[0] += 1
        return COUNT[0]

    number = jax.pure_callback(count, jax.ShapeDtypeStruct((), jnp.uint32))
    return jaxdrop.keep_mask(jax.random.fold_in(key, number), shape, rate)


FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "flax's default": (flax, r"heads: .* \(they are identical\)"),
    "shared by heads": (
        planted(shared(1)),
        "heads: example ., head 0 and example ., head 1 keep .* identical",
    ),
    "shared by examples": (planted(shared(0)), "batch: example 0, head . and example 1, head . ke"),
    "shared by queries": (planted(shared(2)), "rows: the even queries of .* identical"),
    "shared by keys": (planted(shared(3)), "(rows|columns): the even "),
    "repeated per block": (planted(tiled), "(rows|columns|tiles): "),
    "repeated per half": (
        planted(functools.partial(tiled, rows=32, columns=32)),
        "(rows|columns|tiles): ",
    ),
    "tiles by a sum": (
        planted(summed),
        "tiles: the first queries and last keys of .* and the last queries and first keys",
    ),
    "a static seed": (
        planted(lambda key, shape, rate: keep(jax.random.key(42), shape, rate)),
        "keys: .* under one key and under another key keep .* identical",
    ),
    "a seed that must be known": (
        planted(
            lambda key, shape, rate: keep(
                jax.random.key(int(jax.random.key_data(key)[0])), shape, rate
            )
        ),
        "key: .* with a traced key it raised ConcretizationTypeError",
    ),
    "a count of executions": (planted(counted), "key: two calls with the same key gave other"),
    "the rate is ignored": (
        planted(lambda key, shape, rate: jnp.ones(shape, bool)),
        r"rate: 0 of 16384 weights are dropped, expected 8192",
    ),
    "the rate is that of keeping": (
        planted(lambda key, shape, rate: keep(key, shape, 0.6)),
        "rate: the mask of shape .* keeps .* at rate 0.5",
    ),
    "logits of 0": (
        planted(drop_logits=lambda logits, m, rate: jnp.where(m, logits, 0.0)),
        r"leak: under a causal mask \d+ weights of later keys are not 0, the first that of query 0",
    ),
    "no scale": (
        planted(drop=lambda p, m, rate: jnp.where(m, p, 0.0)),
        r"scale: a weight that is kept is 1 times .* expected 1 / \(1 - rate\) = 2",
    ),
    "another mask backward": (planted(drop=another_backward), "gradient: of the gradient of query"),
    "dropped twice backward": (planted(drop=twice_backward), "gradient: of the gradient of query"),
    "0 / 0": (
        planted(drop=lambda p, m, rate: p * (m.astype(p.dtype) / jnp.float32(1 - rate))),
        "rate one: at rate 1 .* of the output are not 0, .* NaN",
    ),
    "dropout at test time": (
        planted(ignores_mode=True),
        "test time: expected the same bits in test mode, but a call with jax.random.key",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str) -> None:
    fn, said = FAULTS[name]
    law, _, _ = said.partition(":")
    skip = all_but(law) if law in ("scale", "gradient", "rate one", "test time") else []
    with pytest.raises(AssertionError, match=f"^{said}"):
        assert_attention_dropout(fn, **SMALL, skip=skip)


@pytest.mark.slow
def test_the_right_function_without_a_fault_passes() -> None:
    assert_attention_dropout(planted(), **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [25, 26])
def test_a_rate_of_eight_bits_is_found(threshold: int) -> None:
    """26 / 256 is off by 7.5 standard deviations of 2**21 weights at rate 0.1, 25 / 256 by 11."""
    fn = planted(lambda key, shape, rate: keep(key, shape, threshold / 256))
    with pytest.raises(AssertionError, match=r"^rate: the mask of shape .* keeps .* at rate 0\.1"):
        assert_attention_dropout(fn, shape=(2, 2, 8192, 64), skip=all_but("rate"))


@pytest.mark.slow
def test_what_it_cannot_test_is_told() -> None:
    with pytest.raises(ValueError, match="rate=0.0, expected one above 0 and below 1"):
        assert_attention_dropout(planted(), rate=0.0)
    with pytest.raises(ValueError, match=r"shape=\(1, 2, 64, 64\), expected \(B, N, T, S\)"):
        assert_attention_dropout(planted(), shape=(1, 2, 64, 64))
    with pytest.raises(ValueError, match="'speed' in skip=.* expected names of laws, of 'key'"):
        assert_attention_dropout(planted(), skip=["speed"])
    with pytest.raises(ValueError, match="any overlap would pass"):
        small: Any = {"rate": 0.5, "shape": (2, 2, 4, 4), "head_size": 4}
        assert_attention_dropout(planted(), **small, skip=all_but("rows"))
