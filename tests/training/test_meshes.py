"""Many devices: the loss of one within rounding, the very same masks, arrays where rules say."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdrop
import jaxdrop.nnx
import jaxdrop.training as jt
from experiments._networks.char_model import RULES, CharModel, bits_per_byte
from tests.training import small_run as small

pytestmark = pytest.mark.slow

ROWS, BATCH, WIDTH = 64, 16, 32
MESHES = {"data": (8, 1), "data x model": (4, 2)}
MLP_RULES = {
    r"first/kernel$": P(None, "model"),
    r"first/bias$": P("model"),
    r"out/kernel$": P("model", None),
}


class MLP(nnx.Module):
    def __init__(self, dtype: Any):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(WIDTH, 64, param_dtype=dtype, rngs=rngs)
        self.drop = jaxdrop.nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(64, 8, param_dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> Any:
        x = nnx.gelu(self.first(x))
        kept = self.drop(jnp.ones_like(x)) != 0  # the mask itself, of the layer's second call
        return self.out(self.drop(x)), kept


def checksum(kept: jax.Array) -> jax.Array:
    """Sum an odd number per kept element, modulo 2**32: exact, in any order."""
    place = jax.lax.iota(jnp.uint32, kept.size).reshape(kept.shape)
    return jnp.sum(jnp.where(kept, 2 * place + np.uint32(1), np.uint32(0)), dtype=jnp.uint32)


def mlp_loss(model: MLP, batch: Any, key: jax.Array) -> Any:
    logits, kept = model(batch["x"])
    return small.cross_entropy(logits, batch["y"]).mean(), {"mask": checksum(kept)}


def mlp_state(dtype: Any = jnp.float32) -> jt.NNXTrainState:
    return jt.NNXTrainState.from_model(MLP(dtype), optax.sgd(0.1, momentum=0.9), jax.random.key(1))


def mlp_data(dtype: Any = np.float32) -> Any:
    x = np.asarray(jax.random.normal(jax.random.key(0), (ROWS, WIDTH)))
    return {"x": x.astype(dtype), "y": (np.arange(ROWS) % 8).astype(np.int32)}


def block_state() -> jt.NNXTrainState:
    model = CharModel(
        layers=1, width=32, heads=8, context=8, rate=optax.constant_schedule(0.3),
        dtype=jnp.float32, rngs=nnx.Rngs(0),
    )  # fmt: skip
    return jt.NNXTrainState.from_model(model, optax.sgd(0.1, momentum=0.9), jax.random.key(1))


def block_loss(model: CharModel, batch: Any, key: jax.Array) -> Any:
    rate = model.begin_step()
    loss = bits_per_byte(model(batch["text"][:, :-1]), batch["text"][:, 1:]).mean()
    return loss, {
        "rate": rate,
        "mask": checksum(model.drop(jnp.ones((len(batch["text"]), 32))) != 0),
    }


def block_data() -> Any:
    return {"text": np.asarray(jax.random.randint(jax.random.key(0), (ROWS, 9), 0, 256))}


def mesh_of(shape: tuple[int, int]) -> jax.sharding.Mesh:
    return jax.make_mesh(shape, ("data", "model"), (AxisType.Auto,) * 2)


def lines(state: Any, loss_fn: Any, data: Any, mesh: Any = None, epochs: int = 4) -> Any:
    return jt.fit(
        state, loss_fn, data, seed=0, epochs=epochs, batch_size=BATCH, mesh=mesh, log_every=1,
        tick=lambda n: None,
    )  # fmt: skip


@functools.cache
def mlp_alone() -> Any:
    """The MLP's curve on one device."""
    return lines(mlp_state(), mlp_loss, mlp_data())[1]


def check_curves(one: Any, many: Any, unit: float, width: int) -> None:
    """Compare two runs that differ in the order of their sums.

    A sum of n terms in another order differs by at most n roundings of relative size unit; the
    loss is a sum over BATCH rows of sums over width units, and every step adds its own.
    """
    assert [line["mask"] for line in many] == [line["mask"] for line in one]
    for step, (a, b) in enumerate(zip(one, many, strict=True), 1):
        assert abs(a["loss"] - b["loss"]) <= step * (BATCH + width) * unit * a["loss"], step


@pytest.mark.parametrize("shape", MESHES.values(), ids=MESHES)
def test_an_mlp_on_a_mesh_trains_as_on_one_device(shape: tuple[int, int]) -> None:
    mesh = mesh_of(shape)
    start = jt.shard_state(mlp_state(), mesh, MLP_RULES)
    state, many = lines(start, mlp_loss, mlp_data(), mesh)
    check_curves(mlp_alone(), many, 2.0**-24, 64)
    kernel, moment = state.params["first"]["kernel"], state.opt_state[0].trace["first"]["kernel"]
    for array in (kernel, moment):
        assert array.sharding.spec == P(None, "model") and array.sharding.mesh == mesh


