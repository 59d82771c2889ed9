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
        jaxdrop.r_drop_loss(A, B, [0, 1])
