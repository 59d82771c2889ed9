"""Surgery on stacks of layers that nnx.vmap makes and nnx.scan runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop.nnx
from jaxdrop import mc, surgery

X = jnp.ones((100, 40))


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.dense = nnx.Linear(40, 40, use_bias=False, rngs=rngs)
        self.dense.kernel[...] = jnp.eye(40)
        self.norm = nnx.LayerNorm(40, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.0, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.drop(self.dense(x))


class Bare(nnx.Module):
    """Without a stream of keys."""

    def __init__(self, rngs: nnx.Rngs):
        self.dense = nnx.Linear(40, 40, use_bias=False, rngs=rngs)
        self.dense.kernel[...] = jnp.eye(40)

    def __call__(self, x: Any) -> Any:
        return self.dense(x)


class Net(nnx.Module):
    """A stack, and layers beside it."""

    def __init__(self, block: Any):
        rngs = nnx.Rngs(0)

        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=0, out_axes=0)
        def make(rngs: nnx.Rngs) -> Any:
            return block(rngs)

        self.blocks = make(rngs)
        self.first = nnx.Linear(40, 40, use_bias=False, rngs=rngs)
        self.first.kernel[...] = jnp.eye(40)
        self.drop = jaxdrop.nnx.Dropout(0.0, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def run(block: Any, x: Any) -> Any:
            return block(x)

        return run(self.blocks, self.drop(self.first(x)))


def is_dense(path: Any, module: Any) -> bool:
    return isinstance(module, nnx.Linear)


def kept(y: Any) -> float:
    return float((np.asarray(y) > 0).mean())


@pytest.mark.parametrize("block", [Block, Bare])
def test_insert_gives_every_layer_its_own_masks(block: Any) -> None:
    model = Net(block)
    before = nnx.graphdef(model)
    undo = surgery.insert(model, is_dense, 0.5, rngs=nnx.Rngs(7))
    # 4 layers, 4,000 decisions each: were masks shared by the stack, a quarter would be kept.
    y = model(X)
    assert abs(kept(y) - 1 / 16) < 0.025  # 6 deviations
    assert abs(kept(nnx.jit(lambda m, x: m(x))(model, X)) - 1 / 16) < 0.025
    assert (np.asarray(model(X)) != np.asarray(y)).any()  # the streams go on
    model.eval()
    np.testing.assert_array_equal(model(X), X)
    samples = mc.mc_predict(model, jax.random.key(0), X, 2)
    assert abs(kept(samples) - 1 / 16) < 0.025
    undo()
    model.train()
    assert nnx.graphdef(model) == before


def test_rates_in_variables_of_a_stack() -> None:
    model = Net(Block)
    undo = surgery.rates_as_variables(model)
    assert model.blocks.drop.rate[...].shape == (3,) and model.drop.rate[...].shape == ()
    traces = []

    @nnx.jit
    def call(model: Any, x: Any) -> Any:
        traces.append("call")
        return model(x)

    assert kept(call(model, X)) == 1
    surgery.set_rates(model, 0.5)
    assert abs(kept(call(model, X)) - 1 / 16) < 0.025
    surgery.set_rates(model, jnp.array([0.0, 1.0, 0.0]), lambda path, module: "blocks" in path)
    assert kept(call(model, X)) == 0
    surgery.set_rates(model, lambda path, module: 0.0 if "blocks" in path else 0.5)
    assert abs(kept(call(model, X)) - 1 / 2) < 0.05
    assert traces == ["call"]
    undo()
    assert model.blocks.drop.rate == 0.0


def test_the_dropouts_of_a_stack_are_listed() -> None:
    model = Net(Bare)
    surgery.insert(model, is_dense, 0.5, rngs=nnx.Rngs(7))
    rows = {row.path: row for row in surgery.listing(model, X)}
    assert rows["first", "dropout_before"].share_downstream == 1
    assert rows["blocks", "dense", "dropout_before"].share_downstream == 3 / 4
    surgery.rates_as_variables(model)
    assert surgery.table(model, X).row_count == 3
