"""listing: every dropout, its rate, and the share of the parameters that comes after it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from rich.console import Console

import jaxdrop.linen
import jaxdrop.nnx
from jaxdrop import surgery

X = jnp.ones((2, 3, 8))


class Residual(nnx.Module):
    """Attributes in another order than that of the call, a residual branch, batch norm."""

    def __init__(self, rngs: nnx.Rngs):
        self.last = nnx.Linear(8, 8, use_bias=False, rngs=rngs)  # 64 parameters each
        self.first = nnx.Linear(8, 8, use_bias=False, rngs=rngs)
        self.branch = nnx.Linear(8, 8, use_bias=False, rngs=rngs)
        self.inner = nnx.Dropout(0.1, rngs=rngs)
        self.outer = jaxdrop.nnx.GaussianDropout(0.2, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            2, 8, dropout_rate=0.3, use_bias=False, decode=False, rngs=rngs
        )

    def __call__(self, x: Any) -> Any:
        x = self.first(x)
        x = x + self.branch(self.inner(x))
        x = self.attention(x)
        return self.outer(self.last(x))


def test_nnx_shares_follow_the_data_and_not_the_order_of_attributes() -> None:
    rows = {row.path: row for row in surgery.listing(Residual(nnx.Rngs(0)), X)}
    total = 7 * 64  # three dense layers; query, key, value and out
    assert rows["inner",].share_downstream == pytest.approx((64 + 4 * 64 + 64) / total)
    assert rows["attention",].share_downstream == pytest.approx((64 + 64) / total)  # out, last
    assert rows["outer",].share_downstream == 0
    assert rows["inner",][1:3] == ("flax Dropout", 0.1)
    assert rows["attention",].kind == "flax MultiHeadAttention weights"
    assert rows["outer",].kind == "jaxdrop GaussianDropout"


@pytest.mark.slow
def test_linen_shares_are_the_same() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            x = nn.Dense(8, use_bias=False)(x)
            branch = nn.Dropout(0.1, name="inner")(x, deterministic=not train)
            x = x + nn.Dense(8, use_bias=False)(branch)
            x = nn.MultiHeadDotProductAttention(
                2, use_bias=False, dropout_rate=0.3, name="attention"
            )(x, deterministic=not train)
            x = nn.Dense(8, use_bias=False)(x)
            return jaxdrop.linen.GaussianDropout(0.2, name="outer")(x, deterministic=not train)

    variables = Net().init(jax.random.key(0), X)
    rows = surgery.listing(Net(), X, variables=variables)
    assert [row.path for row in rows] == [("inner",), ("attention",), ("outer",)]
    assert [row.rate for row in rows] == [0.1, 0.3, 0.2]
    shares: Any = [row.share_downstream for row in rows]
    np.testing.assert_allclose(shares, [6 / 7, 2 / 7, 0])


def test_a_parallel_branch_is_not_downstream() -> None:
    class Towers(nnx.Module):
        def __init__(self) -> None:
            self.a, self.b = (nnx.Linear(8, 8, use_bias=False, rngs=nnx.Rngs(i)) for i in (0, 1))
            self.drop = nnx.Dropout(0.5)

        def __call__(self, x: Any) -> Any:
            return self.a(self.drop(x)) + self.b(x)  # b runs later, and is not reached

    assert surgery.listing(Towers(), X)[0].share_downstream == 0.5


@pytest.mark.slow
def test_layers_in_a_scan_are_reached_from_before_and_within() -> None:
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            def body(module: Any, x: Any) -> Any:
                x = nn.Dense(8, use_bias=False)(x)
                return nn.Dropout(0.5, deterministic=True)(x), None

            x = nn.Dropout(0.5, deterministic=True, name="before")(x)
            stack = nn.scan(
                body, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
            )
            return stack(self, x)[0]

    variables = Scanned().init(jax.random.key(0), X)
    rows = surgery.listing(Scanned(), X, variables=variables)
    assert {row.path[-1]: row.share_downstream for row in rows} == {"before": 1, "Dropout_0": 1}


@pytest.mark.slow
def test_a_jitted_part_is_looked_into() -> None:
    class Jitted(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            def body(module: Any, x: Any) -> Any:
                x = nn.Dense(8, use_bias=False)(x)
                return nn.Dense(8, use_bias=False)(nn.Dropout(0.5, deterministic=True)(x))

            return nn.jit(body)(self, x)

    variables = Jitted().init(jax.random.key(0), X)
    assert [r.share_downstream for r in surgery.listing(Jitted(), X, variables=variables)] == [0.5]


def test_frozen_statistics_are_no_parameters() -> None:
    model = nnx.Sequential(nnx.Dropout(0.5), nnx.BatchNorm(8, rngs=nnx.Rngs(0)))
    assert surgery.listing(model, X)[0].share_downstream == 1
    norm = model.layers[1]
    assert isinstance(norm, nnx.BatchNorm)
    assert norm.use_running_average is not True  # the model was looked at, no more


def test_without_inputs_no_share_is_known() -> None:
    assert {row.share_downstream for row in surgery.listing(Residual(nnx.Rngs(0)))} == {None}


def test_the_table_prints(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=80).print(surgery.table(Residual(nnx.Rngs(0)), X))
    out = capsys.readouterr().out
    for word in ("inner", "jaxdrop GaussianDropout", "0.3", "85.7%"):
        assert word in out


@pytest.mark.parametrize(
    "model, sentence",
    [(nn.Dense(3), "a Linen model is listed by a call"), (3, "got int, expected a flax.nnx")],
)
def test_wrong_use_is_an_error_in_one_sentence(model: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        surgery.listing(model)


class Flagged(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool, mode: str = "full") -> Any:
        x = nn.BatchNorm(use_running_average=not train, use_bias=False, use_scale=False)(x)
        x = nn.Dropout(0.25, deterministic=not train)(nn.Dense(8, use_bias=False)(x))
        return nn.Dense(8, use_bias=False)(x) if mode == "full" else x


class FlaggedNNX(nnx.Module):
    def __init__(self) -> None:
        self.a, self.b = (nnx.Linear(8, 8, use_bias=False, rngs=nnx.Rngs(i)) for i in (0, 1))
        self.drop = nnx.Dropout(0.25, rngs=nnx.Rngs(2))

    def __call__(self, x: Any, train: bool, mode: str = "full") -> Any:
        x = self.drop(self.a(x), deterministic=not train)
        return self.b(x) if mode == "full" else x


@pytest.mark.slow
@pytest.mark.parametrize(
    "args, options, share",
    [
        ((X, False), {}, 0.5),
        ((X,), {"train": False}, 0.5),
        ((), {"train": False, "x": X}, 0.5),
        ((np.asarray(X), False, "half"), {}, 0),
        ((X,), {"train": False, "mode": "half"}, 0),
        ((X, True), {}, 0.5),
        ((X,), {"train": True, "mode": "half"}, 0),
    ],
)
@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_flags_go_by_position_and_by_name(
    library: str, args: Any, options: Any, share: float
) -> None:
    model: Any = FlaggedNNX() if library == "nnx" else Flagged()
    if library == "linen":
        options = options | {"variables": Flagged().init(jax.random.key(0), X, False)}
    (row,) = surgery.listing(model, *args, **options)
    assert (row.rate, row.share_downstream) == (0.25, share)
    assert surgery.table(model, *args, **options).row_count == 1
