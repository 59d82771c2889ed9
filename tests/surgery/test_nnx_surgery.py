"""Surgery on NNX models: in place, reversible, parameters and paths untouched."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop.nnx
import jaxdrop.testing
from jaxdrop import surgery
from tests.surgery.nnx_block import CHANGES, X, block, fingerprint, is_linear, parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_parameters_are_untouched_and_the_change_can_be_taken_back(name: str) -> None:
    model = block()
    before, weights, kept = fingerprint(model), parameters(model), model.drops[0]
    undo = CHANGES[name](model)
    assert fingerprint(model) != before
    assert parameters(model) == weights and model.drops[0] is kept is model.again
    model.eval()
    expected = block()
    expected.eval()
    np.testing.assert_array_equal(model(X), expected(X))
    model.train()
    model(X)
    for step in reversed(undo) if isinstance(undo, tuple) else [undo]:
        step()
        step()  # nothing more happens
    nnx.reseed(model, dropout=1)
    untouched = block()
    untouched.train()
    nnx.reseed(untouched, dropout=1)
    assert fingerprint(model) == fingerprint(untouched)


def test_replace_finds_flax_s_dropouts_wherever_they_are() -> None:
    model = block()
    surgery.replace(model)
    assert type(model.drops[0]) is jaxdrop.nnx.Dropout
    assert isinstance(model.drops[0], nnx.Dropout)
    assert type(model.drops[1]) is jaxdrop.nnx.SpatialDropout
    assert model.attention.attention_fn is not nnx.dot_product_attention


@pytest.mark.slow
def test_replace_draws_from_the_same_stream_and_knows_flax_s_masks() -> None:
    ones = jnp.ones((50, 40))
    flax, ours, same = (nnx.Sequential(nnx.Dropout(0.3, rngs=nnx.Rngs(7))) for _ in range(3))
    surgery.replace(ours)
    surgery.replace(same, bits="key")
    stream = nnx.Dropout(0.3, rngs=nnx.Rngs(7)).rngs
    for _ in range(2):
        expected = jaxdrop.dropout(stream(), ones, 0.3)
        np.testing.assert_array_equal(ours(ones), expected)
        np.testing.assert_array_equal(np.asarray(same(ones)) != 0, np.asarray(flax(ones)) != 0)


@pytest.mark.slow
def test_attention_drops_at_its_rate_by_our_generator() -> None:
    n = 64
    layer = nnx.MultiHeadAttention(
        1, n, dropout_rate=0.25, broadcast_dropout=False, decode=False, rngs=nnx.Rngs(0)
    )
    surgery.replace(layer)
    query = jnp.zeros((2, n, 1, n))
    value = jnp.eye(n)[None, :, None].repeat(2, 0)
    weights = layer.attention_fn(
        query, query, value, dropout_rng=jax.random.key(0), dropout_rate=0.25,
        broadcast_dropout=False, deterministic=False, dtype=None, precision=None, module=None,
    )  # fmt: skip
    jaxdrop.testing.assert_mask_rate(np.asarray(weights) > 0, 0.25, false_alarm=1e-9)
    kept = jaxdrop.attention_keep_mask(jax.random.key(0), (2, 1, n, n), 0.25)
    np.testing.assert_array_equal(np.asarray(weights)[:, :, 0] > 0, kept[:, 0])


def test_rates_by_path_and_module() -> None:
    model = block()
    surgery.set_rates(model, 0.05)
    assert (model.drops[0].rate, model.drops[1].rate, model.attention.dropout_rate) == (0.05,) * 3
    surgery.set_rates(model, lambda path, m: 0.4 if path[0] == "attention" else None)
    assert (model.drops[0].rate, model.attention.dropout_rate) == (0.05, 0.4)
    surgery.set_rates(model, 0.9, lambda path, m: isinstance(m, jaxdrop.nnx.SpatialDropout))
    assert (model.drops[0].rate, model.drops[1].rate) == (0.05, 0.9)


def test_a_schedule_costs_one_compile() -> None:
    model = nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    surgery.replace(model)
    surgery.rates_as_variables(model)
    traces = []

    @nnx.jit
    def step(model: Any, x: Any) -> Any:
        traces.append("step")
        return model(x)

    ones = jnp.ones((100, 100))
    for rate in (0.1, 0.5, 0.9):
        surgery.set_rates(model, rate)
        jaxdrop.testing.assert_mask_rate(np.asarray(step(model, ones)) > 0, rate, false_alarm=1e-9)
    assert traces == ["step"]


def test_a_traced_rate_on_a_model_merged_inside_the_step() -> None:
    model = nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    surgery.replace(model)
    graphdef, state = nnx.split(model)
    state = nnx.as_pure(state)

    @jax.jit
    def call(state: Any, rate: Any) -> Any:
        inside = nnx.merge(graphdef, state)
        surgery.set_rates(inside, rate)
        return inside(jnp.ones((100, 100)))

    jaxdrop.testing.assert_mask_rate(np.asarray(call(state, 0.2)) > 0, 0.2, false_alarm=1e-9)


def test_equal_surgeries_give_equal_graphs() -> None:
    one, two = block(), block()
    for model in (one, two):
        surgery.replace(model)
        surgery.insert(model, is_linear, 0.5, rngs=nnx.Rngs(3))
    assert nnx.graphdef(one) == nnx.graphdef(two)


@pytest.mark.parametrize(
    "work, error, sentence",
    [
        (lambda m: surgery.set_rates(m, 1.5), ValueError, r"got rate=1.5; expected 0 <= rate <= 1"),
        (lambda m: surgery.set_rates(m, 1.0), ValueError, "for the attention at .*gives NaN"),
        (surgery.rates_as_variables, TypeError, "cannot take a rate in a variable"),
        (
            lambda m: surgery.insert(m, lambda p, d: False, 0.5, rngs=nnx.Rngs(0)),
            ValueError,
            "the predicate chose no layer; the model has modules of type .*Linear",
        ),
        (lambda m: surgery.replace(m, bits="slow"), ValueError, "got bits='slow'"),  # type: ignore[arg-type]
        (lambda m: surgery.replace(nnx.state(m)), TypeError, "expected a flax.nnx module"),  # type: ignore[arg-type]
    ],
)
def test_wrong_use_is_an_error_in_one_sentence(
    work: Any, error: type[Exception], sentence: str
) -> None:
    model = block()
    before = fingerprint(model)
    with pytest.raises(error, match=sentence):
        work(model)
    assert fingerprint(model) == before


def test_a_learned_rate_is_not_set() -> None:
    model = nnx.Sequential(jaxdrop.nnx.ConcreteDropout(rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match=r"at \('layers', 0\) has no rate that can be set"):
        surgery.set_rates(model, 0.1)
    for change in (lambda m: surgery.rates_as_variables(m), lambda m: surgery.set_rates(m, 0.1)):
        layer = jaxdrop.nnx.VariationalDropout(3)
        with pytest.raises(TypeError, match="has no rate that can be set"):
            change(layer)


def cell() -> nnx.LSTMCell:
    return nnx.LSTMCell(8, 8, rngs=nnx.Rngs(0))


WITH_RATES = {
    "DropConnectLinear": lambda: jaxdrop.nnx.DropConnectLinear(8, 3, 0.5, rngs=nnx.Rngs(0)),
    "GaussianNoise": lambda: jaxdrop.nnx.GaussianNoise(0.5),
    "LayerDrop": lambda: jaxdrop.nnx.LayerDrop(nnx.Linear(8, 8, rngs=nnx.Rngs(0)), 0.5),
    "RecurrentDropout": lambda: jaxdrop.nnx.RecurrentDropout(cell(), 0.5),
    "SpatialDropout": lambda: jaxdrop.nnx.SpatialDropout(0.5),
    "Zoneout": lambda: jaxdrop.nnx.Zoneout(cell(), 0.5),
    "Zoneout of two": lambda: jaxdrop.nnx.Zoneout(cell(), (0.5, 0.25)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_RATES)
def test_every_kind_of_module_goes_on_with_its_rate_in_a_variable(name: str) -> None:
    """With 0 in a variable, whose value only the device knows, it does what it does at rate 0."""
    model, quiet = WITH_RATES[name](), WITH_RATES[name]()
    before = fingerprint(model)
    undo = surgery.rates_as_variables(model)
    undo_rates = surgery.set_rates(model, 0.0)
    surgery.set_rates(quiet, 0.0)
    (row,) = surgery.listing(model)
    assert jax.tree.leaves(row.rate) and (np.asarray(jax.tree.leaves(row.rate)) == 0).all()
    h = jnp.ones((4, 8))
    args: Any = (X[:, 0],) if name == "DropConnectLinear" else (X,)
    args = ((h, h), h) if hasattr(model, "cell") else args
    key = jax.random.key(0)
    step = nnx.jit(lambda model, *args: model(*args, rngs=key))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
        step(model, *args),
        quiet(*args),
    )
    undo_rates()
    undo()
    assert fingerprint(model) == before


NO: Any = lambda path, module: False  # noqa: E731


@pytest.mark.parametrize(
    "work, sentence",
    [
        (lambda m: surgery.replace(m, NO), r"no dropout; the dropouts of the model are .*at \('dr"),
        (lambda m: surgery.set_rates(m, 0.1, NO), "no dropout; the dropouts of the model are flax"),
        (lambda m: surgery.rates_as_variables(m, NO), "no dropout; the dropouts of the model are"),
        (lambda m: surgery.insert(m, NO, 0.5, rngs=nnx.Rngs(0)), "no layer; the model has modules"),
        (
            lambda m: surgery.set_rates(m, lambda p, d: None),
            "no dropout; .* returned None for flax",
        ),
        (lambda m: surgery.replace(m.dense), "no dropout; the dropouts of the model are none"),
    ],
)
def test_a_predicate_that_chooses_nothing_is_an_error(work: Any, sentence: str) -> None:
    model = block()
    before = fingerprint(model)
    with pytest.raises(ValueError, match="the predicate chose " + sentence):
        work(model)
    assert fingerprint(model) == before
