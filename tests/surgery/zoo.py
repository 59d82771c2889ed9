"""Models with mistakes that people make with dropout, each with the problem that is to be found."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

WIDTH = 16
X = jnp.linspace(-1, 2, 8 * 4 * WIDTH).reshape(8, 4, WIDTH)  # zeros behind a ReLU, too


class Animal(NamedTuple):
    """A model, the dropout that is wrong, () for one that is no layer, and all its problems."""

    model: Callable[[], Any]
    path: tuple[Any, ...]
    problem: str
    another: str = ""


# ------------------------------------------------------------------------------------------ Linen


class Overwritten(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        y = nn.Dropout(0.5, deterministic=not train)(x)
        y = nn.Dense(WIDTH)(x)  # of x, not of y
        return y


class ModeDoesNotArrive(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dropout(0.5, deterministic=True)(nn.Dense(WIDTH)(x))


class NeverOff(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(WIDTH)(x))


class OneKeyForTwo(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        key = self.make_rng("dropout")
        x = nn.Dropout(0.5, deterministic=not train)(x, rng=key)
        x = nn.relu(nn.Dense(2 * WIDTH)(x))
        return nn.Dropout(0.2, deterministic=not train)(x, rng=key)


class FixedKey(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dropout(0.5, deterministic=not train)(x, rng=jax.random.key(0))


class ScanWithOneKey(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        def block(module: Any, x: Any) -> Any:
            x = nn.Dense(WIDTH)(x)
            return x + nn.Dropout(0.5, deterministic=not train)(nn.relu(x)), None

        split: Any = {"params": True, "dropout": False}
        layers = nn.scan(block, variable_axes={"params": 0}, split_rngs=split, length=3)
        return layers(self, x)[0]


class VmapWithOneKey(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        def example(module: Any, x: Any) -> Any:
            return nn.Dropout(0.5, deterministic=not train)(nn.Dense(WIDTH)(x))

        split: Any = {"params": False, "dropout": False}
        return nn.vmap(example, variable_axes={"params": None}, split_rngs=split)(self, x)


class OneMaskForTheBatch(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dropout(0.5, broadcast_dims=(0,), deterministic=not train)(nn.Dense(WIDTH)(x))


class BroadcastDropout(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.MultiHeadDotProductAttention(2, dropout_rate=0.2, deterministic=not train)(x)


class BeforeBatchNorm(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(WIDTH)(x)))
        return nn.BatchNorm(use_running_average=not train)(nn.Dense(WIDTH)(x))


class Undone(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.Dense(WIDTH)(x)
        return x + nn.Dropout(0.5, deterministic=not train)(x)


class KeepsAtTheRate(nn.Dropout):
    """A dropout that takes the rate for the probability of keeping."""

    @nn.compact
    def __call__(self, inputs: Any, deterministic: Any = None, rng: Any = None) -> Any:
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return inputs
        keep = jax.random.bernoulli(self.make_rng("dropout"), self.rate, inputs.shape)
        return jnp.where(keep, inputs / self.rate, 0)


class AnotherRate(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return KeepsAtTheRate(0.1, deterministic=not train, name="drop")(nn.Dense(WIDTH)(x))


class ByHandNeverOff(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        keep = jax.random.bernoulli(self.make_rng("dropout"), 0.5, x.shape)
        return nn.Dense(WIDTH)(jnp.where(keep, x / 0.5, 0))


class ByHandFixedKey(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return jaxdrop.dropout(jax.random.key(3), nn.Dense(WIDTH)(x), 0.5, deterministic=not train)


class MicrobatchesWithOneKey(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        key = self.make_rng("dropout") if train else None

        def part(x: Any) -> Any:
            return jaxdrop.dropout(key, x, 0.5, deterministic=not train)

        return jax.lax.map(part, x.reshape(2, -1, *x.shape[1:])).reshape(x.shape)


class DevicesWithOneKey(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        key = self.make_rng("dropout")

        def shard(key: Any, x: Any) -> Any:
            return nn.Dropout(0.5, deterministic=not train, parent=None).apply(
                {}, x, rngs={"dropout": key}
            )

        mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
        rows = PartitionSpec("data")
        return jax.shard_map(shard, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows)(
            key, x
        )


# -------------------------------------------------------------------------------------------- NNX


class Two(nnx.Module):
    """Two dense layers and two dropouts, for those that make a mistake of them."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.a, self.b = nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)


class OverwrittenNNX(Two):
    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.a(x))
        self.drop(x)
        return self.b(x)


class NeverCalledNNX(Two):
    def __call__(self, x: Any) -> Any:
        return self.b(nnx.relu(self.a(x)))


class ModeDoesNotArriveNNX(Two):
    def __call__(self, x: Any) -> Any:
        return self.b(self.drop(nnx.relu(self.a(x)), deterministic=True))


class NeverOffNNX(Two):
    def __call__(self, x: Any) -> Any:
        return self.b(self.drop(nnx.relu(self.a(x)), deterministic=False))


