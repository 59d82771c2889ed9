"""drop_path_subset: as if computed for all examples and masked; every subset equally likely."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxdrop
from tests.core.test_varying import check
from tests.functional.as_masked import Function, assert_same, in_scan, in_vmap
from tests.functional.test_kept_units import GROUPS, N, assert_uniform

BATCH, RATE = 10, 0.35  # keeps 7: round(6.5), so that the true share is not 1 - rate
X = jnp.sin(jnp.arange(BATCH * 3.0)).reshape(BATCH, 3)
KERNEL = jnp.cos(jnp.arange(9.0)).reshape(3, 3)
KEY = jax.random.key(7)
HALF = X.astype(jnp.bfloat16), KERNEL.astype(jnp.bfloat16)


def branch(kernel: Any, h: Any) -> Any:
    return jnp.tanh(h @ kernel)


def subset(key: Any, x: Any, kernel: Any) -> Any:
    return x + jaxdrop.drop_path_subset(key, functools.partial(branch, kernel), x, RATE)


def masked(key: Any, x: Any, kernel: Any) -> Any:
    """Computed for all examples."""
    kept = jaxdrop.kept_units(key, BATCH, RATE)
    share = len(kept) / BATCH
    factor = jnp.zeros((BATCH, 1)).at[kept].set(1 / share).astype(x.dtype)
    return x + branch(kernel, x) * factor


def nominal_scale(key: Any, x: Any, kernel: Any) -> Any:
    """Divided by 1 - rate, which is not the share that is kept."""
    return x + (subset(key, x, kernel) - x) * jnp.asarray(7 / 10 / (1 - RATE), x.dtype)


def shifted(key: Any, x: Any, kernel: Any) -> Any:
    """Put back one place on."""
    return x + jnp.roll(subset(key, x, kernel) - x, 1, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("around", [lambda f: f, in_vmap, in_scan], ids=["jit", "vmap", "scan"])
def test_it_is_the_masked_computation(around: Callable[[Function], Function]) -> None:
    assert_same(around(subset), around(masked), X, KERNEL, ulps=8)


def test_it_is_in_bfloat16_too() -> None:
    assert_same(subset, masked, *HALF, ulps=8)


@pytest.mark.parametrize("planted", [nominal_scale, shifted])
def test_a_broken_one_is_caught(planted: Function) -> None:
    with pytest.raises(AssertionError):
        assert_same(planted, masked, X, KERNEL, ulps=8)


def test_without_jit_it_is_the_same() -> None:
    np.testing.assert_allclose(subset(KEY, X, KERNEL), masked(KEY, X, KERNEL), rtol=1e-6)


def test_every_example_and_every_pair_is_kept_equally_often() -> None:
    """They are read off the output."""

    @jax.jit
    @jax.vmap
    def run(key: Any) -> Any:
        return jaxdrop.drop_path_subset(key, lambda h: h, jnp.ones(N), 0.5)

    y = np.asarray(run(jax.random.split(jax.random.key(0), GROUPS)))
    assert set(np.unique(y)) == {0.0, 2.0} and (y.sum(axis=1) == N).all()
    kept = np.nonzero(y)[1].reshape(GROUPS, N // 2)
    assert_uniform(kept, N)
    kept[: GROUPS // 4] = np.arange(N // 2)  # as if a quarter of the keys chose the first half
    with pytest.raises(AssertionError, match="units"):
        assert_uniform(kept, N)


@pytest.mark.parametrize("varies", [(True, True, False), (False, False, True)])
def test_each_shard_has_its_own_subset(varies: tuple[bool, ...]) -> None:
    """A loop over the shards; gradients of the kernel that they share are summed."""
    check(subset, (KEY, X, KERNEL), varies, "one axis")


def test_the_recipe_for_shards_needs_no_collective() -> None:
    mesh = jax.make_mesh((2,), ("data",), (AxisType.Auto,), devices=jax.devices()[:2])

    def shard(key: Any, x: Any, kernel: Any) -> Any:
        return subset(jax.random.fold_in(key, jax.lax.axis_index("data")), x, kernel)

    specs = (P(), P("data"), P())
    step = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=specs, out_specs=P("data")))
    x = jnp.concatenate([X, X])
    text = step.lower(KEY, x, KERNEL).compile().as_text() or ""
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "permute("))
    want = [subset(jax.random.fold_in(KEY, n), X, KERNEL) for n in range(2)]
    np.testing.assert_allclose(step(KEY, x, KERNEL), jnp.concatenate(want), rtol=1e-6)
    assert (want[0] != want[1]).any()


def test_the_branch_sees_the_kept_examples_alone() -> None:
    seen: list[Any] = []

    def watched(h: Any) -> Any:
        seen.append(h.shape)
        return h

    for batch, rate in ((10, 0.5), (9, 0.5), (3, 0.99), (1, 0.5), (0, 0.5)):
        jaxdrop.drop_path_subset(KEY, watched, jnp.ones((batch, 2)), rate)
    assert seen == [(5, 2), (5, 2), (1, 2), (1, 2), (0, 2)]


def test_test_time_and_rate_zero_are_the_branch() -> None:
    run = functools.partial(branch, KERNEL)
    for rate, mode in ((0.5, True), (1.0, True), (0.0, False)):
        y = jaxdrop.drop_path_subset(None, run, X, rate, deterministic=mode)
        np.testing.assert_array_equal(y, run(X))


def test_a_dropped_example_may_be_nan() -> None:
    kept = jaxdrop.kept_units(KEY, BATCH, 0.5)
    x = jnp.full(BATCH, jnp.nan).at[kept].set(1)

    def loss(x: Any) -> Any:
        return jaxdrop.drop_path_subset(KEY, jnp.exp, x, 0.5).sum()

    assert np.isfinite(loss(x)) and np.isfinite(jax.grad(loss)(x)).all()


def test_bad_arguments_are_told_in_a_sentence() -> None:
    run = functools.partial(jaxdrop.drop_path_subset, KEY)
    with pytest.raises(TypeError, match="drop_path_subset takes a Python number"):
        jax.jit(lambda rate: run(jnp.tanh, X, rate))(0.5)
    with pytest.raises(TypeError, match="drop_path_subset takes a Python bool"):
        jax.jit(lambda mode: run(jnp.tanh, X, 0.5, deterministic=mode))(True)
    with pytest.raises(ValueError, match=r"^got rate=1\.0, which keeps no example: leave the bran"):
        run(jnp.tanh, X, 1.0)
    with pytest.raises(ValueError, match=r"^got a branch that turns 5 example.s. into .* \(\);"):
        run(jnp.sum, X, 0.5)
    with pytest.raises(TypeError, match=r"^got branch=3 of type int"):
        run(3, X, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^got x of shape \(\), one number"):
        run(jnp.tanh, jnp.ones(()), 0.5)
    with pytest.raises(ValueError, match="drop_path_subset needs a random key and got None"):
        jaxdrop.drop_path_subset(None, jnp.tanh, X, 0.5)
