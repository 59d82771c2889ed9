"""The properties that all members of the dropout family share, over the registry."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.family.registry import Member, Normal, TwoPoint, members

RATE = 0.3
KEYS = 2000
# Shared out among all comparisons that the statistical tests of this file make.
FALSE_ALARM = 1e-7


def over(**wanted: Any) -> Any:
    """Parametrise over the members whose attributes have the given values."""
    chosen = [m for m in members if all(getattr(m, k) == v for k, v in wanted.items())]
    names = [m.name for m in chosen]
    ids = [n if names.count(n) == 1 else f"{n}-{i}" for i, n in enumerate(names)]
    return pytest.mark.parametrize("member", chosen, ids=ids)


def with_law(*kinds: type) -> Any:
    chosen = [m for m in members if isinstance(m.law, kinds)]
    return pytest.mark.parametrize("member", chosen, ids=[m.name for m in chosen])


def key(n: int = 0) -> jax.Array:
    return jax.random.key(n)


def run(member: Member, k: jax.Array, x: jax.Array, rate: Any = RATE) -> jax.Array:
    """Apply the member under jit, which compiles once where eager would for each operation."""
    return jax.jit(lambda k, x: member.apply(k, x, rate))(k, x)


def close(y: Any, z: Any) -> None:
    """Equal but for the rounding of a fused multiply-add."""
    y, z = np.asarray(y), np.asarray(z)
    assert y.shape == z.shape and y.dtype == z.dtype
    np.testing.assert_allclose(y, z, rtol=2e-6, atol=1e-6)


@functools.cache
def sample(member: Member) -> np.ndarray:
    """Outputs for many keys, (KEYS, *shape) in float64."""
    draw = jax.jit(jax.vmap(lambda k: member.apply(k, member.example(), RATE)))
    return np.asarray(draw(jax.random.split(key(7), KEYS))).astype(np.float64)


def decisions(member: Member, y: np.ndarray) -> np.ndarray:
    """Where y was dropped; fails on a value outside of the support."""
    assert isinstance(member.law, TwoPoint)
    x = np.asarray(member.example()).astype(np.float64)
    kept, dropped = member.law.kept(x, RATE), member.law.dropped(x, RATE)
    is_kept, is_dropped = np.isclose(y, kept, 2e-6, 2e-7), np.isclose(y, dropped, 2e-6, 2e-7)
    assert (is_kept ^ is_dropped).all(), "a value outside of the support"
    return is_dropped


def check_counts(dropped: np.ndarray, rate: float) -> None:
    """Each element's number of drops over independent keys is binomial."""
    counts = dropped.sum(axis=0).reshape(-1)
    tail = FALSE_ALARM / 2 / counts.size
    low, high = scipy.stats.binom.ppf([tail, 1 - tail], len(dropped), rate)
    assert low <= counts.min() and counts.max() <= high, f"{counts} not in [{low}, {high}]"


def check_pairs(dropped: np.ndarray, rate: float) -> None:
    """Any two of the columns drop together as often as independent ones do."""
    both = dropped.T.astype(np.int64) @ dropped.astype(np.int64)
    counts = both[np.triu_indices(len(both), 1)]
    if counts.size:
        tail = FALSE_ALARM / 2 / counts.size
        low, high = scipy.stats.binom.ppf([tail, 1 - tail], len(dropped), rate**2)
        assert low <= counts.min() and counts.max() <= high, f"{counts} not in [{low}, {high}]"


def groups(member: Member, values: np.ndarray) -> np.ndarray:
    """One column per group of elements that share a decision, which they must."""
    assert member.shared is not None
    axes = tuple(d + 1 for d in member.shared)
    first = values[tuple(slice(0, 1) if d in axes else slice(None) for d in range(values.ndim))]
    assert (values == first).all(), "elements of one group were decided differently"
    return first.reshape(len(values), -1)


def standardised(member: Member, y: np.ndarray) -> np.ndarray:
    assert isinstance(member.law, Normal)
    x = np.asarray(member.example()).astype(np.float64)
    return (y - member.law.mean(x, RATE)) / member.law.std(x, RATE)


def check_normal(z: np.ndarray) -> None:
    """Mean, variance, every pair of columns, and the shape of the distribution."""
    n = z.size
    tail = FALSE_ALARM / 8
    assert abs(z.mean()) * n**0.5 < scipy.stats.norm.isf(tail)
    low, high = scipy.stats.chi2.ppf([tail, 1 - tail], n)
    assert low < (z**2).sum() < high
    columns = z.reshape(len(z), -1)
    r = np.corrcoef(columns.T)[np.triu_indices(columns.shape[1], 1)]
    # For independent columns, r / sqrt((1 - r**2) / (n - 2)) is exactly Student's.
    t = scipy.stats.t.isf(tail / r.size, len(z) - 2)
    assert abs(r).max() < t / (len(z) - 2 + t**2) ** 0.5
    assert scipy.stats.kstest(columns[:, 0], "norm").pvalue > FALSE_ALARM / 4


