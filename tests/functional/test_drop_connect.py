"""DropConnect: weights dropped per batch or per example, without a mask per example in memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxdrop
from jaxdrop.testing import assert_independent_masks, assert_mask_rate

KEY = jax.random.key(2013)
# Small integers and a scale of 2: every sum is exact, whatever the order.
X = jnp.asarray(np.arange(7 * 5).reshape(7, 5) % 4 - 1.0, jnp.float32)
KERNEL = jnp.asarray(np.arange(5 * 3).reshape(5, 3) % 3 + 1.0, jnp.float32)


def per_example(x, kernel, **options):
    return jaxdrop.drop_connect_dense(KEY, x, 0.5, kernel=kernel, per_example=True, **options)


def oracle(x, kernel):
    """All masks at once, as the docstring's formula has them."""
    mask = jaxdrop.keep_mask(KEY, (x.shape[0], *kernel.shape), 0.5)
    return jnp.einsum("bi,bio->bo", x, jnp.where(mask, 2 * kernel[None], 0))


@pytest.mark.slow
def test_one_mask_for_the_batch_is_dropout_of_the_kernel():
    y = jaxdrop.drop_connect_dense(KEY, X, 0.5, kernel=KERNEL)
    np.testing.assert_array_equal(y, X @ jaxdrop.dropout(KEY, KERNEL, 0.5))
    np.testing.assert_array_equal(
        jaxdrop.drop_connect(KEY, KERNEL, 0.5), jaxdrop.dropout(KEY, KERNEL, 0.5)
    )


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_one_mask_per_example_follows_the_formula_for_any_chunk(chunk):
    np.testing.assert_array_equal(per_example(X, KERNEL, chunk=chunk), oracle(X, KERNEL))


@pytest.mark.slow
def test_gradients_use_the_masks_of_the_forward_pass():
    weight = jnp.asarray(np.arange(7 * 3).reshape(7, 3) % 5 - 2.0, jnp.float32)
    ours = jax.grad(lambda x, k: (weight * per_example(x, k, chunk=3)).sum(), (0, 1))(X, KERNEL)
    theirs = jax.grad(lambda x, k: (weight * oracle(x, k)).sum(), (0, 1))(X, KERNEL)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_rows_do_not_move_with_the_batch_and_microbatches_join():
    whole = per_example(X, KERNEL)
    np.testing.assert_array_equal(per_example(X[:3], KERNEL), whole[:3])
    np.testing.assert_array_equal(per_example(X[3:], KERNEL, index_offset=(3,)), whole[3:])
    shaped = per_example(X[:6].reshape(2, 3, 5), KERNEL)
    np.testing.assert_array_equal(shaped.reshape(6, 3), whole[:6])


@pytest.mark.slow
def test_jit_and_vmap_over_keys_agree_with_a_loop():
    keys = jax.random.split(KEY, 3)

    def apply(key):
        return jaxdrop.drop_connect_dense(key, X, 0.5, kernel=KERNEL, per_example=True)

    np.testing.assert_array_equal(
        jax.jit(jax.vmap(apply))(keys), jnp.stack([apply(keys[i]) for i in range(3)])
    )


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 2])
def test_gradients_on_an_explicit_mesh_are_those_of_one_device(chunk):
    x = jnp.tile(X[:4, :4], (2, 1)).reshape(4, 2, 4)

    def loss(x, kernel):
        return (per_example(x, kernel, chunk=chunk) ** 2).sum()

    want = jax.grad(loss, (0, 1))(x, KERNEL[:4])
    mesh = jax.make_mesh(
        (2, 2), ("data", "seq"), (AxisType.Explicit,) * 2, devices=jax.devices()[:4]
    )
    with jax.set_mesh(mesh):
        for spec, rows in (
            (("data", "seq"), None),
            ((("data", "seq"),), None),
            (("data",), "data"),
        ):
            spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))
            kernel = jax.device_put(KERNEL[:4], NamedSharding(mesh, PartitionSpec(rows)))
            got = jax.jit(jax.grad(loss, (0, 1)))(spread, kernel)
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_second_eager_call_compiles_nothing(caplog):
    def compiled(seed):
        caplog.clear()
        with jax.log_compiles():
            jaxdrop.drop_connect_dense(
                jax.random.key(seed), X[:, :4], 0.25, kernel=KERNEL[:4], per_example=True, chunk=3
            )
        return [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]

    assert compiled(0)  # the messages that are looked for do exist
    assert not compiled(1)


@pytest.mark.slow
def test_the_masks_never_exist_as_a_whole():
    batch, n = 256, 64
    x, kernel = jnp.ones((batch, n)), jnp.ones((n, n))

    def loss(x, kernel):
        return (jaxdrop.drop_connect_dense(KEY, x, 0.5, kernel=kernel, per_example=True) ** 2).sum()

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(x, kernel).compile()
    every_mask = batch * n * n  # bytes, at one per decision
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < every_mask


