"""condition_dropout: nulls that may be learned, and the joint law of several conditions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxdrop

EXAMPLES = 20_000
FALSE_ALARM = 1e-8  # of each comparison
RATES: dict[Any, Any] = {"text": 0.05, ("text", "image"): 0.1, "image": 0.2}
CONDITIONS = {"text": jnp.arange(EXAMPLES), "image": jnp.ones((EXAMPLES, 2))}
NULLS: dict[str, Any] = {"text": -1, "image": jnp.zeros(2)}


def joint(n: int, rates: Any = RATES) -> dict[str, jax.Array]:
    key = jax.random.key(n)
    return jaxdrop.joint_condition_dropout(key, CONDITIONS, rates, nulls=NULLS)


def check_joint(text: Any, image: Any, rates: Any) -> None:
    """Each combination's number of examples is binomial."""
    for name, found in (
        ("text", text & ~image),
        ("image", image & ~text),
        (("text", "image"), text & image),
    ):
        rate = rates.get(name, 0.0)
        low, high = scipy.stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], EXAMPLES, rate)
        assert low <= found.sum() <= high, f"{name}: {found.sum()} not in [{low}, {high}]"


def dropped(y: dict[str, jax.Array]) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(y["image"])
    assert (image[:, 0] == image[:, 1]).all()
    return np.asarray(y["text"]) == -1, image[:, 0] == 0


@pytest.mark.slow
def test_every_combination_has_its_probability() -> None:
    check_joint(*dropped(joint(0)), RATES)
    together, apart = {("text", "image"): 0.3}, {"text": 0.3, "image": 0.3}
    check_joint(*dropped(joint(1, together)), together)
    check_joint(*dropped(joint(2, apart)), apart)
    text, image = (
        np.asarray(jaxdrop.keep_mask(jax.random.key(n), (EXAMPLES,), 0.85)) for n in (3, 4)
    )
    for broken in ((~text, ~image), (text, text), (~text, ~text)):
        with pytest.raises(AssertionError, match="not in"):
            check_joint(*broken, RATES)


def test_the_decisions_are_those_of_diffusers_for_the_same_uniform_numbers() -> None:
    """One number for an example; the text is replaced below 2 q, the image from q to 3 q."""
    q, key = 0.05, jax.random.key(5)
    rates = {"text": q, ("text", "image"): q, "image": q}
    text, image = dropped(joint(5, rates))
    uniform = np.asarray(jaxdrop.random_bits(key, (EXAMPLES,))) / 2.0**32
    np.testing.assert_array_equal(text, uniform < 2 * q)
    np.testing.assert_array_equal(image, (uniform >= q) & (uniform < 3 * q))


def test_one_condition_alone_is_condition_dropout() -> None:
    y = jaxdrop.condition_dropout(jax.random.key(6), CONDITIONS["text"], 0.3, null=-1)
    np.testing.assert_array_equal(joint(6, {"text": 0.3})["text"], y)
    np.testing.assert_array_equal(joint(6, {"text": 0.3})["image"], CONDITIONS["image"])


def test_rates_that_are_traced_and_all_of_one() -> None:
    x = {"a": jnp.arange(1, 65), "b": jnp.arange(1, 65)}

    @jax.jit
    def traced(p: Any, mode: Any) -> Any:
        rates: dict[Any, Any] = {"a": p, ("a", "b"): p}
        return jaxdrop.joint_condition_dropout(
            jax.random.key(0), x, rates, nulls={"a": 0, "b": 0}, deterministic=mode
        )

    for p, in_training in ((0.25, True), (0.5, True), (0.25, False)):
        want = jaxdrop.joint_condition_dropout(
            jax.random.key(0), x, {"a": p, ("a", "b"): p}, nulls={"a": 0, "b": 0}
        )
        got = traced(p, not in_training)
        jax.tree.map(np.testing.assert_array_equal, got, want if in_training else x)
    assert not want["a"].all() and (want["b"] != 0).any()
    half = traced(0.5, False)
    assert (half["a"] == 0).all() and 0 < (half["b"] == 0).sum() < 64


def test_a_learned_null_has_the_gradient_of_the_examples_it_stands_for() -> None:
    x, null = jnp.arange(24.0).reshape(2, 4, 3), jnp.full((2, 1), 0.5)
    weights: Any = jnp.cos(x)

    def loss(x: Any, null: Any) -> Any:
        y = jaxdrop.condition_dropout(jax.random.key(1), x, 0.5, null=null, batch_axis=1)
        return (y * weights).sum(), y

    (of_x, of_null), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, null)
    gone: Any = np.asarray(y != x).any(axis=(0, 2))
    assert 0 < gone.sum() < 4
    np.testing.assert_array_equal(y[:, gone], np.full((2, gone.sum(), 3), 0.5))
    weights = np.asarray(weights)
    np.testing.assert_array_equal(of_x, weights * ~gone[None, :, None])
    want = (weights * gone[None, :, None]).sum(axis=(1, 2))[:, None]
    np.testing.assert_allclose(of_null, want, rtol=1e-6)


def test_wrong_use_is_told_in_a_sentence() -> None:
    key, labels, x = jax.random.key(0), jnp.arange(4), jnp.ones((4, 3))
    one, call = jaxdrop.condition_dropout, jaxdrop.joint_condition_dropout
    with pytest.raises(ValueError, match="got null=300 for tokens of dtype uint8"):
        one(key, labels.astype(jnp.uint8), 0.5, null=300)
    with pytest.raises(ValueError, match=r"got null of shape \(4,\), which does not broadcast"):
        one(key, x, 0.5, null=jnp.zeros(4))
    with pytest.raises(TypeError, match="got null of dtype complex64 for conditions of dtype fl"):
        one(key, x, 0.5, null=1j)
    both, nulls = {"a": labels, "b": x}, {"a": 9, "b": 0}
    for rates, said in (
        ({"a": 0.6, "b": 0.6}, "^got the sum of the rates=1.2; expected 0 <="),
        ({"c": 0.6}, r"^got 'c' in rates, expected a condition, one of \['a', 'b'\]"),
        ({"a": np.full(2, 0.1)}, "^got a rate of shape"),
    ):
        with pytest.raises(ValueError, match=said):
            call(key, both, rates, nulls=nulls)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^got nulls for .* and none for the condition 'b'"):
        call(key, both, {}, nulls={"a": 9})
    with pytest.raises(ValueError, match="^got conditions of shapes .* the same number"):
        call(key, {"a": labels, "b": x[:2]}, {}, nulls=nulls)
    assert call(None, both, {}, nulls=nulls)["a"] is labels


def test_a_null_that_the_dtype_cannot_hold_is_told() -> None:
    labels = jnp.zeros((3, 2), jnp.int8)
    for null in (np.array([300, 1], np.int32), jnp.array([-200, 1]), 300):
        with pytest.raises(ValueError, match="for tokens of dtype int8, expected -128 to 127"):
            jaxdrop.condition_dropout(jax.random.key(0), labels, 0.5, null=null)
    y = jaxdrop.condition_dropout(jax.random.key(0), labels, 1.0, null=np.array([5, 6], np.int32))
    assert y.dtype == jnp.int8 and y.tolist() == [[5, 6]] * 3