@with_law(TwoPoint)
def test_support_is_exact_and_each_element_is_dropped_at_the_rate(member: Member) -> None:
    check_counts(decisions(member, sample(member)), RATE)


@with_law(TwoPoint)
def test_a_rate_off_by_three_tenths_of_itself_is_caught(member: Member) -> None:
    dropped = decisions(member, sample(member))
    with pytest.raises(AssertionError, match="not in"):
        check_counts(dropped, RATE * 1.3)


@with_law(TwoPoint)
def test_decisions_are_shared_within_groups_and_independent_between(member: Member) -> None:
    if member.shared is None:
        pytest.skip("blocks overlap: the member's own tests state their law")
    check_pairs(groups(member, decisions(member, sample(member))), RATE)


@with_law(TwoPoint)
def test_wrong_sharing_is_caught(member: Member) -> None:
    if member.shared is None:
        pytest.skip("blocks overlap: the member's own tests state their law")
    dropped = decisions(member, sample(member))
    if member.shared:
        with pytest.raises(AssertionError, match="decided differently"):
            groups(member, np.random.default_rng(0).permuted(dropped, axis=0))
    one_for_all = np.broadcast_to(dropped.reshape(KEYS, -1)[:, :1], (KEYS, 4))
    with pytest.raises(AssertionError, match="not in"):
        check_pairs(one_for_all, RATE)


@with_law(Normal)
def test_noise_is_normal_with_the_stated_moments(member: Member) -> None:
    check_normal(standardised(member, sample(member)))


@with_law(Normal)
@pytest.mark.parametrize(
    "broken",
    [lambda z: z + 0.05, lambda z: z * 1.05, lambda z: np.sign(z), lambda z: z[:, :1] + 0 * z],
    ids=["shifted", "wider", "signs", "shared"],
)
def test_broken_noise_is_caught(member: Member, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_normal(broken(standardised(member, sample(member))))


@with_law(TwoPoint)
def test_mean_is_kept_where_the_registry_says_so(member: Member) -> None:
    assert isinstance(member.law, TwoPoint)
    x = np.array([-1.5, 0.25, 3.0])
    mean = (1 - RATE) * member.law.kept(x, RATE) + RATE * member.law.dropped(x, RATE)
    assert np.allclose(mean, x, rtol=1e-14) == member.unbiased


@over()
def test_rate_zero_and_test_mode_need_no_key(member: Member) -> None:
    x = member.example()
    for y in (member.apply(None, x, 0.0), member.apply(None, x, RATE, deterministic=True)):
        np.testing.assert_array_equal(y, member.test_time(x))


@over()
def test_rate_one(member: Member) -> None:
    if member.rate_one is None:
        pytest.skip("the member's own tests say what its rate of 1 does")
    x = member.example()
    np.testing.assert_array_equal(member.apply(key(), x, 1.0), member.rate_one(x))
    if member.traced_rate:
        y = jax.jit(member.apply)(key(), x, jnp.float32(1))
        np.testing.assert_array_equal(y, member.rate_one(x))
    if not member.integer_input:
        grad = jax.grad(lambda x: member.apply(key(), x, 1.0).sum())(x)
        np.testing.assert_array_equal(grad, member.rate_one(jnp.ones_like(x)))


@over(integer_input=False)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtype_is_kept(member: Member, dtype: str) -> None:
    x = jnp.asarray(member.example()).astype(dtype)
    if dtype.startswith("complex") and not member.complex_input:
        with pytest.raises(TypeError, match=f"got x of dtype complex64; {member.name}"):
            member.apply(key(), x, RATE)
        return
    assert run(member, key(), x).dtype == x.dtype
    if member.traced_rate:
        assert jax.eval_shape(member.apply, key(), x, jnp.float32(RATE)).dtype == x.dtype


@over(integer_input=False)
def test_doubles_stay_doubles(member: Member, x64: None) -> None:
    x = member.example(np.float64)
    y = run(member, key(), x)
    assert y.dtype == np.float64
    z = run(member, key(), member.example())
    np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)  # the mask knows no dtype


@over(integer_input=False)
def test_gradient_uses_the_mask_of_the_forward_pass(member: Member) -> None:
    x = member.example()
    t = jnp.sin(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape)

    @jax.jit
    def f(x: jax.Array) -> jax.Array:
        return member.apply(key(3), x, RATE)

    y, out_t = jax.jvp(f, (x,), (t,))
    np.testing.assert_allclose(out_t, f(x + t) - f(x), rtol=1e-4, atol=1e-5)
    w = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
    _, pull = jax.vjp(f, x)
    (back,) = pull(w)
    np.testing.assert_allclose(jnp.vdot(back, t), jnp.vdot(w, out_t), rtol=1e-4)
    if member.diagonal:
        np.testing.assert_allclose(back * t, w * out_t, rtol=1e-5, atol=1e-6)


