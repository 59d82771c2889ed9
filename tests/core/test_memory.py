"""Between forward and backward the key's words are kept and nothing else; no mask is stored."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.ad_checkpoint import print_saved_residuals

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.proofs import hlo, stack

SHAPE = (64, 32)
RATE = 0.3


def kept(f: Callable[..., Any], *args: Any) -> list[Any]:
    """What is kept for the backward pass of f."""
    pull = jax.vjp(f, *args)[1]
    return [leaf for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array)]


def is_words(leaf: jax.Array) -> bool:
    """The four words of the generator, or with bits="key" the data of the key."""
    return leaf.dtype == jnp.uint32 and leaf.shape in ((2,), (4,))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"broadcast_dims": (0,)},
    {"broadcast_dims": (0, 1)},
    {"scale_at": "test"},
    {"bits": "key"},
    {"index_offset": (7,)},
    {"index_offset": (1, 2), "global_shape": (128, 64)},
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_dropout_keeps_the_words(options: dict[str, Any], dtype: Any):
    leaves = kept(
        lambda key, x: jaxdrop.dropout(key, x, RATE, **options),
        jax.random.key(0),
        jnp.ones(SHAPE, dtype),
    )
    assert [is_words(leaf) for leaf in leaves] == [True]


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", jaxdrop.fast_prng_impl])
def test_whatever_the_key(impl: Any):
    leaves = kept(
        lambda key, x: jaxdrop.dropout(key, x, RATE), jax.random.key(0, impl=impl), jnp.ones(SHAPE)
    )
    assert [is_words(leaf) for leaf in leaves] == [True]


def test_legacy_key():
    leaves = kept(lambda x: jaxdrop.dropout(jax.random.PRNGKey(0), x, RATE), jnp.ones(SHAPE))
    assert [is_words(leaf) for leaf in leaves] == [True]


@pytest.mark.slow
@pytest.mark.parametrize("rate_shape", [(), (32,)], ids=str)
def test_a_rate_on_the_device_is_kept_as_it_is(rate_shape: tuple[int, ...]):
    leaves = kept(
        lambda x, rate: jaxdrop.dropout(jax.random.key(0), x, rate),
        jnp.ones(SHAPE),
        jnp.full(rate_shape, RATE),
    )
    assert sorted(leaf.shape for leaf in leaves) == sorted([(4,), rate_shape])


def test_a_traced_mode_and_offset():
    def drop(x: jax.Array, test: jax.Array, row: jax.Array) -> jax.Array:
        key = jax.random.key(0)
        return jaxdrop.dropout(key, x, RATE, deterministic=test, index_offset=(row,))

    leaves = kept(lambda x: jax.jit(drop)(x, jnp.bool_(False), jnp.int32(3)), jnp.ones(SHAPE))
    assert max(leaf.size for leaf in leaves) <= 4


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_without_a_mask_nothing_is_kept(rate: float):
    assert kept(lambda x: jaxdrop.dropout(jax.random.key(0), x, rate), jnp.ones(SHAPE)) == []
    assert kept(lambda x: jaxdrop.dropout(None, x, RATE, deterministic=True), jnp.ones(SHAPE)) == []


LAYERS: dict[str, Callable[..., Any]] = {
    "linen": lambda key, x, **options: jaxdrop.linen.Dropout(
        RATE, deterministic=False, **options
    ).apply({}, x, rngs={"dropout": key}),
    "nnx": lambda key, x, **options: jaxdrop.nnx.Dropout(RATE, rngs=nnx.Rngs(key), **options)(x),
}


@pytest.mark.parametrize("options", [o for o in OPTIONS if "index_offset" not in o], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_modules_keep_the_words(layer: str, options: dict[str, Any]):
    key = jax.random.key(0)
    leaves = kept(lambda x: LAYERS[layer](key, x, **options), jnp.ones(SHAPE))
    assert [is_words(leaf) for leaf in leaves] == [True]


def test_the_public_report_agrees(capsys: pytest.CaptureFixture[str]):
    print_saved_residuals(lambda x: jaxdrop.dropout(jax.random.key(0), x, RATE), jnp.ones(SHAPE))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith("u32[4]")


def test_the_check_sees_what_flax_keeps():
    leaves = kept(
        lambda x: linen.Dropout(RATE, deterministic=False).apply({}, x, rng=jax.random.key(0)),
        jnp.ones(SHAPE),
    )
    # A mask, a buffer of zeros and the scale.
    assert sum(leaf.nbytes for leaf in leaves) == 5 * np.prod(SHAPE) + 4


@pytest.mark.slow
@pytest.mark.parametrize("scanned", [False, True], ids=["unrolled", "scanned"])
@pytest.mark.parametrize("variant", ["none", "jaxdrop"])
def test_stack_compiled_for_the_cpu(variant: str, scanned: bool):
    """Eight layers of matmul, gelu and dropout, with their gradients."""
    compiled = stack.compile_stack(variant, scanned, rows=256, width=256, dtype=jnp.float32)
    assert hlo.mask_buffers(compiled.as_text(), 256 * 256) == []


@pytest.mark.slow
@pytest.mark.parametrize("scanned", [False, True], ids=["unrolled", "scanned"])
def test_temp_memory_of_the_stack_on_the_cpu(scanned: bool):
    def temp(variant: str) -> int:
        compiled = stack.compile_stack(variant, scanned, rows=256, width=256, dtype=jnp.float32)
        return compiled.memory_analysis().temp_size_in_bytes

    assert temp("jaxdrop") <= 1.02 * temp("none")


@pytest.mark.slow
def test_the_check_sees_flax_masks():
    compiled = stack.compile_stack("flax", True, rows=256, width=256, dtype=jnp.float32)
    assert hlo.mask_buffers(compiled.as_text(), 256 * 256)


def test_forward_pass_holds_no_buffer():
    x = jnp.ones((512, 512))
    compiled = jax.jit(lambda key, x: jaxdrop.dropout(key, x, RATE)).lower(jax.random.key(0), x)
    memory = compiled.compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < x.nbytes / 64
