"""token_skip: equal to the stack run on all tokens, with a mask for those that go through."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
from tests.core.test_varying import check
from tests.functional.as_masked import Function, assert_same, in_scan, in_vmap
from tests.functional.test_kept_units import GROUPS, N, assert_uniform

BATCH, TOKENS, FEATURES, RATE, PREFIX = 2, 9, 4, 0.5, 1
X = jnp.sin(jnp.arange(BATCH * TOKENS * FEATURES * 1.0)).reshape(BATCH, TOKENS, FEATURES)
KERNEL = jnp.cos(jnp.arange(FEATURES * FEATURES * 1.0)).reshape(FEATURES, FEATURES)
KEY = jax.random.key(7)
HALF = X.astype(jnp.bfloat16), KERNEL.astype(jnp.bfloat16)
TWO_LAYERS = functools.partial(in_scan, depth=2)


def attend(kernel: Any, h: Any, positions: Any, mask: Any) -> Any:
    """A layer that knows the positions, by what it adds to the tokens, and attends to them."""
    embedded = h + jnp.sin(positions[..., None].astype(h.dtype))
    q = embedded @ kernel
    scores = jnp.where(mask, q @ q.mT, -jnp.inf)
    return h + jax.nn.softmax(scores, axis=-1) @ h


def causal(positions: Any) -> Any:
    """Pairs (batch, queries, keys), by their places in what is given, as ``is_causal`` does it."""
    tokens = positions.shape[1]
    mask = jnp.tril(jnp.ones((tokens, tokens), bool))
    return jnp.broadcast_to(mask, (len(positions), tokens, tokens))


def skipped(key: Any, x: Any, kernel: Any) -> Any:
    def layers(h: Any, positions: Any) -> Any:
        h = attend(kernel, h, positions, causal(positions))
        return attend(kernel, h, positions, causal(positions))

    return jaxdrop.token_skip(key, layers, x, RATE, prefix=PREFIX)


def masked(key: Any, x: Any, kernel: Any) -> Any:
    """Computed for all tokens: those that skip are seen by none, and are put back at the end."""
    kept = jaxdrop.patch_indices(key, x.shape[:2], RATE, prefix=PREFIX)
    through = (kept[:, :, None] == jnp.arange(TOKENS)[None, None]).any(axis=1)
    positions = jnp.broadcast_to(jnp.arange(TOKENS), x.shape[:2])
    mask = causal(positions) & through[:, None] | jnp.eye(TOKENS, dtype=bool)[None]
    h = attend(kernel, attend(kernel, x, positions, mask), positions, mask)
    return jnp.where(through[:, :, None], h, x)


def wrong_positions(key: Any, x: Any, kernel: Any) -> Any:
    """Counted among those that go through."""

    def layers(h: Any, positions: Any) -> Any:
        counted = jnp.broadcast_to(jnp.arange(h.shape[1]), positions.shape)
        h = attend(kernel, h, counted, causal(positions))
        return attend(kernel, h, counted, causal(positions))

    return jaxdrop.token_skip(key, layers, x, RATE, prefix=PREFIX)


def zeroed(key: Any, x: Any, kernel: Any) -> Any:
    """What skips is lost."""
    y = masked(key, x, kernel)
    return jnp.where(y == x, 0, y)


@pytest.mark.slow
@pytest.mark.parametrize("around", [lambda f: f, in_vmap, TWO_LAYERS], ids=["jit", "vmap", "scan"])
def test_causal_attention_over_the_kept_is_full_attention_with_a_mask(
    around: Callable[[Function], Function],
) -> None:
    assert_same(around(skipped), around(masked), X, KERNEL, ulps=16)


@pytest.mark.slow
def test_it_is_in_bfloat16_too() -> None:
    assert_same(skipped, masked, *HALF, ulps=16)


@pytest.mark.slow
@pytest.mark.parametrize("planted", [wrong_positions, zeroed])
def test_a_broken_one_is_caught(planted: Function) -> None:
    with pytest.raises(AssertionError):
        assert_same(planted, masked, X, KERNEL, ulps=16)


@pytest.mark.slow
def test_every_token_and_every_pair_goes_through_equally_often() -> None:
    """They are read off the output."""
    x = jnp.zeros((GROUPS, N + 1, 1))
    y = jaxdrop.token_skip(jax.random.key(0), lambda h, positions: h + 1, x, 0.5, prefix=1)
    assert (y[:, 0] == 1).all()
    kept = np.nonzero(np.asarray(y[:, 1:, 0]))[1].reshape(GROUPS, N // 2)
    assert_uniform(kept, N)
    kept[: GROUPS // 4] = np.arange(N // 2)  # as if a quarter of the examples chose the first half
    with pytest.raises(AssertionError, match="units"):
        assert_uniform(kept, N)


@pytest.mark.slow
def test_positions_are_those_of_patch_indices() -> None:
    seen: list[Any] = []

    def layers(h: Any, positions: Any) -> Any:
        np.testing.assert_array_equal(h[:, :, 0], positions)
        seen.append(positions)
        return h

    x = jnp.broadcast_to(jnp.arange(9.0)[:, None], (2, 9, 4))
    y = jaxdrop.token_skip(KEY, layers, x, 0.5, prefix=2)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(seen[0], jaxdrop.patch_indices(KEY, (2, 9), 0.5, prefix=2))
    for rate, mode in ((0.5, True), (0.0, False)):
        jaxdrop.token_skip(None, layers, x, rate, deterministic=mode)
        np.testing.assert_array_equal(seen.pop(), np.tile(np.arange(9), (2, 1)))
    assert seen[0].dtype == jnp.int32


@pytest.mark.slow
@pytest.mark.parametrize("varies", [(True, True, False), (False, False, True)])
def test_each_shard_has_its_own_subset(varies: tuple[bool, ...]) -> None:
    """A loop over the shards; gradients of the kernel that they share are summed."""
    check(skipped, (KEY, X, KERNEL), varies, "one axis")


def test_a_batch_that_is_split_over_devices_stays_where_it_is() -> None:
    mesh = jax.make_mesh((2,), ("data",), (AxisType.Auto,), devices=jax.devices()[:2])
    x = jax.device_put(X, NamedSharding(mesh, P("data")))
    text = jax.jit(skipped).lower(KEY, x, KERNEL).compile().as_text() or ""
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "permute("))


def test_bad_arguments_are_told_in_a_sentence() -> None:
    def same(h: Any, positions: Any) -> Any:
        return h

    def run(layers: Any = same, x: Any = X, rate: Any = 0.5, **options: Any) -> Any:
        return jaxdrop.token_skip(KEY, layers, x, rate, **options)

    with pytest.raises(TypeError, match="token_skip takes a Python number"):
        jax.jit(lambda rate: run(rate=rate))(0.5)
    with pytest.raises(TypeError, match="token_skip takes a Python bool"):
        jax.jit(lambda mode: run(deterministic=mode))(True)
    with pytest.raises(
        ValueError, match=r"float32\[2,4,4\]|float32\[2, 4, 4\].*token_skip can skip"
    ):
        run(lambda h, positions: h.sum())
    with pytest.raises(TypeError, match="^got layers=3 of type int"):
        run(3)
    with pytest.raises(ValueError, match=r"^got x of shape \(9, 4\); token_skip takes"):
        run(x=X[0])
    with pytest.raises(ValueError, match="^got prefix=10 for 9 tokens"):
        run(prefix=10)
    with pytest.raises(ValueError, match="token_skip needs a random key and got None"):
        jaxdrop.token_skip(None, same, X, 0.5)
