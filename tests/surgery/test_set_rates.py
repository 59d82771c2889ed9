"""set_rates: what a layer cannot take is an error before anything is changed."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop.nnx
from jaxdrop import surgery


def attention() -> nnx.MultiHeadAttention:
    return nnx.MultiHeadAttention(1, 2, dropout_rate=0.5, decode=False, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("make", "rate", "error", "sentence"),
    [
        (lambda: nnx.Dropout(0.5), np.ones(3) / 2, TypeError, "flax Dropout at .* an array of rat"),
        (attention, jnp.ones(3) / 2, TypeError, "MultiHeadAttention weights at .* an array of rat"),
        (
            lambda: jaxdrop.nnx.PatchDropout(0.5),
            np.ones(3) / 2,
            TypeError,
            "PatchDropout at .* cannot take an array of rates",
        ),
        (
            lambda: jaxdrop.nnx.LayerDrop(nnx.relu, 0.5),
            np.ones(3) / 2,
            ValueError,
            r"got a rate of shape \(3,\) for the jaxdrop LayerDrop at .* takes one number",
        ),
        (
            lambda: jaxdrop.nnx.Cutout(0.5, size=2),
            np.ones(3) / 2,
            ValueError,
            r"got a rate of shape \(3,\) for the jaxdrop Cutout at .* takes one number",
        ),
        (
            lambda: jaxdrop.nnx.Dropout(surgery.DropRate(jnp.float32(0.5))),
            np.ones(3) / 2,
            ValueError,
            r"got a rate of shape \(3,\) .* holds one of shape \(\); give it one number",
        ),
    ],
)
def test_an_array_for_a_layer_that_takes_none(
    make: Any, rate: Any, error: Any, sentence: str
) -> None:
    model = nnx.Dict(first=jaxdrop.nnx.Dropout(0.25), second=make())
    with pytest.raises(error, match=sentence):
        surgery.set_rates(model, rate)
    assert model.first.rate == 0.25  # nothing was changed


def test_a_number_on_the_device_is_a_python_number_to_flax() -> None:
    model: Any = nnx.Dict(drop=nnx.Dropout(0.5), attention=attention())
    surgery.set_rates(model, jnp.float32(0.25))
    assert (type(model.drop.rate), model.drop.rate) == (float, 0.25)
    assert type(model.attention.dropout_rate) is float
    with pytest.raises(TypeError, match="PatchDropout at .* cannot take a rate in a variable"):
        surgery.rates_as_variables(nnx.Dict(patch=jaxdrop.nnx.PatchDropout(0.5)))


def test_an_attention_that_was_replaced_is_listed_as_ours() -> None:
    model = nnx.Dict(attention=attention())
    undo = surgery.replace(model)
    assert [row.kind for row in surgery.listing(model)] == ["jaxdrop MultiHeadAttention weights"]
    undo()
    assert [row.kind for row in surgery.listing(model)] == ["flax MultiHeadAttention weights"]


def test_within_replaced_flaxs_linen_dropouts_are_listed_as_ours() -> None:
    layer, x = nn.Dropout(0.5, deterministic=False), jnp.ones((2, 2))
    with surgery.replaced(0.25):
        assert surgery.listing(layer, x, variables={})[0][1:3] == ("jaxdrop Dropout", 0.25)
    with surgery.replaced(0.25, lambda path, module: not path):
        assert surgery.listing(layer, x, variables={})[0].kind == "jaxdrop Dropout"
    assert surgery.listing(layer, x, variables={})[0].kind == "flax Dropout"
