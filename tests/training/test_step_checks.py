"""make_train_step(check=True): quiet for a right step, an AssertionError for a planted fault."""

import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import Jaxpr
from scipy import stats

import jaxdrop
import jaxdrop.testing
import jaxdrop.training as jt
from jaxdrop._core import bits, mask
from jaxdrop.training._mask_checks import FALSE_ALARM, _check_count, with_mask_checks
from tests.training.step_models import (
    BATCH,
    BOTH,
    Loss,
    Make,
    linen_loss,
    linen_state,
    nnx_loss,
    nnx_state,
)

SHAPE = (40, 50)


def state_of() -> Any:
    params = {"w": jnp.ones(SHAPE)}
    tx, key = optax.sgd(0.1), jax.random.key(0)
    return jt.TrainState.create(apply_fn=None, params=params, tx=tx, dropout_key=key)


def step_of(draw: Callable[[jax.Array, jax.Array], jax.Array]) -> Any:
    """Return a checked step whose loss is the sum of draw(key, w)."""
    return jt.make_train_step(lambda v, batch, key: draw(key, v["params"]["w"]).sum(), check=True)


# What stays quiet.


@pytest.mark.slow
@BOTH
def test_a_right_step_does_the_same_in_one_trace(make_state: Make, loss_fn: Loss) -> None:
    chex.clear_trace_counter()
    step = jt.make_train_step(chex.assert_max_traces(loss_fn, n=1), check=True)
    plain = jt.make_train_step(loss_fn, donate=False)
    state = expected = make_state()
    for _ in range(3):
        before, (state, metrics) = state, step(state, BATCH)
        expected, losses = plain(expected, BATCH)
        chex.assert_trees_all_close(metrics, losses, rtol=1e-5)
    chex.assert_trees_all_close(state.params, expected.params, rtol=1e-5)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def deep(key: jax.Array, x: jax.Array) -> jax.Array:
    """Draw masks wherever jax may hide them."""
    keys = iter(jax.random.split(key, 20))
    rates = np.linspace(0.1, 0.5, 50)
    x = jaxdrop.dropout(next(keys), x, 0.5)
    x = jaxdrop.dropout(next(keys), x, rates)
    x = jaxdrop.dropout(next(keys), x, x[0, 0] * 0 + 0.3)
    x = jaxdrop.dropout(next(keys), x, 0.5, bits="key")
    x = jaxdrop.dropout(next(keys), x, 0.5, scale_at="test")
    x = jaxdrop.dropout(next(keys), x, 1.0) + x
    x = jaxdrop.dropout(next(keys), x[None] * jnp.ones((5, 1, 1)), 0.2, broadcast_dims=(0,))[1]
    x, _ = jax.lax.scan(
        lambda x, k: (jaxdrop.dropout(k, x, 0.25), None), x, jax.random.split(next(keys), 2)
    )
    x = jax.checkpoint(lambda k, x: jaxdrop.dropout(k, x, 0.2))(next(keys), x)
    x = jax.vmap(lambda k, x: jaxdrop.dropout(k, x, 0.4))(jax.random.split(next(keys), 40), x)
    k = next(keys)
    x = jax.vmap(lambda x: jaxdrop.dropout(k, x, 0.3))(x)
    x = jax.jit(lambda k, x: jaxdrop.alpha_dropout(k, x, 0.3))(next(keys), x)
    x = jax.lax.cond(x[0, 0] > 0, lambda k: jaxdrop.dropout(k, x, 0.3), lambda k: x, next(keys))
    return jnp.where(jaxdrop.keep_mask(next(keys), x.shape, 0.6), x, 0.0)


def names(program: Any) -> list[str]:
    """Return the names of a program's equations, those inside of others too, in their order."""
    if type(program) in (list, tuple):
        return [name for part in program for name in names(part)]
    program = getattr(program, "jaxpr", program)
    if not isinstance(program, Jaxpr):
        return []
    found = []
    for eqn in program.eqns:
        found += [eqn.params.get("name", eqn.primitive.name)]
        found += names(list(eqn.params.values())) if "mask_check" not in found[-1] else []
    return found


