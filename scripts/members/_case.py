"""Case: what a function of a member is called with, and the law that its output follows."""

import dataclasses
from collections.abc import Callable, Mapping
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


INVERTED = TwoPoint(kept=lambda x, rate: x / (1 - rate))
"""Zero, or x over the keep probability."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to call a function of the family, as the shared tests see it.

    Attributes:
      name: of the function in jaxdrop, which its error sentences mention.
      law: law of one output element; None where a test of the member's own states it.
      label: distinguishes it from other cases of the function.
      options: ``options(x)``, what else the function is called with, an example of each.
      shape: shape of the example input.
      shared: dimensions along which elements share one decision; None where decisions are
        neither independent nor shared along whole dimensions (blocks).
      unbiased: E[y] = x for every x.
      test_time: ``test_time(x) -> y`` in test mode, and at rate 0.
      expectation: test mode computes E[y] at the asked rate instead.
      rate_one: ``rate_one(x) -> y`` at rate 1, without a key; None where something is drawn at
        rate 1, too, or there is no rate, so that a test of the member's own states it.
      probability: the rate lies in [0, 1]; else it is 0 or more.
      diagonal: y[i] depends on x[i] alone.
      lean: nothing of x's size is kept for the backward pass.
      affine: y is affine in x; else it is only differentiable.
      rated: it has a rate, which comes after x; else its noise is learned, ``apply`` ignores the
        rate, and in training it needs a key in any case.
      traced_rate, traced_mode: the rate, and deterministic, may be traced.
      batch_first: the leading dimension is a batch whose rows do not change when it grows.
      complex_input: complex x is accepted.
      integer_input: x is an array of tokens instead.
      integers: x may be an array of integers, such as an image, as nothing is scaled.
      bad_input: kinds of bad values (tests/bad_values.py) of arguments whose name stands for
        another kind elsewhere.
      collects: examples that XLA has spread over devices are sent to all of them.
      split: dimensions of x that mesh axes may split inside ``shard_map``; None of a function that
        takes no ``mesh_axes``.
    """

    name: str
    law: TwoPoint | Normal | None
    label: str = ""
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
    bad_input: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    collects: bool = False
    split: tuple[int, ...] | None = (0, 1, 2)

    @property
    def id(self) -> str:
        return f"{self.name}, {self.label}" if self.label else self.name

    @property
    def function(self) -> Callable[..., jax.Array]:
        return getattr(jaxdrop, self.name)

    def apply(
        self, key: Any, x: Any, rate: Any, deterministic: Any = False, **more: Any
    ) -> jax.Array:
        """Call the function with its options, and with more."""
        args = (key, x, rate) if self.rated else (key, x)
        return self.function(*args, **self.options(x), deterministic=deterministic, **more)

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
