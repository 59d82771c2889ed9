"""Variational dropout: moments, the divergence against quadrature, pruning, convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import jaxdrop
from jaxdrop import variational
from jaxdrop._core.normal import standard_normal

KEY = jax.random.key(2017)
X = jnp.linspace(-1, 2, 15).reshape(5, 3)
M = jnp.linspace(-0.5, 1, 12).reshape(3, 4)
S = jnp.linspace(-6, 1, 12).reshape(3, 4)
# How far the papers' approximations are from the exact divergence at worst, on the grids below:
# 0.0094 and 0.0395 nats, rounded up. Both are properties of the published constants.
MOLCHANOV, KINGMA = 0.0095, 0.04


def check_noise(y, mean, deviation):
    """y is normal with these moments: mean and chi-squared tests, false alarm 1e-8 each."""
    z = (np.asarray(y, np.float64) - np.asarray(mean)) / np.asarray(deviation)
    assert abs(z.mean()) < stats.norm.isf(0.5e-8) / np.sqrt(z.size)
    low, high = stats.chi2(z.size).ppf([0.5e-8, 1 - 0.5e-8])
    assert low < (z**2).sum() < high


@pytest.mark.slow
def test_outputs_have_the_moments_of_sampled_weights():
    @jax.jit
    @jax.vmap
    def draw(k, other):
        w = M[None] + jnp.exp(S / 2)[None] * standard_normal(other, (5, 3, 4))
        return jaxdrop.variational_dense(k, X, M, S), jnp.einsum("bi,bio->bo", X, w)

    y, sampled = draw(*(jax.random.split(jax.random.key(i), 2000) for i in (1, 2)))
    x, m, s = (np.asarray(a) for a in (X, M, S))
    mean, deviation = x @ m, np.sqrt(x**2 @ np.exp(s))
    check_noise(y, mean, deviation)
    check_noise(sampled, mean, deviation)
    with pytest.raises(AssertionError):  # sigma where sigma squared belongs
        check_noise(y, mean, np.sqrt(x**2 @ np.exp(s / 2)))


@pytest.mark.slow
def test_gradients_use_the_noise_of_the_forward_pass():
    noise = standard_normal(KEY, (5, 4))

    def oracle(x, m, s):
        return x @ m + jnp.sqrt(x**2 @ jnp.exp(s)) * noise

    @jax.jit
    def gradients(*a):
        ours = jax.grad(lambda *a: (jaxdrop.variational_dense(KEY, *a) ** 2).sum(), (0, 1, 2))
        return ours(*a), jax.grad(lambda *a: (oracle(*a) ** 2).sum(), (0, 1, 2))(*a)

    for a, b in zip(*gradients(X, M, S), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_inputs_of_zero_have_finite_gradients(dtype):
    x, m, s = (a.astype(dtype) for a in (0 * X, M, S))
    gradient = jax.grad(lambda *a: jaxdrop.variational_dense(KEY, *a).sum(), (0, 1, 2))
    for g in jax.jit(gradient)(x, m, s):
        assert g.dtype == dtype and np.isfinite(g.astype(jnp.float32)).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_loses_neither_small_weights_nor_large_sums(dtype):
    m, s = jnp.full((300, 300), 1e-4, dtype), jnp.full((300, 300), -18.0, dtype)
    a = variational.log_alpha(m, s)
    np.testing.assert_allclose(
        a, -18 - np.log(2e-8), rtol=1e-2
    )  # m**2 is 1e-8, as is what is added
    g = jax.grad(lambda m: variational.log_alpha(m, s).sum())(m)
    np.testing.assert_allclose(g.astype(jnp.float32), -1e4, rtol=2e-2)
    # 90 000 times about 8 nats is beyond float16.
    kl = variational.kl_divergence(jnp.full((300, 300), -8.0, dtype))
    one = variational.kl_divergence(jnp.float32(-8))
    np.testing.assert_allclose(kl, 90_000 * one, rtol=1e-4)
    large = jnp.full((2, 3), 300.0, dtype)  # its square is beyond float16
    y = jaxdrop.variational_dense(KEY, large, M.astype(dtype), S.astype(dtype))
    assert y.dtype == dtype and np.isfinite(y.astype(jnp.float32)).all()


@pytest.mark.slow
def test_convolution_of_one_pixel_is_the_dense_layer():
    y = jaxdrop.variational_conv(KEY, X[:, None, :], M[None], S[None])
    np.testing.assert_allclose(y[:, 0], jaxdrop.variational_dense(KEY, X, M, S), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"strides": 2}, {"padding": "VALID", "kernel_dilation": 2}]
)
def test_convolution_outputs_have_the_moments_of_sampled_weights(options):
    x = jnp.linspace(-1, 1, 2 * 9 * 9 * 2).reshape(2, 9, 9, 2)
    m = jnp.linspace(-1, 1, 3 * 3 * 2 * 4).reshape(3, 3, 2, 4)
    s = jnp.linspace(-3, 0, 3 * 3 * 2 * 4).reshape(3, 3, 2, 4)

    def convolve(x, w):
        quiet = jnp.full_like(w, -100.0)
        options_ = {**options, "deterministic": True}
        return jaxdrop.variational_conv(None, x, w, quiet, **options_)

    @jax.jit
    def draw(keys):
        y = jax.vmap(lambda k: jaxdrop.variational_conv(k, x, m, s, **options))(keys)
        return y, convolve(x, m), jnp.sqrt(convolve(x**2, jnp.exp(s)))

    check_noise(*draw(jax.random.split(jax.random.key(3), 50)))


def exact_kl(log_alpha):
    """The divergence of N(1, alpha) from the log-uniform prior, 0 at alpha = infinity.

    E log w**2 of a normal w is a Poisson mixture of digammas (w**2 is non-central chi-squared).
    """
    j = np.arange(3000)
    weights = stats.poisson(np.exp(-log_alpha) / 2).pmf(j)
    return 0.5 * ((weights * special.digamma(0.5 + j)).sum() - special.digamma(0.5))


def test_molchanov_s_constants_give_the_divergence():
    log_alphas = np.linspace(-7, 7, 57)
    exact = np.array([exact_kl(a) for a in log_alphas])
    ours = np.asarray(jax.vmap(variational.kl_divergence)(jnp.asarray(log_alphas, jnp.float32)))
    assert abs(ours - exact).max() < MOLCHANOV
    for wrong in (0.60576, 0.66576):  # a digit of k1 mistyped
        sigmoid = special.expit(1.87320 + 1.48695 * log_alphas)
        mistyped = ours + (wrong - 0.63576) * (1 - sigmoid)
        assert abs(mistyped - exact).max() > MOLCHANOV


def test_kingma_s_constants_give_the_divergence_below_one():
    log_alphas = np.linspace(-7, 0, 29)
    exact = np.array([exact_kl(a) for a in log_alphas])
    ours = jax.vmap(lambda a: variational.kl_divergence(a, "kingma"))(
        jnp.asarray(log_alphas, jnp.float32)
    )
    assert np.ptp(np.asarray(ours) - exact) < KINGMA
    mistyped = np.asarray(ours) - 0.1 * np.exp(log_alphas)  # of c1
    assert np.ptp(mistyped - exact) > KINGMA


def test_kl_is_never_negative_and_falls_with_alpha():
    a = jnp.linspace(-8, 8, 200)
    kl = jax.vmap(variational.kl_divergence)(a)
    assert (kl >= 0).all() and (jnp.diff(kl) < 0).all()


@pytest.mark.slow
def test_noisy_weights_are_pruned_at_test_time():
    m = jnp.array([[1.0, 0.1], [0.01, -2.0]])
    s = jnp.full((2, 2), -4.0)  # log alpha: -4, 0.6, 5.2, -5.4
    np.testing.assert_allclose(
        variational.log_alpha(m, s), [[-4, 0.605], [5.21, -5.386]], atol=0.01
    )
    np.testing.assert_array_equal(variational.prune(m, s), m.at[1, 0].set(0))
    x = jnp.ones((1, 2))
    y = jaxdrop.variational_dense(None, x, m, s, deterministic=True)
    np.testing.assert_allclose(y, [[1, -1.9]], rtol=1e-6)
    traced = jax.jit(lambda d: jaxdrop.variational_dense(KEY, x, m, s, deterministic=d))
    np.testing.assert_allclose(traced(jnp.array(True)), y)
    tree = {"a": {"kernel": m, "log_sigma2": s}, "b": {"kernel": m}}
    assert variational.sparsity(tree) == {"a": 0.25}
    np.testing.assert_allclose(
        variational.loss(tree), variational.kl_divergence(variational.log_alpha(m, s))
    )


@pytest.mark.slow
def test_gaussian_noise_of_a_learned_variance():
    x = jnp.full((400, 100), 3.0)
    for log_alpha, alpha in ((-2.0, np.exp(-2.0)), (1.0, 1.0)):
        y = jaxdrop.variational_dropout(KEY, x, log_alpha)
        check_noise(y, 3.0, 3 * np.sqrt(alpha))
    ours = jax.grad(lambda a: jaxdrop.variational_dropout(KEY, x, a).sum())(jnp.array(-2.0))
    noise = np.asarray(standard_normal(KEY, x.shape), np.float64)
    np.testing.assert_allclose(ours, (3 * np.exp(-1.0) / 2 * noise).sum(), rtol=1e-3)
    per_unit = jaxdrop.variational_dropout(KEY, x, jnp.full(100, -2.0))
    np.testing.assert_allclose(per_unit, jaxdrop.variational_dropout(KEY, x, -2.0), rtol=1e-6)
    assert jaxdrop.variational_dropout(None, x, -2.0, deterministic=True) is x


@pytest.mark.slow
def test_no_gradient_above_a_variance_of_one_and_the_way_back():
    def slope(a):
        return jax.grad(lambda a: (jaxdrop.variational_dropout(KEY, X, a) ** 2).sum())(a)

    assert slope(jnp.array(0.5)) == 0
    assert slope(jnp.minimum(jnp.array(0.5), 0)) != 0


def test_wrong_use_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="every weight has its own variance"):
        jaxdrop.variational_dense(KEY, X, M, S[0])
    with pytest.raises(ValueError, match="prior='other', expected 'molchanov' or 'kingma'"):
        variational.kl_divergence(S, "other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="found no layer with kernel and log_sigma2"):
        variational.loss({"dense": {"kernel": M}})
    with pytest.raises(ValueError, match=r"variational_conv expects \(batch, \*spatial, inputs\)"):
        jaxdrop.variational_conv(KEY, X, M, S)
    with pytest.raises(
        ValueError, match=r"x of shape \(5, 1, 3\) and a kernel of shape \(1, 4, 3\)"
    ):
        jaxdrop.variational_conv(KEY, X[:, None], M.T[None], S.T[None])
    for kernel in (M.T, M[0]):
        with pytest.raises(ValueError, match=r"\(5, 3\) and a kernel.*variational_dense multipl"):
            jaxdrop.variational_dense(KEY, X, kernel, kernel)
    with pytest.raises(
        ValueError, match="^local_reparameterization needs a random key and got None"
    ):
        variational.local_reparameterization(None, X, M, S, jnp.matmul)
    with pytest.raises(TypeError, match="linear=3 of type int; local_reparameterization takes a f"):
        variational.local_reparameterization(KEY, X, M, S, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("log_alpha", "error", "sentence"),
    [
        (None, TypeError, "^got log_alpha=None of type NoneType; expected the logarithm"),
        ("a", TypeError, "^got log_alpha='a' of type str"),
        (True, TypeError, "^got log_alpha=True of type bool"),
        (jnp.array(True), TypeError, "^got a log_alpha of dtype bool"),
        (float("nan"), ValueError, "^got log_alpha=nan; expected the logarithm"),
        (jnp.array([0.0, jnp.nan, 1.0]), ValueError, "^got log_alpha=nan"),
        (jnp.zeros(7), ValueError, r"^got log_alpha of shape \(7,\), which does not"),
        (jnp.zeros((1, 5, 3)), ValueError, r"^got log_alpha of shape \(1, 5, 3\), which does"),
    ],
)
def test_a_wrong_log_alpha_is_told_in_a_sentence(log_alpha, error, sentence):
    with pytest.raises(error, match=sentence):
        jaxdrop.variational_dropout(KEY, X, log_alpha)