@pytest.mark.slow
def test_every_mask_is_checked_and_nothing_else_in_the_program_changes() -> None:
    def gradient(key: jax.Array, x: jax.Array) -> Any:
        return jax.grad(lambda x: deep(key, x).sum())(x)

    programs: list[Any] = []

    def look(fn: Any) -> Any:
        def seen(*args: Any) -> None:
            programs.append(jax.make_jaxpr(fn)(*args))

        return chex.chexify(jax.jit(seen), async_check=False)

    args = (jax.random.key(0), jnp.ones(SHAPE))
    look(gradient)(*args)
    look(with_mask_checks(gradient))(*args)
    plain, checked = map(names, programs)
    assert [name for name in checked if name != "mask_check"] == plain
    masks = sum(name == "dropout" for name in plain)
    compared = sum(
        a == "dropout_bits" and b == "ge" for a, b in zip(plain, plain[1:], strict=False)
    )
    assert masks > 20 and compared >= 3
    assert checked.count("mask_check") == masks + compared


@pytest.mark.slow
def test_masks_are_found_wherever_jax_hides_them() -> None:
    step_of(deep)(state_of(), None)


@pytest.mark.slow
def test_rates_of_an_nnx_model_that_follow_a_schedule() -> None:
    def loss_fn(model: Any, batch: Any, key: jax.Array, step: jax.Array) -> Any:
        jaxdrop.surgery.set_rates(model, optax.linear_schedule(0.0, 0.5, 5)(step))
        return nnx_loss(model, batch, key)

    jt.make_train_step(loss_fn, check=True)(nnx_state(), BATCH)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_a_sharded_batch(kind: Any) -> None:
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    x = jax.device_put(jnp.ones(SHAPE), jax.NamedSharding(mesh, jax.P("data")))

    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        y = jaxdrop.dropout(key, batch, 0.5)
        return (y.sum(1) * variables["params"]["w"].mean()).sum()

    with jax.set_mesh(mesh):
        state = jt.shard_state(state_of(), mesh)
        jt.make_train_step(loss_fn, check=True)(state, x)


# What is found.


