"""Linen and NNX modules of the family: the function's bits, a key only where one is needed."""

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts.members._layer import MAPS as X
from scripts.members._layer import TABLE
from tests.flax.layers import MODULES, nnx_class

every = pytest.mark.parametrize("name", MODULES)


def key() -> jax.Array:
    return jax.random.key(11)


@every
def test_modules_give_the_functions_bits(name: str) -> None:
    function, x, options = MODULES[name]
    want = function(key(), x, 0.5, **options)
    assert want.shape != x.shape or (want != x).any()
    layer = getattr(jaxdrop.linen, name)(0.5, deterministic=False, **options)
    np.testing.assert_array_equal(layer.apply({}, x, rng=key()), want)
    layer = getattr(jaxdrop.nnx, name)(0.5, **options)
    np.testing.assert_array_equal(layer(x, rngs=key()), want)


@every
def test_linen_takes_its_key_from_the_collection(name: str) -> None:
    _, x, options = MODULES[name]
    layer = getattr(jaxdrop.linen, name)(0.5, rng_collection="noise", **options)
    a, b = (
        layer.apply({}, x, deterministic=False, rngs={"noise": jax.random.key(n)}) for n in (0, 1)
    )
    assert (a != b).any()
    with pytest.raises(Exception, match="noise"):  # flax's own error
        layer.apply({}, x, deterministic=False)


@pytest.mark.slow
@every
def test_nnx_advances_its_stream(name: str) -> None:
    _, x, options = MODULES[name]
    layer = getattr(jaxdrop.nnx, name)(0.5, rngs=nnx.Rngs(3), **options)
    a, b = layer(x), layer(x)
    assert (a != b).any()
    step = nnx.jit(lambda layer, x: layer(x))
    assert (step(layer, x) != step(layer, x)).any()


@every
def test_no_key_is_needed_in_test_mode_or_at_rate_zero(name: str) -> None:
    _, x, options = MODULES[name]
    for rate, mode in ((0.5, True), (0.0, False)):
        layer = getattr(jaxdrop.linen, name)(rate, deterministic=mode, **options)
        np.testing.assert_array_equal(layer.apply({}, x), x)
        layer = getattr(jaxdrop.nnx, name)(rate, deterministic=mode, **options)
        np.testing.assert_array_equal(layer(x), x)


def test_train_eval_and_view_set_the_mode() -> None:
    layer = jaxdrop.nnx.DropPath(0.5, rngs=nnx.Rngs(0))
    layer.eval()
    np.testing.assert_array_equal(layer(X), X)
    layer.train()
    assert (layer(X) != X).any()
    np.testing.assert_array_equal(nnx.view(layer, deterministic=True)(X), X)


def test_two_dimensions_have_a_time_only_if_that_is_said() -> None:
    with pytest.raises(ValueError, match=r"^got x of shape \(18, 4\) and no time_axis: locked_dro"):
        jaxdrop.locked_dropout(key(), TABLE, 0.5)
    with pytest.raises(ValueError, match="^got x of shape"):
        jaxdrop.linen.LockedDropout(0.5, deterministic=False).apply({}, TABLE, rng=key())
    with pytest.raises(ValueError, match="^got x of shape"):
        jaxdrop.nnx.LockedDropout(0.5)(TABLE, rngs=key())
    y = jaxdrop.nnx.LockedDropout(0.5, time_axis=-2)(TABLE, rngs=key())
    assert ((y == 0) == (y == 0)[:1]).all()
    want = jaxdrop.locked_dropout(key(), X, 0.5, time_axis=-2)
    np.testing.assert_array_equal(jaxdrop.locked_dropout(key(), X, 0.5), want)


def test_embedding_dropout_looks_up_ids() -> None:
    ids = jnp.array([[1, 5], [1, 0]])
    want = jaxdrop.embedding_dropout(key(), TABLE, 0.5, ids)
    linen = jaxdrop.linen.EmbeddingDropout(0.5, deterministic=False)
    np.testing.assert_array_equal(linen.apply({}, TABLE, ids=ids, rng=key()), want)
    layer = jaxdrop.nnx.EmbeddingDropout(0.5)
    np.testing.assert_array_equal(layer(TABLE, ids=ids, rngs=key()), want)


def test_missing_mode_or_key_is_told_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="^DropPath does not know its mode"):
        jaxdrop.nnx.DropPath(0.5, deterministic=None)(X)
    with pytest.raises(ValueError, match="DropPath needs a key while training"):
        jaxdrop.nnx.DropPath(0.5)(X)
    with pytest.raises(TypeError, match="^got rngs of type int"):
        jaxdrop.nnx.DropPath(0.5, rngs=3)  # type: ignore[arg-type]


def test_every_linen_module_has_its_nnx_twin() -> None:
    def names(package: Any, base: type) -> set[str]:
        return {n for n, c in vars(package).items() if inspect.isclass(c) and issubclass(c, base)}

    ours = names(jaxdrop.linen, nn.Module)
    # What flax calls Dense is Linear in NNX.
    twins = {name.replace("Dense", "Linear") for name in ours}
    assert set(MODULES) < ours and twins == names(jaxdrop.nnx, nnx.Module)
    assert all(nnx_class(name).__name__ == name.replace("Dense", "Linear") for name in ours)


def test_both_libraries_take_the_same_by_position() -> None:
    """Except numbers of features, which Linen infers, and flax's own Dropout."""
    for name, linen in vars(jaxdrop.linen).items():
        if not inspect.isclass(linen) or name == "Dropout":
            continue
        linens, nnxs = (
            [
                p.name
                for p in inspect.signature(made.__init__).parameters.values()
                if p.kind < p.KEYWORD_ONLY and "features" not in p.name
            ]
            for made in (linen, nnx_class(name))
        )
        assert linens == nnxs, name


def test_a_legacy_key_of_numpy_is_a_key() -> None:
    legacy = jax.random.PRNGKey(3)
    layer = jaxdrop.nnx.DropPath(0.5)
    np.testing.assert_array_equal(layer(X, rngs=np.asarray(legacy)), layer(X, rngs=legacy))
