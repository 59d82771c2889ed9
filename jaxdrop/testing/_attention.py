"""Assertion that a function is attention with dropout, whoever wrote it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdrop._core.checks import (
    check_count,
    check_function,
    check_integer,
    check_sequence,
    check_shape,
)
from jaxdrop.testing._attention_laws import Laws
from jaxdrop.testing._mask import one_rate
from jaxdrop.testing._p_values import check_false_alarm

PARTS = ("rows", "columns", "tiles", "heads", "batch")
LAWS = (
    *("key", "leak", *PARTS, "keys", "rate", "scale", "output", "gradient"),
    *("rate zero", "rate one", "test time"),
)


def assert_attention_dropout(
    attention_fn: Callable[..., Any],
    *,
    rate: float = 0.1,
    shape: Sequence[int] = (2, 4, 512, 512),
    head_size: int = 64,
    seed: int = 0,
    skip: Sequence[str] = (),
    false_alarm: float = 1e-6,
) -> None:
    """Assert that attention drops its weights as dropout does, by a mask of its random key.

    ``y = where(m, softmax(q k^T / sqrt(H)) / (1 - rate), 0) v``, ``m[b, n, t, s]`` independent

    The mask is read off: with queries of zeros all weights are equal, and values that are the unit
    vectors of H keys return the weights of these. A compiled function gets the key as an argument.
    The laws, by the names that ``skip`` takes and messages begin with:

    - key: the key may be traced, and one key gives one mask.
    - leak: under a causal mask the weight of a later key is 0.
    - rows, columns: even queries, or keys, do not have the mask of odd ones.
    - tiles: no quarter of [T, S] has the mask of another, as where tiles repeat one. Since rows
      that repeat make columns alike, one of these three may be named in place of another.
    - heads, batch: the masks of two heads, and of two examples, are independent.
    - keys: the masks of two keys are independent, which a seed that was compiled in does not give.
    - rate: the number of weights dropped in all, in a row and in a column is binomial.
    - scale: what is kept is divided by 1 - rate.
    - output, gradient: with random queries, keys and values the output, and the gradients of all
      three, are those of the formula with that mask.
    - rate zero: the formula without a mask.
    - rate one: zeros, also where it is not compiled, with gradients of zeros.
    - test time: the formula without a mask, the same bits for every key and without one.

    Each of the statistical ones (rows to rate, seven) gets a seventh of
    ``false_alarm``. "rate" is ``assert_mask_rate``. The others compare parts that are disjoint, at
    every cyclic shift: given what each keeps, the overlap is hypergeometric, and the budget is
    shared evenly among pairs and shifts. By the union bound ``false_alarm`` is the sum. What is
    left is exact, or compared with float64 to within bounds of rounding.

    Args:
      attention_fn: called as ``attention_fn(query, key, value, mask=..., dropout_rate=...,
        dropout_key=..., deterministic=...)``: query [B, T, N, H], key and value [B, S, N, H] in
        float32; mask None or the causal one, bool [1, 1, T, S], True where a query attends;
        dropout_rate a Python float; dropout_key a typed key, or None where deterministic is True.
        Wrap what takes other names. It may compute and return a smaller dtype, with softmax and
        sums in float32.
      rate: probability of dropping, above 0 and below 1.
      shape: (B, N, T, S), B and N at least 2, T and S even, S a multiple of head_size. The default
        has 2**21 weights, which finds rates of 8 bits: 26/256 or 25/256 in place of 0.1.
      head_size: H.
      seed: of the keys and of the inputs.
      skip: names of laws that need not hold, such as ("heads", "batch") where one mask is shared.
      false_alarm: probability of failing although all laws hold, in (0, 1).

    Raises:
      AssertionError: with the law that is broken, and the numbers.
      ValueError: if the shape is too small for a law to fail.
      TypeError: for an argument of another kind.

    >>> import jaxdrop, flax.linen as nn
    >>> from jaxdrop.testing import assert_attention_dropout
    >>> small = dict(rate=0.5, shape=(2, 2, 64, 64))
    >>> assert_attention_dropout(jaxdrop.dot_product_attention, **small)
    >>> flax = lambda q, k, v, *, dropout_key, **given: nn.dot_product_attention(
    ...     q, k, v, dropout_rng=dropout_key, **given)
    >>> assert_attention_dropout(flax, **small)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: heads: example 0, head 0 and example 0, head 1 ... identical), ...
    """
    name = "assert_attention_dropout"
    check_function(attention_fn, "attention_fn", f"{name} takes a function of (query, key, value)")
    check_false_alarm(false_alarm)
    rate = one_rate(rate)
    if not 0 < rate < 1:
        raise ValueError(f"got rate={rate}, expected one above 0 and below 1; these are tried, too")
    size = check_count(head_size, "head_size", "of a head")
    sizes = _check_shape(shape, size)
    seed = _check_seed(seed)
    skipped = _check_skip(skip)
    laws = Laws(attention_fn, rate, sizes, size, seed, false_alarm / (2 + len(PARTS)))
    # In this order: what one law says is clear only if those before it hold.
    steps: list[tuple[str, Callable[[], None]]] = [
        ("key", laws.key),
        ("leak", laws.leak),
        ("rate", laws.some_are_dropped),
        *((law, functools.partial(laws.parts, law)) for law in PARTS),
        ("keys", laws.keys),
        ("rate", laws.rate_is_right),
        ("scale", laws.scale),
        ("output", laws.output),
        ("gradient", laws.gradient),
        ("rate zero", laws.rate_zero),
        ("rate one", laws.rate_one),
        ("test time", laws.test_time),
    ]
    for law, check in steps:
        if law in skipped:
            continue
        try:
            with jax.default_matmul_precision("highest"):
                check()
        except AssertionError as broken:
            raise AssertionError(f"{law}: {broken}") from broken


def _check_shape(shape: Any, head_size: int) -> tuple[int, ...]:
    expected = (
        "expected (B, N, T, S) with B and N of at least 2, T and S even and above 0, S a multiple "
        f"of {head_size=}"
    )
    sizes = check_shape(shape)
    if len(sizes) != 4 or min(sizes) < 2 or sizes[2] % 2 or sizes[3] % 2 or sizes[3] % head_size:
        raise ValueError(f"got shape={sizes}, {expected}")
    return sizes


def _check_seed(seed: Any) -> int:
    expected = "an integer from 0 to 2**32 - 1"
    number = check_integer(seed, "seed", expected)
    if not 0 <= number < 2**32:
        raise ValueError(f"got seed={number}, expected {expected}")
    return number


def _check_skip(skip: Any) -> tuple[str, ...]:
    expected = "names of laws, of " + ", ".join(map(repr, LAWS))
    names = check_sequence(skip, "skip", expected)
    for name in names:
        if not isinstance(name, str) or name not in LAWS:
            raise ValueError(f"got {name!r:.60} in skip={skip!r:.60}, expected {expected}")
    return names
