"""Surgery on stacks of layers that nnx.vmap makes and nnx.scan runs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.nnx.filterlib import Filter

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_rates_in_variables_of_a_stack() -> None:
    model: Any = Net(Block)
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


def state_axes(axes: dict[Filter, Any]) -> nnx.StateAxes:
    return nnx.StateAxes(axes)


class Unsplit(nnx.Module):
    """A stack of layers with parameters of their own and one stream of keys for all."""

    def __init__(self, axes: Any):
        all_but_parameters = state_axes({nnx.Param: 0, ...: None})

        @nnx.split_rngs(splits=3, only="params")
        @nnx.vmap(in_axes=(state_axes({"params": 0, ...: None}),), out_axes=all_but_parameters)
        def make(rngs: nnx.Rngs) -> Any:
            return Block(rngs)

        self.blocks = make(nnx.Rngs(params=0, dropout=1))
        self.axes = axes

    def __call__(self, x: Any) -> Any:
        @nnx.scan(in_axes=(self.axes, nnx.Carry), out_axes=nnx.Carry)
        def run(block: Any, x: Any) -> Any:
            return block(x)

        return run(self.blocks, x)


CARRIED = state_axes({nnx.Param: 0, ...: nnx.Carry})
STREAMS_CARRIED = state_axes({nnx.RngState: nnx.Carry, ...: 0})


@pytest.mark.slow
@pytest.mark.parametrize("axes", [CARRIED, STREAMS_CARRIED], ids=["all", "streams"])
def test_a_stream_for_a_stack_whose_own_are_not_split_is_not_split_either(axes: Any) -> None:
    model = Unsplit(axes)
    surgery.insert(model, is_dense, 0.5, rngs=nnx.Rngs(7))
    assert model.blocks.dense.dropout_before.rngs.key[...].shape == ()
    assert abs(kept(model(X)) - 1 / 8) < 0.035  # 6 deviations


@pytest.mark.slow
def test_rates_of_a_stack_are_mapped_over_or_it_is_an_error() -> None:
    model = Unsplit(STREAMS_CARRIED)
    surgery.rates_as_variables(model)
    surgery.set_rates(model, jnp.array([0.0, 0.5, 0.0]))
    assert abs(kept(model(X)) - 1 / 2) < 0.05
    model = Unsplit(CARRIED)
    surgery.rates_as_variables(model)
    with pytest.raises(ValueError, match=r"got a rate of shape \(3,\) in a layer .*DropRate: 0"):
        model(X)
    model.axes = state_axes({(nnx.Param, surgery.DropRate): 0, ...: nnx.Carry})
    surgery.set_rates(model, 0.5)
    assert abs(kept(model(X)) - 1 / 8) < 0.035


@pytest.mark.slow
def test_streams_of_a_stack_are_mapped_over_or_it_is_an_error() -> None:
    blocks = Net(Bare).blocks
    surgery.insert(blocks, is_dense, 0.5, rngs=nnx.Rngs(7))

    @nnx.scan(in_axes=(CARRIED, nnx.Carry), out_axes=nnx.Carry)
    def run(block: Any, x: Any) -> Any:
        return block(x)

    with pytest.raises(ValueError, match=r"got a stream of keys of shape \(3,\) .*RngState: 0"):
        run(blocks, X)
    cell = jaxdrop.nnx.RecurrentDropout(nnx.LSTMCell(2, 2, rngs=nnx.Rngs(0)), 0.5)
    cell.rngs = nnx.Rngs(0)["dropout"].split(3)
    with pytest.raises(ValueError, match=r"got a stream of keys of shape \(3,\)"):
        cell((jnp.ones(2), jnp.ones(2)), jnp.ones(2))


@pytest.mark.slow
def test_a_traced_rate_stays_behind_as_a_number() -> None:
    model = Net(Block)

    @nnx.jit
    def call(model: Any, rate: Any) -> Any:
        surgery.set_rates(model, rate)
        return model(X)

    for _ in range(2):
        assert abs(kept(call(model, 0.5)) - 1 / 16) < 0.025
        np.testing.assert_array_equal(model.blocks.drop.rate[...], np.full(3, 0.5, np.float32))
        assert abs(kept(model(X)) - 1 / 16) < 0.025  # outside
    np.testing.assert_array_equal(call(model, 1.0), jnp.zeros_like(X))


MAKERS: dict[str, Callable[..., Any]] = {
    "Dropout": jaxdrop.nnx.Dropout,
    "DropPath": jaxdrop.nnx.DropPath,
    "GaussianNoise": jaxdrop.nnx.GaussianNoise,
    "LayerDrop": lambda rate: jaxdrop.nnx.LayerDrop(nnx.relu, rate),
    "Zoneout": lambda rate: jaxdrop.nnx.Zoneout(nnx.GRUCell(2, 2, rngs=nnx.Rngs(0)), rate),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_stack_may_be_made_with_a_rate_for_each_layer(name: str) -> None:
    rates = jnp.array([0.0, 0.5, 0.25])
    layers = nnx.vmap(MAKERS[name])(rates)
    np.testing.assert_array_equal(layers.rate[...], rates)
    np.testing.assert_array_equal(nnx.vmap(lambda layer: layer.rate[...] + 1)(layers), rates + 1)


@pytest.mark.slow
def test_every_entry_of_a_carry_may_have_a_rate_for_each_layer() -> None:
    cell = nnx.vmap(
        lambda rate: jaxdrop.nnx.Zoneout(nnx.LSTMCell(2, 2, rngs=nnx.Rngs(0)), (rate, 0.125))
    )(jnp.array([0.0, 0.5]))
    np.testing.assert_array_equal(cell.rate[0][...], [0.0, 0.5])
    assert cell.rate[1] == 0.125


@pytest.mark.slow
def test_rates_of_a_stack_may_be_set_layer_by_layer() -> None:
    model = Net(Block)
    undo = surgery.set_rates(model, np.array([0.0, 1.0, 0.0]), lambda p, m: "blocks" in p)
    assert kept(model(X)) == 0
    undo()
    assert model.blocks.drop.rate == 0.0 and kept(model(X)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("rate", [jnp.float32(0.5), np.full(40, 0.5)], ids=["device", "features"])
def test_an_array_is_no_rate_for_each_layer_unless_it_fits(rate: Any) -> None:
    model = Net(Block)
    surgery.set_rates(model, rate)
    assert abs(kept(model(X)) - 1 / 16) < 0.025
    surgery.rates_as_variables(model)
    assert abs(kept(model(X)) - 1 / 16) < 0.025


def test_a_table_shows_every_rate_of_a_stack() -> None:
    model = Net(Block)
    surgery.rates_as_variables(model)
    surgery.set_rates(model, jnp.array([0.0, 0.5, 0.25]), lambda path, module: "blocks" in path)
    cell = jaxdrop.nnx.Zoneout(nnx.LSTMCell(2, 2, rngs=nnx.Rngs(0)), (0.5, 0.125))
    many = nnx.Dict(drop=jaxdrop.nnx.Dropout(np.linspace(0.0, 0.5, 9)), cell=cell)
    shown: list[Any] = [list(surgery.table(m).columns[2].cells) for m in (model, many)]
    assert sorted(shown[0]) == ["0", "0, 0.5, 0.25"]
    assert sorted(shown[1]) == ["0 to 0.5", "0.5, 0.125"]


class Tower(nnx.Module):
    """A model that is a stack itself."""

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0, 0))
    def __init__(self, rngs: nnx.Rngs):
        self.dense = nnx.Linear(40, 40, use_bias=False, rngs=rngs)
        self.dense.kernel[...] = jnp.eye(40)
        self.drop = jaxdrop.nnx.Dropout(0.0, rngs=rngs)

    @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
    def __call__(self, x: Any) -> Any:
        return self.drop(self.dense(x))


class SplitInTheCall(Unsplit):
    """A stack whose one stream is split each time that it runs."""

    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, x: Any) -> Any:
        with nnx.split_rngs(self.blocks, splits=3):
            return super().__call__(x)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: Tower(nnx.Rngs(0)), SplitInTheCall], ids=["self", "call"])
def test_other_ways_to_run_a_stack(make: Any) -> None:
    model = make()
    surgery.insert(model, is_dense, 0.5, rngs=nnx.Rngs(7))
    assert abs(kept(model(X)) - 1 / 8) < 0.035
    surgery.rates_as_variables(model)
    surgery.set_rates(model, jnp.array([0.0, 0.0, 0.5]))
    assert abs(kept(model(X)) - 1 / 4) < 0.045
