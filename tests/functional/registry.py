"""The dropout family as data: what each member is called with and which law its output follows.

``test_shared_*.py`` run every shared property over ``members``; a new member is one entry here.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop


@dataclasses.dataclass(frozen=True)
class TwoPoint:
    """Every output element is ``kept(x, rate)`` or ``dropped(x, rate)``, the latter with P = rate.

    Both take and return float64 NumPy arrays (or numbers), element by element.
    """

    kept: Callable[[Any, float], Any]
    dropped: Callable[[Any, float], Any] = lambda x, rate: 0 * x

    @property
    def forgets(self) -> bool:
        """A dropped element says nothing about x, not even that it was NaN."""
        return self.dropped(1.0, 0.3) == self.dropped(2.0, 0.3)


@dataclasses.dataclass(frozen=True)
class Normal:
    """Every output element is normal with ``mean(x, rate)`` and ``std(x, rate)``."""

    mean: Callable[[Any, float], Any]
    std: Callable[[Any, float], Any]


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of the family, as the shared suite sees it.

    Attributes:
      name: of the function in jaxdrop, which its error sentences mention.
      law: law of one output element; None where a test of the member's own states it.
      options: ``options(x)``, what else the function is called with, an example of each.
      shape: shape of the example input.
      shared: dimensions along which elements share one decision; None where decisions are
        neither independent nor shared along whole dimensions (blocks).
      unbiased: E[y] = x for every x.
      test_time: ``test_time(x) -> y`` in test mode, and at rate 0.
      expectation: test mode computes E[y] at the asked rate instead.
      rate_one: ``rate_one(x) -> y`` at rate 1; None where a test of the member's own states it.
      probability: the rate lies in [0, 1]; else it is 0 or more.
      diagonal: y[i] depends on x[i] alone.
      lean: nothing of x's size is kept for the backward pass.
      affine: y is affine in x; else it is only differentiable.
      rated: it has a rate, which comes after x; else its noise is learned, ``apply`` passes the
        rate over, and in training it needs a key in any case.
      traced_rate, traced_mode: the rate, and deterministic, may be traced.
      batch_first: the leading dimension is a batch whose rows do not move when it grows.
      complex_input: complex x is accepted.
      integer_input: x is an array of tokens instead.
      integers: x may be an array of integers, such as an image, as nothing is scaled.
    """

    name: str
    law: TwoPoint | Normal | None
    options: Callable[[Any], dict[str, Any]] = lambda x: {}
    shape: tuple[int, ...] = (4, 3, 5)
    shared: tuple[int, ...] | None = ()
    unbiased: bool = True
    test_time: Callable[[Any], Any] = lambda x: x
    expectation: bool = False
    rate_one: Callable[[Any], Any] | None = jnp.zeros_like
    probability: bool = True
    diagonal: bool = True
    lean: bool = True
    affine: bool = True
    rated: bool = True
    traced_rate: bool = True
    traced_mode: bool = True
    batch_first: bool = True
    complex_input: bool = True
    integer_input: bool = False
    integers: bool = False

    @property
    def function(self) -> Callable[..., jax.Array]:
        return getattr(jaxdrop, self.name)

    def apply(self, key: Any, x: Any, rate: Any, deterministic: Any = False) -> jax.Array:
        """Call the function with its options."""
        args = (key, x, rate) if self.rated else (key, x)
        return self.function(*args, **self.options(x), deterministic=deterministic)

    def in_test_mode(self, x: Any, rate: float) -> Any:
        if not self.expectation:
            return self.test_time(x)
        assert isinstance(self.law, TwoPoint)
        return (1 - rate) * self.law.kept(x, rate) + rate * self.law.dropped(x, rate)

    def example(self, dtype: Any = np.float32) -> jax.Array:
        """An x without zeros, in which no two elements are equal."""
        x = np.arange(1, 1 + np.prod(self.shape)).reshape(self.shape)
        if self.integer_input:
            return jnp.asarray(x, jnp.int32)
        return jnp.asarray((x / x.size * np.where(x % 2, 1, -1)).astype(dtype))


INVERTED = TwoPoint(kept=lambda x, rate: x / (1 - rate))
"""Zero, or x over the keep probability."""

_SATURATION = -1.0507009873554805 * 1.6732632423543772


def _affine(rate: float) -> tuple[float, float]:
    """Klambauer et al., section "New Dropout Technique"."""
    q = 1 - rate
    a = (q + _SATURATION**2 * q * (1 - q)) ** -0.5
    return a, -a * (1 - q) * _SATURATION


SATURATING = TwoPoint(
    kept=lambda x, rate: _affine(rate)[0] * x + _affine(rate)[1],
    dropped=lambda x, rate: _affine(rate)[0] * _SATURATION + _affine(rate)[1],
)


def double(x: Any) -> jax.Array:
    """A layer for layer_drop; made anew in each call, it would be traced anew."""
    return x + x


members: list[Member] = [
    Member("dropout", INVERTED),
    Member("spatial_dropout", INVERTED, shared=(1,)),
    Member("locked_dropout", INVERTED, shared=(1,)),
    Member("drop_path", INVERTED, shared=(1, 2)),
    Member("embedding_dropout", INVERTED, shape=(6, 4), shared=(1,)),
    Member(
        "embedding_dropout",
        INVERTED,
        options=lambda x: {"ids": np.arange(x.shape[0])},
        shape=(6, 4),
        shared=(1,),
        lean=False,  # the ids are kept
        batch_first=False,  # of a sharded table, only the caller knows how its rows come back
    ),
    Member(
        "drop_block",
        INVERTED,
        options=lambda x: {"block_size": 3},
        shape=(2, 6, 3),
        shared=None,
    ),
    Member("alpha_dropout", SATURATING, unbiased=False, complex_input=False),
    Member(
        "feature_alpha_dropout",
        SATURATING,
        shared=(1,),
        unbiased=False,
        complex_input=False,
    ),
    Member(
        "gaussian_dropout",
        Normal(mean=lambda x, rate: x, std=lambda x, rate: abs(x) * (rate / (1 - rate)) ** 0.5),
    ),
    Member(
        "gaussian_noise",
        Normal(mean=lambda x, rate: x, std=lambda x, rate: rate + 0 * x),
        rate_one=None,
        probability=False,
        complex_input=False,
    ),
    Member(
        "layer_drop",
        TwoPoint(kept=lambda x, rate: x + x, dropped=lambda x, rate: x),
        options=lambda x: {"layer": double},
        shared=(0, 1, 2),
        unbiased=False,
        test_time=lambda x: x + x,
        rate_one=lambda x: x,
        integers=True,
    ),
    Member(
        "word_dropout",
        TwoPoint(kept=lambda x, rate: x),
        options=lambda x: {"unknown": 0},
        unbiased=False,
        lean=False,
        integer_input=True,
        complex_input=False,
    ),
    Member(
        "cutout",
        None,
        options=lambda x: {"size": 2},
        shared=None,
        unbiased=False,
        rate_one=None,
        integers=True,
    ),
    Member(
        "patch_dropout",
        None,
        shared=None,
        unbiased=False,
        rate_one=None,
        diagonal=False,
        lean=False,
        traced_rate=False,
        traced_mode=False,
        integers=True,
    ),
]

from tests.functional.registry_b import B_MEMBERS  # noqa: E402  (it needs what is above)

members += B_MEMBERS
