"""The laws of attention with dropout, each a check of one function and of what is read off it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdrop.testing._attention_mask import assert_no_repeat, pairs_of, plane
from jaxdrop.testing._attention_truth import (
    bounded_gradients,
    bounded_output,
    outside,
    random_inputs,
)
from jaxdrop.testing._deterministic_eval import assert_deterministic_eval
from jaxdrop.testing._mask import assert_mask_rate

_EPS32 = 2.0**-23


class Laws:
    """The laws, checked of one function under one rate, shape and seed.

    Each raises an AssertionError, those of chance with probability ``budget`` at most on a function
    that keeps them. The function is compiled, and the key is an argument of the program.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        rate: float,
        shape: tuple[int, ...],
        size: int,
        seed: int,
        budget: float,
    ):
        self.fn, self.asked, self.shape, self.size = fn, rate, shape, size
        self.seed, self.budget = seed, budget
        self.inputs = random_inputs(seed, shape, size)
        self._run = jax.jit(self._call, static_argnames=("rate", "deterministic"))
        self._differentiate = jax.jit(self._forward_and_back, static_argnames=("rate",))

    def key(self) -> None:
        try:
            first, second = (self._weights_of_one_block(0, 0) for _ in range(2))
        except jax.errors.ConcretizationTypeError as error:
            said = " ".join(str(error).split())
            raise AssertionError(
                "expected a function that can be compiled with the key as an argument, but with a "
                f"traced key it raised {type(error).__name__}: {said:.300}"
            ) from error
        differ = int((first != second).sum())
        if differ:
            raise AssertionError(
                f"two calls with the same key gave other values of {differ} of {first.size} "
                "weights, expected the same: the mask depends on something besides the key"
            )

    def leak(self) -> None:
        _, _, queries, keys = self.shape
        allowed = np.tri(queries, keys, dtype=bool)
        w = self._read(0, jnp.asarray(allowed)[None, None])
        leaks = (w != 0) & ~allowed
        if leaks.any():
            b, n, t, s = (int(i) for i in np.argwhere(leaks)[0])
            raise AssertionError(
                f"under a causal mask {int(leaks.sum())} weights of later keys are not 0, the "
                f"first that of query {t} and key {s} in {plane(b, n)}: {w[b, n, t, s]:.6g}, "
                "expected 0"
            )

    def some_are_dropped(self) -> None:
        dropped = int((~self.mask).sum())
        if dropped in (0, self.mask.size):
            raise AssertionError(
                f"{dropped} of {self.mask.size} weights are dropped, expected "
                f"{self.asked * self.mask.size:.6g} at rate {self.asked}"
            )

    def keys(self) -> None:
        other = self._read(1) != 0
        pairs = [
            (f"{plane(b, n)} under one key", self.mask[b, n], "under another key", other[b, n])
            for b, n in np.ndindex(self.shape[:2])
        ]
        assert_no_repeat(pairs, self.budget)

    def parts(self, law: str) -> None:
        assert_no_repeat(pairs_of(law, self.mask), self.budget)

    def rate_is_right(self) -> None:
        """Rows are those of all examples and heads."""
        assert_mask_rate(self.mask.reshape(-1, self.shape[3]), self.asked, false_alarm=self.budget)

    def scale(self) -> None:
        kept = self.weights[self.mask].astype(np.float64) * self.shape[3]
        factor = 1 / (1 - self.asked)
        bound = factor * (8 * self.eps + (self.shape[3] + 8) * _EPS32)
        off = np.abs(kept - factor)
        if not (off <= bound).all():
            worst = kept[np.argmax(np.nan_to_num(off, nan=np.inf))]
            raise AssertionError(
                f"a weight that is kept is {worst:.6g} times what it is without dropout, expected "
                f"1 / (1 - rate) = {factor:.6g} to within {bound:.2g}"
            )

    def output(self) -> None:
        y, _ = self.outputs
        fault = outside(y, bounded_output(self.inputs, self.noise, self.eps))
        if fault is not None:
            raise AssertionError(
                "of where(m, softmax(q k^T / sqrt(H)) / (1 - rate), 0) v, with the mask read off "
                f"the function, {fault}"
            )

    def gradient(self) -> None:
        _, gradients = self.outputs
        expected = bounded_gradients(self.inputs, self.noise, self.eps)
        for (name, bounded), found in zip(expected.items(), gradients, strict=True):
            fault = outside(found, bounded)
            if fault is not None:
                raise AssertionError(
                    f"of the gradient of {name}, with the mask of the forward pass, {fault}"
                )

    def rate_zero(self) -> None:
        self._is_plain(self._run(*self.inputs[:3], self._new_key(0), rate=0.0), "at rate 0")

    def rate_one(self) -> None:
        _, gradients = self._differentiate(*self.inputs, self._new_key(0), rate=1.0)
        # Not compiled: XLA may make 0 of a product whose factor 0 / 0 it knows.
        q, k, v, _ = map(jnp.asarray, self.inputs)
        y = self._call(q, k, v, self._new_key(0), rate=1.0)
        names = "the output", *(f"the gradient of {name}" for name in ("query", "key", "value"))
        for what, array in zip(names, (y, *gradients), strict=True):
            found = np.asarray(array, np.float64)
            if not (found == 0).all():
                raise AssertionError(
                    f"at rate 1 {int((found != 0).sum())} of {found.size} elements of {what} are "
                    f"not 0, {int(np.isnan(found).sum())} of them NaN, expected zeros"
                )

    def test_time(self) -> None:
        def apply_fn(key: Any, x: Any) -> Any:
            return self._run(*x, key, rate=self.asked, deterministic=True)

        assert_deterministic_eval(apply_fn, self.inputs[:3])
        self._is_plain(apply_fn(None, self.inputs[:3]), "in test mode")

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """The weights [B, N, T, S] under the first key, where without dropout all are 1 / S."""
        return self._read(0)

    @functools.cached_property
    def mask(self) -> np.ndarray:
        return self.weights != 0

    @functools.cached_property
    def noise(self) -> np.ndarray:
        return self.mask / (1 - self.asked)

    @functools.cached_property
    def outputs(self) -> Any:
        """The output and the gradients of query, key and value, of random ones."""
        return self._differentiate(*self.inputs, self._new_key(0), rate=self.asked)

    @functools.cached_property
    def eps(self) -> float:
        """Of the dtype that the function returns."""
        return float(jnp.finfo(self.outputs[0].dtype).eps)

    def _new_key(self, number: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.seed), number)

    def _call(
        self, q: Any, k: Any, v: Any, key: Any, mask: Any = None, *, rate: float,
        deterministic: bool = False,
    ) -> jax.Array:  # fmt: skip
        y = self.fn(
            q, k, v, mask=mask, dropout_rate=rate, dropout_key=key, deterministic=deterministic
        )
        if jnp.shape(y) != q.shape:
            raise AssertionError(f"the output has shape {jnp.shape(y)}, expected {q.shape}")
        return y

    def _forward_and_back(
        self, q: Any, k: Any, v: Any, ct: Any, key: Any, *, rate: float
    ) -> tuple[jax.Array, Any]:
        y, back = jax.vjp(lambda q, k, v: self._call(q, k, v, key, rate=rate), q, k, v)
        return y, back(ct.astype(y.dtype))

    def _read(self, number: int, mask: Any = None) -> np.ndarray:
        blocks = range(self.shape[3] // self.size)
        return np.concatenate([self._weights_of_one_block(number, i, mask) for i in blocks], -1)

    def _weights_of_one_block(self, number: int, block: int, mask: Any = None) -> np.ndarray:
        """Return the weights of H keys, [B, N, T, H], whose values are unit vectors."""
        batch, heads, queries, keys = self.shape
        q, k = (np.zeros((batch, n, heads, self.size), np.float32) for n in (queries, keys))
        v = k.copy()
        v[:, block * self.size :][:, : self.size] = np.eye(self.size)[:, None]
        y = self._run(q, k, v, self._new_key(number), mask, rate=self.asked)
        return np.moveaxis(np.asarray(y.astype(jnp.float32)), 1, 2)

    def _is_plain(self, y: Any, when: str) -> None:
        fault = outside(y, bounded_output(self.inputs, np.ones((1,) * 4), self.eps))
        if fault is not None:
            raise AssertionError(f"{when}, of softmax(q k^T / sqrt(H)) v, {fault}")
