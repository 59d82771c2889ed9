"""The fingerprint sees every bit, every pair of them, signs and swaps; a linear sum does not."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdrop.training._fingerprint import fingerprint, linear_fingerprint

WORDS = {
    "zeros": np.zeros(6, np.uint32),
    "equal": np.full(6, 0x3F800000, np.uint32),  # 1.0
    "random": np.arange(1, 7, dtype=np.uint32) * np.uint32(2654435761),
}


def unnoticed(how: Callable[[Any], jax.Array], words: np.ndarray, changed: np.ndarray) -> int:
    """Return how many of the changed arrays have the fingerprint of the words."""
    prints = np.asarray(jax.jit(jax.vmap(how))(changed.view(np.float32)))
    whole = np.asarray(how(words.view(np.float32)))
    return int(np.sum((prints == whole).reshape(len(prints), -1).all(axis=1)))


def flips(words: np.ndarray) -> np.ndarray:
    """Return the array with every single bit flipped, and with every pair of bits."""
    one = np.zeros((32 * words.size, words.size), np.uint32)
    bits = np.arange(len(one))
    one[bits, bits // 32] = np.uint32(1) << (bits % 32).astype(np.uint32)
    first, second = np.array(list(itertools.combinations(bits, 2))).T
    return words ^ np.concatenate([one, one[first] ^ one[second]])


@pytest.mark.parametrize("kind", WORDS)
def test_no_pair_of_flipped_bits_cancels(kind: str) -> None:
    changed = flips(WORDS[kind])
    assert len(changed) == 192 + 192 * 191 // 2
    # By chance 18,528 of them would meet its 64 bits with a probability of 1e-15.
    assert unnoticed(fingerprint, WORDS[kind], changed) == 0
    assert unnoticed(linear_fingerprint, WORDS[kind], changed) > 0  # the test sees a weak one


@pytest.mark.parametrize("kind", ["equal", "random"])
def test_signs_and_permutations_are_seen(kind: str) -> None:
    words = WORDS[kind]
    signs = np.array([s for s in itertools.product([0, 1 << 31], repeat=6) if any(s)], np.uint32)
    assert unnoticed(fingerprint, words, words ^ signs) == 0
    assert unnoticed(linear_fingerprint, words, words ^ signs) > 0  # w and -w, for one
    if kind == "random":
        orders = np.array(list(itertools.permutations(range(6)))[1:])
        assert unnoticed(fingerprint, words, words[orders]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "bool", "bfloat16", "float16", "int32", "complex64"])
def test_every_dtype_and_place_counts(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4) % 5
    first: dict[str, Any] = {"a": jnp.asarray(array).astype(dtype), "b": np.zeros((), np.int8)}
    trees = [first, {**first, "a": first["a"].T}, {**first, "a": jnp.roll(first["a"], 1)}]
    trees += [{**first, "b": np.ones((), np.int8)}]
    prints = [np.asarray(fingerprint(tree)).tolist() for tree in trees]
    assert all(a != b for a, b in itertools.combinations(prints, 2))
    assert np.shape(prints[0]) == (2, 2)


@pytest.mark.slow
def test_the_sharding_does_not_count_and_the_numbers_stay() -> None:
    array = np.arange(64, dtype=np.float32).reshape(8, 8)
    mesh = jax.make_mesh((4, 2), ("i", "j"))
    prints = [
        np.asarray(fingerprint([jax.device_put(array, jax.NamedSharding(mesh, spec))])).tolist()
        for spec in (jax.P(), jax.P("i"), jax.P("j", "i"), jax.P(("i", "j")))
    ]
    assert all(p == prints[0] for p in prints)
    assert prints[0] == GOLDEN  # stored in checkpoints
    assert fingerprint({}).shape == (0, 2)


GOLDEN = [[3793429127, 2073909363]]
