"""Every public layer, by its record: surgery sees it, and mc turns it on."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from jaxdrop import mc, surgery
from jaxdrop._flax.stochastic_layer import StochasticLayer
from jaxdrop.surgery._kinds import is_dropout
from scripts.members import Layer
from scripts.members._rnn import LinenRNN
from tests.flax.layers import LAYERS

KEY = jax.random.key(3)
every = pytest.mark.parametrize("layer", LAYERS.values(), ids=lambda layer: layer.id)


def linen_in_test_mode(layer: Layer) -> tuple[Any, Any, Any]:
    """The layer, the model that holds it, and its variables."""
    outer = layer.linen()
    inner: Any = outer.cell if isinstance(outer, LinenRNN) else outer
    inner = inner.clone(deterministic=True)
    model: Any = outer.clone(cell=inner) if isinstance(outer, LinenRNN) else inner
    return inner, model, model.init({"params": KEY}, layer.x)


def assert_samples(samples: Any, alone: Any) -> None:
    """They differ from each other; without mc nothing is drawn, and no key is asked for."""
    assert samples.shape[0] == 8 and np.isfinite(alone).all()
    assert any((samples[0] != sample).any() for sample in samples[1:])


@pytest.mark.slow
@every
def test_surgery_sees_it_in_linen(layer: Layer) -> None:
    inner, model, variables = linen_in_test_mode(layer)
    assert is_dropout(inner)
    (row,) = surgery.listing(model, layer.x, variables=variables)
    assert row.kind == f"jaxdrop {layer.linen_class.__name__}"


@every
def test_surgery_sees_it_in_nnx(layer: Layer) -> None:
    model = layer.nnx(nnx.Rngs(0))
    ((_, found),) = surgery.find_dropouts(model)
    assert isinstance(found, layer.nnx_class) and is_dropout(found)
    (row,) = surgery.listing(model)
    assert row.kind == f"jaxdrop {layer.nnx_class.__name__}"


@pytest.mark.slow
@every
def test_mc_turns_it_on_in_linen(layer: Layer) -> None:
    _, model, variables = linen_in_test_mode(layer)
    samples = mc.mc_predict(model.bind(variables), KEY, layer.x, 8)
    assert_samples(samples, model.apply(variables, layer.x))


@pytest.mark.slow
@every
def test_mc_turns_it_on_in_nnx(layer: Layer) -> None:
    model = layer.nnx(nnx.Rngs(0))
    model.eval()
    assert_samples(mc.mc_predict(model, KEY, layer.x, 8), model(layer.x))


def test_a_layer_without_the_mark_is_not_seen() -> None:
    """The test of the tests: by the mark, and not by its name or fields."""

    class Unmarked(nnx.Module):
        def __init__(self) -> None:
            self.rate, self.deterministic, self.rngs = 0.5, False, nnx.Rngs(0)

    class Marked(StochasticLayer, Unmarked):
        pass

    assert is_dropout(Marked()) and not is_dropout(Unmarked())
    assert [type(m) for _, m in surgery.find_dropouts(nnx.List([Marked(), Unmarked()]))] == [Marked]
