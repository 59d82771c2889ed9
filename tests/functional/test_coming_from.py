"""docs/coming-from.md: what replaces a peer's dropout drops alike, where the peer is installed."""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

pytestmark = pytest.mark.slow  # keras starts a process when it is imported

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
RATE, SHAPE = 0.3, (16, 12, 12, 8)
KEY = jax.random.key(0)


def peer(name: str) -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the import alone: not ours to mend
        return pytest.importorskip(name, reason=f"{name} is not installed")


def keras(layer: str, **options: Any) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        return getattr(peer("keras").layers, layer)(RATE, seed=1, **options)(x, training=True)

    return apply


def torchs(layer: str) -> Callable[[Any], Any]:
    """Channels come second there."""

    def apply(x: Any) -> Any:
        torch = peer("torch")
        torch.manual_seed(0)
        first = torch.tensor(np.moveaxis(np.asarray(x), -1, 1))
        return np.moveaxis(getattr(torch.nn, layer)(RATE)(first).numpy(), 1, -1)

    return apply


def linen(layer: nn.Module) -> Callable[[Any], Any]:
    return lambda x: layer.apply({}, x, rngs={"dropout": jax.random.clone(KEY)})


def mine(function: Callable[..., Any], **options: Any) -> Callable[[Any], Any]:
    return lambda x: function(jax.random.clone(KEY), x, RATE, **options)


DROPOUT = mine(jaxdrop.dropout)
# What stands on the page's left, and both sides of the pair.
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "`torch.nn.Dropout(p)`": (torchs("Dropout"), DROPOUT),
    "`torch.nn.Dropout1d`, `2d`": (torchs("Dropout2d"), mine(jaxdrop.spatial_dropout)),
    "`torch.nn.AlphaDropout`": (torchs("AlphaDropout"), mine(jaxdrop.alpha_dropout)),
    "`keras.layers.Dropout(rate": (
        keras("Dropout", noise_shape=(SHAPE[0], 1, *SHAPE[2:])),
        mine(jaxdrop.dropout, broadcast_dims=(1,)),
    ),
    "`keras.layers.SpatialDropout2D`": (
        keras("SpatialDropout2D"),
        mine(jaxdrop.spatial_dropout),
    ),
    "`GaussianDropout`": (keras("GaussianDropout"), mine(jaxdrop.gaussian_dropout)),
    "`GaussianNoise`": (keras("GaussianNoise"), mine(jaxdrop.gaussian_noise)),
    "`AlphaDropout` |": (keras("AlphaDropout"), mine(jaxdrop.alpha_dropout)),
    "`haiku.dropout(rng, rate, x)`": (
        lambda x: peer("haiku").dropout(jax.random.clone(KEY), RATE, x),
        DROPOUT,
    ),
    "`equinox.nn.Dropout(p)": (
        lambda x: peer("equinox").nn.Dropout(RATE)(x, key=jax.random.clone(KEY)),
        DROPOUT,
    ),
    "`flax.linen.Dropout`": (
        linen(nn.Dropout(RATE, deterministic=False)),
        linen(jaxdrop.linen.Dropout(RATE, deterministic=False)),
    ),
    "`flax.nnx.Dropout`": (
        lambda x: nnx.Dropout(RATE, rngs=nnx.Rngs(0))(x),
        lambda x: jaxdrop.nnx.Dropout(RATE, rngs=nnx.Rngs(0))(x),
    ),
}
# Whose peer is on no machine of these tests, or which are no dropouts: what the page says of them
# rests on the definitions that tests/functional/test_peers.py and the members' own tests write out.
UNTRIED = ("timm", "torchvision", "tf.nn", "fastai", "F.scaled", "torch.manual_seed", "model.train")


def shared(y: np.ndarray) -> list[bool]:
    """Along which dimensions one decision is shared."""
    return [bool((y == y.take([0], d)).all()) for d in range(y.ndim)]


@pytest.mark.parametrize("left", PAIRS)
def test_a_pair_drops_alike(left: str) -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # the peers'
        theirs, ours = (np.asarray(f(jnp.ones(SHAPE)), np.float64) for f in PAIRS[left])
    assert shared(theirs) == shared(ours)
    values = [np.unique(np.round(y, 5)) for y in (theirs, ours)]
    decisions = np.prod([1 if s else n for s, n in zip(shared(ours), SHAPE, strict=True)])
    if len(values[1]) == 2:
        np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
        below = [(y < y.max()).mean() for y in (theirs, ours)]
        # Six standard deviations of the difference of two shares of that many decisions.
        assert abs(below[0] - below[1]) < 6 * np.sqrt(2 * RATE * (1 - RATE) / decisions)
    else:  # noise: the second moment of n squares of a normal has a deviation of sqrt(2 / n)
        spread = [y.std() for y in (theirs, ours)]
        assert abs(spread[0] / spread[1] - 1) < 6 * np.sqrt(1 / decisions)


def test_a_pair_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (
        mine(jaxdrop.dropout, broadcast_dims=(1,)),  # shares what the other does not
        lambda x: jaxdrop.dropout(jax.random.clone(KEY), x, RATE + 0.05),
        mine(jaxdrop.dropout, scale_at="test"),
    ):
        monkeypatch.setitem(PAIRS, "wrong", (PAIRS["`flax.nnx.Dropout`"][0], wrong))
        with pytest.raises(AssertionError):
            test_a_pair_drops_alike("wrong")


def test_every_row_of_the_page_is_here() -> None:
    rows = re.findall(r"^\| (`.*?)\|", PAGE.read_text(), re.MULTILINE) + re.findall(
        r"^\| ((?:timm|torchvision|fastai) .*?)\|", PAGE.read_text(), re.MULTILINE
    )
    assert len(rows) > 15
    for row in rows:
        there = any(left.rstrip(" |") in row for left in PAIRS)
        assert there or any(name in row for name in UNTRIED), row
    for left in PAIRS:
        assert any(left.rstrip(" |") in row for row in rows), left