MASKS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "dropout": lambda key, x: jaxdrop.dropout(key, x, 0.3),
    "traced rate": lambda key, x: jaxdrop.dropout(key, x, x[0, 0] * 0.3),
    "rates": lambda key, x: jaxdrop.dropout(key, x, np.full(50, 0.3)),
    "alpha_dropout": lambda key, x: jaxdrop.alpha_dropout(key, x, 0.3),
    "keep_mask": lambda key, x: jnp.where(jaxdrop.keep_mask(key, x.shape, 0.3), x, 0.0),
    "scan": lambda key, x: jax.lax.scan(
        lambda x, k: (jaxdrop.dropout(k, x, 0.3), None), x, jax.random.split(key, 2)
    )[0],
    "vmap": lambda key, x: jax.vmap(lambda k: jaxdrop.dropout(k, x, 0.3))(jax.random.split(key, 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKS)
def test_a_generator_with_a_bias_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = bits.rounds
    monkeypatch.setattr(bits, "rounds", lambda *args: right(*args) & np.uint32(0x9FFFFFFF))
    with pytest.raises(AssertionError, match=r"a mask of shape \(40, 50\) that the step draws"):
        step_of(MASKS[name])(state_of(), None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout", "traced rate", "rates", "scan"])
def test_a_wrong_rate_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale says what should be kept, whatever the threshold."""
    right = mask.threshold
    monkeypatch.setattr(
        mask, "threshold", lambda rate: right(rate._replace(value=rate.value * 0.4))
    )
    with pytest.raises(AssertionError, match=r"keeps 1[78]\d\d.* of 2000 elements, expected 1"):
        step_of(MASKS[name])(state_of(), None)


@pytest.mark.slow
@BOTH
def test_a_gradient_that_is_not_finite_is_found(make_state: Make, loss_fn: Loss) -> None:
    def infinite(*args: Any) -> Any:
        loss, _ = loss_fn(*args)
        return jnp.where(loss > 0, jnp.log(loss * 0), loss)

    state = make_state().replace(step=jnp.int32(7))
    with pytest.raises(AssertionError, match="(?s)non-finite.*nan.*gradient of loss_fn in step 7"):
        jt.make_train_step(infinite, check=True)(state, BATCH)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))


@pytest.mark.slow
def test_all_assertions_are_quiet_in_the_loss_function_of_a_right_step() -> None:
    def half(key: jax.Array, x: jax.Array) -> jax.Array:
        return jaxdrop.dropout(key, x, 0.5)

    def assert_all(key: jax.Array, x: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 5)
        a, b = (jaxdrop.keep_mask(k, x.shape, 0.3) for k in keys[:2])
        jaxdrop.testing.assert_mask_rate(a, 0.3)
        jaxdrop.testing.assert_independent_masks(a, b)
        jaxdrop.testing.assert_mean_preserved(half, keys[2], x[0])
        jaxdrop.testing.assert_gradient_uses_mask(half, keys[3], x)
        jaxdrop.testing.assert_deterministic_eval(lambda key, x: 2 * x, x)
        return half(keys[4], x)

    step_of(assert_all)(state_of(), None)


@pytest.mark.slow
def test_a_loss_function_asserts_for_itself() -> None:
    def drop(key: jax.Array, x: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(key, 0.7, x.shape)  # a dropout of one's own
        jaxdrop.testing.assert_mask_rate(kept, 0.5)
        return jnp.where(kept, 2 * x, 0.0)

    with pytest.raises(AssertionError, match=r"mask of shape \(40, 50\) keeps .* at rate 0.5"):
        step_of(drop)(state_of(), None)


def test_inside_of_a_transformation_chex_says_what_to_do() -> None:
    step = jt.make_train_step(linen_loss, check=True)
    with pytest.raises(RuntimeError, match=r"chexify must be applied on top of all"):
        jax.jit(step)(linen_state(), BATCH)


# The bounds of a count.


def judge(share: Any, shape: tuple[int, ...]) -> Callable[[int], bool]:
    """Return a function that says whether a number of kept elements passes."""
    program = jax.jit(lambda kept, share=share: _check_count(kept, share, shape))
    checked = chex.chexify(program, async_check=False)
    given = () if isinstance(share, float) else (share,)

    def passes(kept: int) -> bool:
        try:
            checked(jnp.int32(kept), *given)
        except AssertionError:
            return False
        return True

    return passes


@pytest.mark.slow
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_the_bounds_of_a_count_keep_their_promise(share: float, traced: bool) -> None:
    size = 1000
    passes = judge(jnp.float32(share) if traced else share, (size,))
    middle = int(size * share)
    low = bisected(range(middle), passes)
    high = size - bisected(range(size - middle), lambda dropped: passes(size - dropped))
    law = stats.binom(size, share)
    assert law.cdf(low - 1) + law.sf(high) <= FALSE_ALARM
    width = math.sqrt(size / 2 * math.log(2 / FALSE_ALARM))  # Hoeffding's, never less than exact
    assert high - low <= 2 * width and (traced or low > middle - width)


def bisected(counts: range, is_right: Callable[[int], bool]) -> int:
    """Return the first count that is right, all after it being so."""
    low, high = 0, len(counts)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_right(middle) else (middle + 1, high)
    return low


def test_masks_that_are_too_small_are_not_looked_at() -> None:
    assert judge(0.5, (16,))(0) and judge(jnp.float32(0.5), (16,))(0)
    assert not judge(0.5, (64,))(0) and not judge(jnp.float32(1.0), (64,))(0)
