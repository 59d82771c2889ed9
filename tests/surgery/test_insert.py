"""insert: what goes through the dropout, and how the layer may be called."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop.testing
from jaxdrop import surgery
from tests.surgery.nnx_block import X, is_linear


@pytest.mark.slow
def test_insert_drops_the_layer_s_input_while_training() -> None:
    layer = nnx.Linear(200, 200, use_bias=False, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.eye(200)
    model = nnx.Sequential(layer, nnx.relu)
    undo = surgery.insert(model, is_linear, 0.3, rngs=nnx.Rngs(1))
    jaxdrop.testing.assert_mask_rate(
        np.asarray(model(jnp.ones((50, 200)))) > 0, 0.3, false_alarm=1e-9
    )
    assert [row.path for row in surgery.listing(model)] == [("layers", 0, "dropout_before")]
    model.eval()
    assert (np.asarray(model(jnp.ones((50, 200)))) == 1).all()
    undo()
    assert type(model.layers[0]) is nnx.Linear and not hasattr(model.layers[0], "dropout_before")


class Named(nnx.Module):
    def __init__(self, layer: Any, **names: str):
        self.layer, self.names = layer, nnx.static(names)

    def __call__(self, x: Any) -> Any:
        return self.layer(**dict.fromkeys(self.names, x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "attention", "attention that drops", "norm"])
def test_a_layer_called_by_keyword_drops_its_first_argument(name: str) -> None:
    rngs = nnx.Rngs(0)
    model = {
        "linear": lambda: Named(nnx.Linear(8, 3, use_bias=False, rngs=rngs), inputs=""),
        "attention": lambda: Named(
            nnx.MultiHeadAttention(2, 8, use_bias=False, decode=False, rngs=rngs), inputs_q=""
        ),
        "attention that drops": lambda: Named(
            nnx.MultiHeadAttention(
                2, 8, dropout_rate=0.1, use_bias=False, deterministic=False, decode=False, rngs=rngs
            ),
            inputs_q="",
        ),
        "norm": lambda: Named(nnx.LayerNorm(8, use_bias=False, rngs=rngs), x=""),
    }[name]()
    surgery.insert(model, lambda p, m: p == ("layer",), 1.0, rngs=nnx.Rngs(1))
    assert (np.asarray(model(X)) == 0).all()
