"""R-Drop: the loss against scipy's divergence, its gradient, masked classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import jaxdrop

A = jnp.linspace(-2, 3, 12).reshape(4, 3)
B = jnp.sin(3 * A)
LABELS = jnp.array([0, 1, 2, 1])


def divergence(a, b):
    p, q = (special.softmax(np.asarray(v, np.float64), axis=-1) for v in (a, b))
    return (special.rel_entr(p, q) + special.rel_entr(q, p)).sum(-1) / 2


def test_the_loss_is_the_paper_s():
    np.testing.assert_allclose(jaxdrop.symmetric_kl(A, B), divergence(A, B), rtol=1e-5)
    rows = np.arange(4)
    nll = sum(-special.log_softmax(np.asarray(v), axis=-1)[rows, LABELS] for v in (A, B))
    ours = jaxdrop.r_drop_loss(A, B, LABELS, weight=0.7)
    np.testing.assert_allclose(ours, nll + 0.7 * divergence(A, B), rtol=1e-5)
    np.testing.assert_allclose(ours, jaxdrop.r_drop_loss(B, A, LABELS, weight=0.7), rtol=1e-6)


def test_equal_passes_have_no_distance_and_no_gradient():
    np.testing.assert_array_equal(jaxdrop.symmetric_kl(A, A), jnp.zeros(4))
    g = jax.grad(lambda a: jaxdrop.symmetric_kl(a, A).sum())(A)
    np.testing.assert_allclose(g, jnp.zeros_like(A), atol=1e-6)


def test_gradients_reach_both_passes():
    ga, gb = jax.grad(lambda a, b: jaxdrop.symmetric_kl(a, b).sum(), (0, 1))(A, B)
    assert (ga != 0).any() and (gb != 0).any()
    step = 1e-3
    shifted = divergence(A.at[0, 0].add(step), B)[0] - divergence(A.at[0, 0].add(-step), B)[0]
    np.testing.assert_allclose(ga[0, 0], shifted / (2 * step), rtol=1e-2)


@pytest.mark.slow
def test_a_class_masked_in_both_passes_counts_as_agreement():
    a, b = (jnp.concatenate([v, jnp.full((4, 1), -jnp.inf)], -1) for v in (A, B))
    np.testing.assert_allclose(jaxdrop.symmetric_kl(a, b), divergence(A, B), rtol=1e-5)
    g = jax.grad(lambda a: jaxdrop.symmetric_kl(a, b).sum())(a)
    assert np.isfinite(g).all()


def test_shapes_that_do_not_fit_are_told_in_a_sentence():
    with pytest.raises(ValueError, match="two passes over the same batch"):
        jaxdrop.symmetric_kl(A, B[:2])
    with pytest.raises(ValueError, match=r"labels of shape \(2,\)"):
        jaxdrop.r_drop_loss(A, B, LABELS[:2])


@pytest.mark.parametrize("name", ["logits", "other"])
def test_logits_that_are_no_floats_are_told_in_a_sentence(name):
    def call(bad):
        both = {"logits": A, "other": B, name: bad}
        return jaxdrop.symmetric_kl(**both)

    with pytest.raises(TypeError, match=f"^got {name}=.* of type list; symmetric_kl takes a float"):
        call([[1.0, 2.0]])
    with pytest.raises(TypeError, match=f"^got {name} of dtype int32; symmetric_kl takes a float"):
        call(A.astype(jnp.int32))
    with pytest.raises(TypeError, match="^got logits of dtype int32"):
        jaxdrop.r_drop_loss(A.astype(jnp.int32), B.astype(jnp.int32), LABELS)
    with pytest.raises(TypeError, match="^got labels=.* of type list, expected an array of class"):
        jaxdrop.r_drop_loss(A, B, [0, 1])  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.int16])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_padding_has_no_loss_and_no_gradient(wrap, dtype):
    """Negative labels: -1 is no last class, and what the padded rows hold does not matter."""
    labels = jnp.array([0, -1, -100, 1], dtype)
    nonsense = jnp.array([jnp.nan, jnp.inf, -jnp.inf])
    a, b = A.at[1].set(nonsense).at[2].set(-jnp.inf), B.at[2].set(nonsense)
    loss = wrap(lambda a, b: jaxdrop.r_drop_loss(a, b, labels, weight=0.7))
    whole = jaxdrop.r_drop_loss(A, B, jnp.array([0, 0, 0, 1]), weight=0.7)
    np.testing.assert_allclose(loss(a, b), whole * jnp.array([1.0, 0, 0, 1]), rtol=1e-6)
    real, padded = np.array([0, 3]), np.array([1, 2])
    found = jax.grad(lambda a, b: loss(a, b).sum(), (0, 1))(a, b)
    expected = jax.grad(
        lambda a, b: jaxdrop.r_drop_loss(a, b, LABELS[real], weight=0.7).sum(), (0, 1)
    )(A[real], B[real])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[real], theirs, rtol=1e-5, atol=1e-7)
        assert (ours[padded] == 0).all()


@pytest.mark.slow
def test_the_mean_over_a_padded_batch_is_that_of_its_rows():
    labels = jnp.array([0, 1, -100, -1])
    loss = jaxdrop.r_drop_loss(A, B, labels)
    rows = jaxdrop.r_drop_loss(A[:2], B[:2], labels[:2])
    np.testing.assert_allclose(loss.sum() / int((labels >= 0).sum()), rows.mean(), rtol=1e-6)
    assert (jaxdrop.r_drop_loss(A, B, jnp.full(4, -100)) == 0).all()
    assert jaxdrop.r_drop_loss(A[:0], B[:0], labels[:0]).shape == (0,)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(
        ValueError, match="got the label 3 for logits of 3 classes, expected 0 to 2"
    ):
        jaxdrop.r_drop_loss(A, B, LABELS.at[2].set(3))
    traced = jax.jit(jaxdrop.r_drop_loss)(A, B, LABELS.at[2].set(3))
    assert np.isnan(traced).tolist() == [False, False, True, False]


def test_one_number_is_told():
    for call in (jaxdrop.symmetric_kl, lambda a, b: jaxdrop.r_drop_loss(a, b, jnp.array(0))):
        with pytest.raises(ValueError, match="got one number as logits; .* along the last axis"):
            call(jnp.float32(1), jnp.float32(2))
