"""Surgery on Linen models by interception: nothing of the model changes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdrop.linen
import jaxdrop.testing
from jaxdrop import surgery

X = jnp.ones((40, 60))


def key() -> jax.Array:
    return jax.random.key(4)


class Net(nn.Module):
    """flax's dropout with its mode in the call and in the constructor, and attention."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.Dropout(0.3, name="first")(x, not train)
        x = nn.MultiHeadDotProductAttention(2, dropout_rate=0.2, name="attention")(
            x, deterministic=not train
        )
        return nn.Dropout(0.5, broadcast_dims=(0,), deterministic=not train, name="last")(x)


@pytest.fixture(scope="module")
def variables() -> Any:
    return Net().init(jax.random.key(0), X)


def first_zeros(y: Any) -> np.ndarray:
    return np.asarray(y) == 0


def test_key_bits_are_flax_s_masks() -> None:
    layer = nn.Dropout(0.3, deterministic=False)
    flax = layer.apply({}, X, rngs={"dropout": key()})
    with surgery.replaced(bits="key"):
        ours = layer.apply({}, X, rngs={"dropout": key()})
    with surgery.replaced():
        fast = layer.apply({}, X, rngs={"dropout": key()})
    np.testing.assert_array_equal(first_zeros(ours), first_zeros(flax))
    assert (first_zeros(fast) != first_zeros(flax)).any()


def test_fast_bits_are_our_layer_s() -> None:
    flax, ours = (c(0.3, deterministic=False) for c in (nn.Dropout, jaxdrop.linen.Dropout))
    with surgery.replaced():
        y = flax.apply({}, X, rngs={"dropout": key()})
    np.testing.assert_array_equal(y, ours.apply({}, X, rngs={"dropout": key()}))


@pytest.mark.slow
def test_nothing_is_left_behind(variables: Any) -> None:
    def call() -> Any:
        return Net().apply(variables, X, train=True, rngs={"dropout": key()})

    before = call()
    with surgery.replaced(rate=0.9):
        assert (np.asarray(call()) != np.asarray(before)).any()
    np.testing.assert_array_equal(call(), before)


def test_test_mode_is_unchanged(variables: Any) -> None:
    before = Net().apply(variables, X)
    with surgery.replaced(rate=0.9):
        np.testing.assert_array_equal(Net().apply(variables, X), before)


def test_variables_are_where_they_were(variables: Any) -> None:
    with surgery.replaced():
        inside = Net().init(jax.random.key(0), X)
    with surgery.inserted(lambda p, m: isinstance(m, nn.Dense), 0.5, deterministic=True):
        also = Net().init(jax.random.key(0), X)
    for other in (inside, also):
        jax.tree.map(np.testing.assert_array_equal, other, variables)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [nn.Dropout, jaxdrop.linen.Dropout, jaxdrop.linen.SpatialDropout])
def test_a_rate_for_all_or_by_path(layer: Any) -> None:
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return [layer(0.5, deterministic=False, name=n)(x) for n in ("a", "b")]

    x = jnp.ones((100, 2, 100))

    def share(y: Any) -> float:
        return float((np.asarray(y) == 0).mean())

    with surgery.replaced(rate=lambda path, module: 0.0 if path == ("b",) else None):
        a, b = Two().apply({}, x, rngs={"dropout": key()})
    assert share(b) == 0 and share(a) > 0.4  # 10,000 decisions at least: 20 deviations from 1/2
    with surgery.replaced(rate=1.0, where=lambda path, module: path == ("a",)):
        a, b = Two().apply({}, x, rngs={"dropout": key()})
    assert share(a) == 1 and share(b) < 0.6


@pytest.mark.slow
def test_a_traced_rate_compiles_once() -> None:
    layer, traces = nn.Dropout(0.5, deterministic=False), []

    @jax.jit
    def call(rate: Any) -> Any:
        traces.append("call")
        with surgery.replaced(rate=rate):
            return layer.apply({}, jnp.ones((100, 100)), rngs={"dropout": key()})

    for rate in (0.1, 0.6):
        jaxdrop.testing.assert_mask_rate(np.asarray(call(rate)) > 0, rate, false_alarm=1e-9)
    assert traces == ["call"]


def test_attention_draws_by_our_generator(variables: Any) -> None:
    def call() -> np.ndarray:
        return np.asarray(Net().apply(variables, X, train=True, rngs={"dropout": key()}))

    with surgery.replaced(where=lambda path, module: path == ("attention",)):
        ours = call()
    assert (ours != call()).any()
    with surgery.replaced(rate=0.0, where=lambda path, module: path == ("attention",)):
        assert (ours != call()).any()


@pytest.mark.slow
def test_inserted_drops_the_input_of_chosen_layers() -> None:
    layer = nn.Dense(60, use_bias=False)
    variables = {"params": {"kernel": jnp.eye(60)}}
    chosen: dict[str, Any] = dict(where=lambda path, module: isinstance(module, nn.Dense), rate=0.3)
    with surgery.inserted(**chosen, deterministic=False):
        y = layer.apply(variables, jnp.ones((400, 60)), rngs={"dropout": key()})
    jaxdrop.testing.assert_mask_rate(np.asarray(y) > 0, 0.3, false_alarm=1e-9)
    with surgery.inserted(**chosen, deterministic=True):
        assert (np.asarray(layer.apply(variables, X)) == 1).all()


