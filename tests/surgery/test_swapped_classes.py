"""A program that sets flax's Dropout to ours at its top: layers, surgery and mc still work."""

import subprocess
import sys

import pytest

PROGRAM = """
import pickle
import jax, jax.numpy as jnp, numpy as np
from flax import linen as nn, nnx
import jaxdrop.linen, jaxdrop.nnx
{early}
flax_linen, flax_nnx = nn.Dropout, nnx.Dropout
nn.Dropout, nnx.Dropout = jaxdrop.linen.Dropout, jaxdrop.nnx.Dropout
from jaxdrop import mc, surgery

x, key = jnp.ones((20, 30)), jax.random.key(0)

def told(call, sentence):
    try:
        call()
    except Exception as error:  # flax raises several kinds; the sentence counts
        assert sentence in str(error), error
    else:
        raise AssertionError("no error")

told(lambda: nnx.Dropout(0.5)(x), "no `rngs` argument")
told(lambda: nnx.Dropout(0.5, deterministic=None)(x), "No `deterministic` argument")
told(lambda: nn.Dropout(0.5, deterministic=False).apply({{}}, x), "dropout")

model = nnx.Sequential(
    flax_nnx(0.5, rngs=nnx.Rngs(0)),
    nnx.Dropout(0.5, rngs=nnx.Rngs(1), scale_at="test"),
    nnx.Linear(30, 3, rngs=nnx.Rngs(2)),
)
assert [row.kind for row in surgery.listing(model, x)] == ["flax Dropout", "jaxdrop Dropout"]
told(lambda: surgery.rates_as_variables(model), "cannot take a rate in a variable")
undo = surgery.replace(model)
assert type(model.layers[0]) is jaxdrop.nnx.Dropout
assert model.layers[1].scale_at == "test"  # it was ours, and is left as it was
undo()
assert type(model.layers[0]) is flax_nnx
assert np.ptp(np.asarray(mc.mc_predict(model, key, x, 3)), axis=0).max() > 0

for layer in (flax_linen, nn.Dropout):
    net = layer(0.5, deterministic=True)
    assert surgery.listing(net, x, variables={{}})[0].rate == 0.5
    assert np.ptp(np.asarray(mc.mc_predict(net.bind({{}}), key, x, 3)), axis=0).max() > 0
    with surgery.replaced(rate=1.0):
        y = layer(0.5, deterministic=False).apply({{}}, x, rngs={{"dropout": key}})
    assert (np.asarray(y) == 0).all()
with surgery.replaced(bits="key"):
    y = flax_linen(0.5, deterministic=False).apply({{}}, x, rngs={{"dropout": key}})
expected = flax_linen(0.5, deterministic=False).apply({{}}, x, rngs={{"dropout": key}})
assert ((np.asarray(y) == 0) == (np.asarray(expected) == 0)).all()
"""


@pytest.mark.slow
@pytest.mark.parametrize("early", ["", "import jaxdrop.surgery, jaxdrop.mc, jaxdrop.training"])
def test_flax_s_class_is_known_after_a_swap(early: str) -> None:
    program = PROGRAM.format(early=early)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
