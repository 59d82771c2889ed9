"""Legacy keys of two words (threefry) and of four (rbg): each means the same in every function."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.mc
import jaxdrop.nnx

X = jnp.ones((4, 6))
PARAMS = {"hf": {"kernel": X}}


@pytest.fixture(params=["threefry2x32", "unsafe_rbg"])
def default(request: pytest.FixtureRequest) -> Iterator[str]:
    """The implementation of the keys that ``jax.random.PRNGKey`` makes."""
    with jax.default_prng_impl(request.param):
        yield request.param


def cell(carry: Any, x: Any) -> tuple[Any, Any]:
    return carry + x, carry


def everywhere(key: Any) -> list[Any]:
    """What the functions that take a key, and those that derive others from it, draw."""
    zoneout = jaxdrop.nnx.Zoneout(nnx.SimpleCell(6, 6, rngs=nnx.Rngs(0)), 0.5)
    return [
        jaxdrop.random_bits(key, (4,)),
        jaxdrop.dropout(key, X, 0.5),
        jaxdrop.keep_mask(key, (4, 6), 0.5, bits="key"),
        jaxdrop.weight_drop(key, PARAMS, 0.5)["hf"]["kernel"],
        jaxdrop.recurrent_cell(key, cell, 0.5)(X, X)[0],
        jaxdrop.nnx.Dropout(0.5)(X, rngs=key),
        jaxdrop.linen.Dropout(0.5, deterministic=False).apply({}, X, rng=key),
        zoneout(X, X, rngs=key)[0],
        jaxdrop.mc.mc_predict(lambda k, x: jaxdrop.dropout(k, x, 0.5), key, X, 2),
    ]


def implementation(words: int, default: str) -> str:
    if words == 2:
        return "threefry2x32"
    return default if default != "threefry2x32" else "rbg"


@pytest.mark.slow
@pytest.mark.parametrize("words", [2, 4])
def test_a_legacy_key_is_the_typed_key_of_its_words(words: int, default: str) -> None:
    legacy = jnp.arange(7, 7 + words, dtype=jnp.uint32)
    typed = jax.random.wrap_key_data(legacy, impl=implementation(words, default))
    for got, want in zip(everywhere(legacy), everywhere(typed), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("words", [0, 1, 3, 5, 8])
def test_other_numbers_of_words_are_no_key(words: int) -> None:
    said = f"^got {words} uint32 words where a random key belongs, expected 2 .threefry. or 4 .rbg"
    with pytest.raises(ValueError, match=said):
        jaxdrop.dropout(np.ones(words, np.uint32), X, 0.5)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_a_donated_key_is_told_so(make: Any) -> None:
    key = make(0)
    jax.jit(lambda key: jax.random.split(key)[0], donate_argnums=0)(key)
    key.delete()  # where the program did not take its memory
    with pytest.raises(ValueError, match="^got a key that was deleted, .* pass dropout a key"):
        jaxdrop.dropout(key, X, 0.5)