def test_inserting_moves_no_other_layer_s_mask() -> None:
    net = nn.Sequential([nn.Dense(60), nn.Dropout(0.5, deterministic=False)])
    variables = net.init(jax.random.key(0), X)
    plain = net.apply(variables, X, rngs={"dropout": key()})
    with surgery.inserted(lambda p, m: isinstance(m, nn.Dense), 0.5, deterministic=False):
        y = net.apply(variables, X, rngs={"dropout": key()})
    np.testing.assert_array_equal(first_zeros(y), first_zeros(plain))


def test_force_dropout_overrules_every_mode(variables: Any) -> None:
    with nn.intercept_methods(surgery.force_dropout):
        forced = Net().apply(variables, X, train=False, rngs={"dropout": key()})
    expected = Net().apply(variables, X, train=True, rngs={"dropout": key()})
    np.testing.assert_array_equal(forced, expected)


@pytest.mark.slow
def test_layers_that_are_skipped_and_noise_are_found_too() -> None:
    class Both(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = jaxdrop.linen.GaussianNoise(0.5, deterministic=True, name="noise")(x)
            double = nn.Sequential([lambda x: 2 * x])
            return jaxdrop.linen.LayerDrop(double, 0.5, deterministic=True, name="layer")(x)

    rows = surgery.listing(Both(), X, variables={})
    assert [(row.path, row.kind, row.rate) for row in rows] == [
        (("noise",), "jaxdrop GaussianNoise", 0.5),
        (("layer",), "jaxdrop LayerDrop", 0.5),
    ]
    np.testing.assert_array_equal(Both().apply({}, X), 2 * X)
    with nn.intercept_methods(surgery.force_dropout), surgery.replaced(rate=1.0):
        y: Any = Both().apply({}, X, rngs={"dropout": key()})
    assert ((y != X) & (y != 2 * X)).any() and abs(float(y.mean()) - 1) < 0.5  # noisy, skipped


@pytest.mark.parametrize(
    "make, error, sentence",
    [
        (lambda: surgery.replaced(rate=2), ValueError, "got rate=2.0; expected 0 <= rate <= 1"),
        (lambda: surgery.replaced(bits="x"), ValueError, "got bits='x'"),  # type: ignore[arg-type]
        (
            lambda: surgery.inserted(lambda p, m: True, 0.5, deterministic=None),  # type: ignore[arg-type]
            TypeError,
            "got deterministic=None",
        ),
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(
    make: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence), make():
        pass


class ByName(nn.Module):
    """Layers called in every way: by position, by name, lifted, through another layer."""

    way: str

    @nn.compact
    def __call__(self, x: Any) -> Any:
        if self.way == "remat":
            return nn.remat(nn.Dense)(3, use_bias=False)(inputs=x)
        if self.way == "attention":
            return nn.MultiHeadDotProductAttention(2, use_bias=False)(inputs_q=x)
        if self.way == "attention that drops":
            return nn.MultiHeadDotProductAttention(
                2, use_bias=False, dropout_rate=0.1, deterministic=True
            )(inputs_q=x)
        if self.way == "norm":
            return nn.LayerNorm(use_bias=False)(mask=None, x=x)
        if self.way == "sequential":
            return nn.Sequential([nn.Dense(3, use_bias=False)])(inputs=x)
        return nn.Dense(3, use_bias=False)(inputs=x)


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["dense", "remat", "attention", "attention that drops", "norm", "sequential"]
)
def test_a_layer_called_by_keyword_drops_its_first_argument(way: str) -> None:
    net, x = ByName(way), jnp.ones((2, 8))
    variables = net.init(jax.random.key(0), x)
    layers = (nn.Dense, nn.MultiHeadDotProductAttention, nn.LayerNorm, nn.Sequential)
    with surgery.inserted(lambda p, m: isinstance(m, layers), 1.0, deterministic=False):
        y = net.apply(variables, x, rngs={"dropout": key()})
    assert (np.asarray(y) == 0).all()


def test_a_layer_called_without_arguments_is_an_error() -> None:
    class Table(nn.Module):
        @nn.compact
        def __call__(self) -> Any:
            return self.param("table", nn.initializers.ones, (3,))

    variables = Table().init(jax.random.key(0))
    with pytest.raises(ValueError, match="is called without arguments"):
        with surgery.inserted(lambda p, m: True, 0.5, deterministic=False):
            Table().apply(variables, rngs={"dropout": key()})


@pytest.mark.parametrize(
    "context, sentence",
    [
        (lambda: surgery.replaced(0.1, lambda p, m: False), "no dropout; called .*Net at"),
        (
            lambda: surgery.inserted(lambda p, m: p == ("frist",), 0.1, deterministic=False),
            r"no layer; called within the context were .*flax Dropout at \('first',\)",
        ),
    ],
)
def test_a_predicate_that_chooses_nothing_is_an_error_on_leaving(
    variables: Any, context: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match="the predicate chose " + sentence):
        with context():
            Net().apply(variables, X)
    with context():
        pass  # nothing was called that could have been chosen
    with pytest.raises(KeyError):  # another error is not covered up
        with context():
            Net().apply(variables, X)
            raise KeyError