@pytest.mark.slow
def test_decisions_have_the_rate_and_examples_are_independent():
    x = jnp.eye(256)  # example b reads row b of its own masked kernel
    mask = jaxdrop.drop_connect_dense(KEY, x, 0.3, kernel=jnp.ones((256, 64)), per_example=True) > 0
    assert_mask_rate(mask, 0.3)
    same = jnp.ones((64, 1))
    rows = [
        per_example(jnp.eye(64)[None, i] * jnp.ones((2, 1)), same * jnp.ones((64, 64))) > 0
        for i in range(64)
    ]
    first, second = (jnp.stack([r[b] for r in rows]) for b in (0, 1))
    assert_independent_masks(first, second)
    with pytest.raises(AssertionError, match="expected"):  # the batch's mask, seen twice
        assert_independent_masks(first, first)
    with pytest.raises(AssertionError, match="expected"):
        assert_mask_rate(mask, 0.35)


@pytest.mark.slow
@pytest.mark.parametrize("each", [False, True])
def test_the_moments_are_the_stated_ones(each):
    keys, rate = jax.random.split(jax.random.key(1), 4000), 0.3
    y = jax.jit(
        jax.vmap(lambda k: jaxdrop.drop_connect_dense(k, X, rate, kernel=KERNEL, per_example=each))
    )(keys)
    y, x, kernel = (np.asarray(a, np.float64) for a in (y, X, KERNEL))
    mean, variance = x @ kernel, x**2 @ kernel**2 * rate / (1 - rate)
    # A sum of independent terms x k (m / (1 - rate) - 1): its fourth cumulant is the terms' sum.
    excess = x**4 @ kernel**4 * (rate / (1 - rate) ** 3 * (1 - 6 * rate * (1 - rate)))
    fourth = excess + 3 * variance**2
    n = len(keys)  # 6 standard errors of 21 means and 21 variances, false alarm 1e-7
    assert (abs(y.mean(0) - mean) <= 6 * (variance / n) ** 0.5).all()
    error = abs(((y - mean) ** 2).mean(0) - variance)
    assert (error <= 6 * ((fourth - variance**2) / n) ** 0.5).all()
    wrong = abs(((y - mean) ** 2).mean(0) - x**2 @ kernel**2 * rate)  # not scaled
    assert (wrong > 6 * ((fourth - variance**2) / n) ** 0.5).any()


@pytest.mark.slow
def test_no_inputs_and_no_examples():
    for x, kernel in ((jnp.ones((4, 0)), jnp.ones((0, 3))), (jnp.ones((0, 5)), KERNEL)):
        for each in (False, True):
            y = jaxdrop.drop_connect_dense(KEY, x, 0.5, kernel=kernel, per_example=each)
            np.testing.assert_array_equal(y, jnp.zeros((len(x), 3)))


@pytest.mark.slow
def test_rates_zero_and_one_and_test_time_need_no_draw():
    plain = X @ KERNEL
    both: list[dict[str, Any]] = [{}, {"per_example": True}]
    for options in both:
        call = jaxdrop.drop_connect_dense
        np.testing.assert_array_equal(call(None, X, 0.0, kernel=KERNEL, **options), plain)
        y = call(None, X, 0.5, kernel=KERNEL, deterministic=True, **options)
        np.testing.assert_array_equal(y, plain)
        np.testing.assert_array_equal(call(KEY, X, 1.0, kernel=KERNEL, **options), 0 * plain)
        y = jax.jit(
            lambda d, call=call, o=options: call(KEY, X, 0.5, kernel=KERNEL, deterministic=d, **o)
        )(jnp.array(True))
        np.testing.assert_array_equal(y, plain)
        empty = call(KEY, X[:0], 0.5, kernel=KERNEL, **options)
        assert empty.shape == (0, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kernel": jnp.ones((4, 3))}, r"x of shape \(7, 5\) and a kernel of shape \(4, 3\)"),
        ({"kernel": KERNEL, "index_offset": (1,)}, "only per_example=True"),
        ({"kernel": KERNEL, "chunk": 0}, "chunk=0, expected .* the number of examples"),
        ({"kernel": KERNEL, "chunk": 2.0}, "chunk=2.0 of type float, expected .* the number of"),
        (
            {"kernel": KERNEL, "per_example": True, "index_offset": (-1,)},
            r"index_offset\[0\] = -1, expected 0 <= offset",
        ),
    ],
)
def test_bad_input_is_told_in_a_sentence(options, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        jaxdrop.drop_connect_dense(KEY, X, 0.5, **options)