class OneKeyForTwoNNX(Two):
    def __init__(self) -> None:
        super().__init__()
        self.other = jaxdrop.nnx.Dropout(0.2)
        self.drop = jaxdrop.nnx.Dropout(0.5)
        self.rngs = nnx.Rngs(3)

    def __call__(self, x: Any) -> Any:
        key = self.rngs.dropout()
        return self.b(self.other(nnx.relu(self.a(self.drop(x, rngs=key))), rngs=key))


class FixedKeyNNX(Two):
    def __call__(self, x: Any) -> Any:
        return self.b(self.drop(nnx.relu(self.a(x)), rngs=nnx.Rngs(0)))


class ScanWithOneKeyNNX(nnx.Module):
    def __init__(self) -> None:
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def make(rngs: Any) -> Any:
            return nnx.Linear(WIDTH, WIDTH, rngs=rngs)

        self.layers = make(nnx.Rngs(0))
        self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(1))

    def __call__(self, x: Any) -> Any:
        @nnx.scan(in_axes=(0, None, nnx.Carry), out_axes=nnx.Carry)
        def run(layer: Any, drop: Any, x: Any) -> Any:
            return x + drop(nnx.relu(layer(x)))

        return run(self.layers, self.drop, x)


class BroadcastDropoutNNX(nnx.Module):
    def __init__(self) -> None:
        self.attend = nnx.MultiHeadAttention(
            2, WIDTH, dropout_rate=0.2, decode=False, rngs=nnx.Rngs(0)
        )

    def __call__(self, x: Any) -> Any:
        return self.attend(x)


class BeforeBatchNormNNX(Two):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nnx.BatchNorm(WIDTH, rngs=nnx.Rngs(1))

    def __call__(self, x: Any) -> Any:
        return self.norm(self.b(self.drop(nnx.relu(self.a(x)))))


class UndoneNNX(Two):
    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.a(x))
        return self.b(x + 1.0 * self.drop(x).reshape(x.shape))


class OneMaskForTheBatchNNX(Two):
    def __init__(self) -> None:
        super().__init__()
        self.drop.broadcast_dims = (0,)

    def __call__(self, x: Any) -> Any:
        return self.drop(self.a(x))


ZOO = {
    "result overwritten": Animal(Overwritten, ("Dropout_0",), "result not used"),
    "mode does not arrive": Animal(ModeDoesNotArrive, ("Dropout_0",), "off in training"),
    "never off": Animal(NeverOff, ("Dropout_0",), "on in test mode"),
    "one key for two": Animal(OneKeyForTwo, ("Dropout_0",), "shared with another dropout"),
    "fixed key": Animal(FixedKey, ("Dropout_0",), "same mask in every step"),
    "scan with one key": Animal(ScanWithOneKey, ("Dropout_0",), "shared by calls"),
    "vmap with one key": Animal(VmapWithOneKey, ("Dropout_0",), "shared by calls"),
    "one mask for the batch": Animal(OneMaskForTheBatch, ("Dropout_0",), "shared by examples"),
    "broadcast_dropout": Animal(
        BroadcastDropout, ("MultiHeadDotProductAttention_0",), "shared by examples"
    ),
    "before batch norm": Animal(BeforeBatchNorm, ("Dropout_0",), "before a batch norm"),
    "undone": Animal(Undone, ("Dropout_0",), "undone by a residual"),
    "another rate": Animal(AnotherRate, ("drop",), "another rate than asked for"),
    "by hand, never off": Animal(ByHandNeverOff, (), "on in test mode"),
    "by hand, fixed key": Animal(ByHandFixedKey, (), "same mask in every step"),
    "microbatches with one key": Animal(MicrobatchesWithOneKey, (), "shared by calls"),
    "devices with one key": Animal(DevicesWithOneKey, (), "shared by calls"),
    "NNX result overwritten": Animal(OverwrittenNNX, ("drop",), "result not used"),
    "NNX never called": Animal(NeverCalledNNX, ("drop",), "never called"),
    "NNX mode does not arrive": Animal(ModeDoesNotArriveNNX, ("drop",), "off in training"),
    "NNX never off": Animal(NeverOffNNX, ("drop",), "on in test mode"),
    "NNX one key for two": Animal(OneKeyForTwoNNX, ("drop",), "shared with another dropout"),
    "NNX fixed key": Animal(FixedKeyNNX, ("drop",), "same mask in every step"),
    "NNX scan with one key": Animal(
        ScanWithOneKeyNNX, ("drop",), "shared by calls", "same mask in every step"
    ),
    "NNX broadcast_dropout": Animal(BroadcastDropoutNNX, ("attend",), "shared by examples"),
    "NNX before batch norm": Animal(BeforeBatchNormNNX, ("drop",), "before a batch norm"),
    "NNX undone": Animal(UndoneNNX, ("drop",), "undone by a residual"),
    "NNX one mask for the batch": Animal(OneMaskForTheBatchNNX, ("drop",), "shared by examples"),
}


def variables_of(model: Any) -> Any:
    """Return the variables of a Linen model; None for NNX."""
    return model.init(jax.random.key(0), X, False) if isinstance(model, nn.Module) else None