@over(lean=True)
def test_nothing_large_is_kept_for_the_backward_pass(member: Member) -> None:
    x = jnp.ones([n * 8 for n in member.shape])
    _, pull = jax.vjp(lambda x: member.apply(key(), x, RATE), x)
    saved = [leaf.size for leaf in jax.tree.leaves(pull)]
    assert max(saved, default=0) <= 8, saved


@with_law(TwoPoint)
def test_a_dropped_nan_is_forgotten_and_so_is_its_gradient(member: Member) -> None:
    assert isinstance(member.law, TwoPoint)
    if member.integer_input or not member.law.forgets:
        pytest.skip("there is no NaN, or what is dropped passes x on")
    x = member.example()
    dropped = decisions(member, np.asarray(run(member, key(5), x)).astype(np.float64))
    bad = jnp.full_like(x, np.nan)
    y, pull = jax.vjp(lambda x: run(member, key(5), x), bad)
    np.testing.assert_array_equal(np.isfinite(y), dropped)
    np.testing.assert_array_equal(np.asarray(pull(jnp.ones_like(y))[0]) == 0, dropped)


@over()
def test_jit_vmap_and_scan_give_what_eager_gives(member: Member) -> None:
    x, keys = member.example(), jax.random.split(key(1), 3)
    want = jnp.stack([member.apply(k, x, RATE) for k in keys])

    def f(k: jax.Array, x: jax.Array) -> jax.Array:
        return member.apply(k, x, RATE)

    one = jax.jit(f)
    close(jnp.stack([one(k, x) for k in keys]), want)
    close(jax.vmap(lambda k: f(k, x))(keys), want)
    close(jax.lax.scan(lambda c, k: (c, f(k, x)), 0, keys)[1], want)


@over(batch_first=True)
def test_rows_do_not_move_when_the_batch_grows(member: Member) -> None:
    x = member.example()
    close(run(member, key(2), x[:1]), run(member, key(2), x)[:1])


@over(traced_rate=True)
def test_a_traced_rate_gives_what_the_number_gives(member: Member) -> None:
    x = member.example()
    # A rate that float32 holds exactly, so that both thresholds are the same.
    traced = jax.jit(member.apply)
    close(traced(key(4), x, jnp.float32(0.375)), run(member, key(4), x, 0.375))
    y = traced(key(4), x, jnp.float32(-0.5))
    np.testing.assert_array_equal(y, member.test_time(x))
    if member.rate_one is not None:
        y = traced(key(4), x, jnp.float32(1.5))
        np.testing.assert_array_equal(y, member.rate_one(x))


@over(traced_rate=True, integer_input=False)
def test_no_gradient_flows_to_the_rate(member: Member) -> None:
    loss = jax.jit(lambda rate: member.apply(key(), member.example(), rate).sum())
    assert jax.grad(loss)(0.3) == 0


@over(traced_mode=True)
def test_the_mode_may_be_traced(member: Member) -> None:
    x = member.example()
    f = jax.jit(lambda mode: member.apply(key(), x, RATE, deterministic=mode))
    np.testing.assert_array_equal(f(jnp.bool_(True)), member.test_time(x))
    close(f(jnp.bool_(False)), run(member, key(), x))


@over()
def test_an_empty_batch(member: Member) -> None:
    x = member.example()[:0]
    assert member.apply(key(), x, RATE).size == 0


@over(batch_first=True)
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_the_result_does_not_depend_on_the_sharding(member: Member, kind: AxisType) -> None:
    grown = dataclasses.replace(member, shape=(8, *member.shape[1:]))
    x = grown.example()
    mesh = jax.make_mesh((4,), ("data",), (kind,), devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        y = jax.jit(lambda k, x: member.apply(k, x, RATE))(key(6), spread)
    close(y, run(member, key(6), x))


def sentence(member: Member, error: type, match: str, *args: Any, **options: Any) -> None:
    with pytest.raises(error, match=match):
        member.apply(*args, **options)


@over()
def test_wrong_use_is_told_in_a_sentence(member: Member) -> None:
    x, name = member.example(), member.name
    sentence(member, ValueError, f"^{name} needs a random key and got None", None, x, RATE)
    sentence(member, TypeError, "^got 3 where a random key belongs", 3, x, RATE)
    keys = jax.random.split(key(), 2)
    sentence(member, ValueError, "^got a batch of keys of shape \\(2,\\)", keys, x, RATE)
    for bad in (-0.25, float("nan"), 1.5 if member.probability else float("inf")):
        sentence(member, ValueError, f"^got (rate|stddev)={bad!r}", key(), x, bad)
    sentence(member, TypeError, "^got (rate|stddev)='0.5'", key(), x, "0.5")
    sentence(member, TypeError, "^got deterministic=1", key(), x, RATE, deterministic=1)
    if member.integer_input:
        sentence(
            member, TypeError, f"of dtype float32; {name} takes", key(), x.astype(jnp.float32), RATE
        )
    else:
        x = jnp.ones(member.shape, jnp.int32)
        sentence(member, TypeError, f"^got x of dtype int32; {name} takes", key(), x, RATE)