def test_in_float64_the_difference_is_rounding_too(x64: None) -> None:
    one = lines(mlp_state(jnp.float64), mlp_loss, mlp_data(np.float64))[1]
    state = jt.shard_state(mlp_state(jnp.float64), mesh_of((4, 2)), MLP_RULES)
    many = lines(state, mlp_loss, mlp_data(np.float64), mesh_of((4, 2)))[1]
    check_curves(one, many, 2.0**-53, 64)


def test_a_transformer_block_on_a_mesh_trains_as_on_one_device() -> None:
    mesh = mesh_of((2, 4))
    _, one = lines(block_state(), block_loss, block_data(), epochs=2)
    start = jt.shard_state(block_state(), mesh, RULES)
    state, many = lines(start, block_loss, block_data(), mesh, epochs=2)
    check_curves(one, many, 2.0**-24, 8 * 128)
    assert state.params["blocks"][0]["qkv"]["kernel"].sharding.spec == P(None, "model")


def test_another_mask_is_seen() -> None:
    other = mlp_state().replace(dropout_key=jax.random.key(2))
    with pytest.raises(AssertionError):
        check_curves(mlp_alone(), lines(other, mlp_loss, mlp_data())[1], 2.0**-24, 64)


def test_evaluation_and_checkpoints_go_from_mesh_to_mesh(tmp_path: Any) -> None:
    def metric_fn(model: MLP, batch: Any) -> Any:
        return {"test": small.cross_entropy(model(batch["x"])[0], batch["y"])}

    def go(epochs: int, shape: tuple[int, int] | None) -> Any:
        mesh = shape and mesh_of(shape)
        state = mlp_state() if mesh is None else jt.shard_state(mlp_state(), mesh, MLP_RULES)
        test = jax.tree.map(lambda a: a[:21], mlp_data())
        return jt.fit(
            state, mlp_loss, mlp_data(), seed=0, epochs=epochs, batch_size=BATCH, mesh=mesh,
            folder=tmp_path / "run", metric_fn=metric_fn, test=test, log_every=1,
            tick=lambda n: None,
        )  # fmt: skip

    saved, _ = go(1, (8, 1))
    for shape in ((2, 4), (4, 2), None):  # finished: the state is read, and nothing is done
        read, _ = go(1, shape)
        assert small.same(read, saved)
    for epochs, shape in ((2, (4, 2)), (3, None), (4, (1, 8))):
        _, many = go(epochs, shape)
    check_curves(mlp_alone(), [line for line in many if "loss" in line], 2.0**-24, 64)
    assert len([line["test"] for line in many if "test" in line]) == 4


@pytest.mark.parametrize(
    "rules, sentence",
    [
        ({"frist": P("model")}, r"the rules \['frist'\] match no parameter; there are first/bias"),
        ({"first/bias": P(None, "model")}, r"first/bias has shape \(64,\), and its rule"),
        ({"first/bias": P("heads")}, r"names \['heads'\], not in"),
        ({"out/bias": P(("data", "model"), )}, None),
        ({"first/kernel": P(("data", "model"),), "out/bias": P("tall")}, r"names \['tall'\]"),
    ],
)  # fmt: skip
def test_invalid_rules_are_errors(rules: Any, sentence: str | None) -> None:
    if sentence is None:
        state = jt.shard_state(mlp_state(), mesh_of((4, 2)), rules)
        assert state.params["out"]["bias"].sharding.spec == P(("data", "model"))
        return
    with pytest.raises(ValueError, match=sentence):
        jt.shard_state(mlp_state(), mesh_of((4, 2)), rules)


def test_meshes_and_batches_that_do_not_fit_are_errors() -> None:
    odd = jax.make_mesh((8,), ("rows",), (AxisType.Auto,))
    with pytest.raises(ValueError, match=r"the mesh has the axes \('rows',\); fit needs one named"):
        small.run(mesh=odd)
    with pytest.raises(ValueError, match=r"got batch_size=12 for 8 devices along 'data'"):
        small.run(mesh=mesh_of((8, 1)), batch_size=12)
    three = jt.NNXTrainState.from_model(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), optax.sgd(0.1),
                                        jax.random.key(0))  # fmt: skip
    with pytest.raises(ValueError, match=r"an axis of 3 cannot be spread over 8 devices"):
        jt.shard_state(three, mesh_of((1, 8)), {"kernel$": P("model")})


def test_a_batch_lies_on_its_devices() -> None:
    from jaxdrop.training._dataset import Dataset
    from jaxdrop.training._place_rows import place_batch

    numbers, mesh = np.arange(15, -1, -1), mesh_of((4, 2))
    batch = place_batch(Dataset(mlp_data(), "data"), numbers, mesh)
    assert batch["x"].sharding == NamedSharding(mesh, P("data"))
    np.testing.assert_array_equal(batch["x"], mlp_data()["x"][numbers])
