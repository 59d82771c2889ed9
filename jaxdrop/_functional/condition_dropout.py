"""condition_dropout: conditions replaced by null ones, for classifier-free guidance."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Integer

from jaxdrop._core.annotations import AnyArray, Flag, MeshAxes, RateLike
from jaxdrop._core.axes import check_axis
from jaxdrop._core.bits import random_bits
from jaxdrop._core.broadcast import broadcast_like, shared_shape
from jaxdrop._core.checks import (
    check_broadcast,
    check_input,
    check_mapping,
    check_sequence,
    known_values,
)
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mask import is_kept, keep_mask, mask_params
from jaxdrop._core.mesh import apart_from, placed
from jaxdrop._core.mode import choose, resolve, resolve_noise
from jaxdrop._core.rate import Rate, check_rate, check_rate_shape
from jaxdrop._functional.word_dropout import check_token

Condition = Inexact[AnyArray, "..."] | Integer[AnyArray, "..."]
Null = int | float | complex | AnyArray


def condition_dropout(
    key: AnyKey | None,
    x: Condition,
    rate: RateLike,
    *,
    null: Null,
    batch_axis: int | None = 0,
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> Inexact[Array, "..."] | Integer[Array, "..."]:
    """Replace the condition of some examples by a null one, for classifier-free guidance.

    ``y[n] = x[n] if m[n] else null``, ``P(m[n] = 0) = rate``

    Args:
      key: a random key; may be None when deterministic is True or rate is 0 or 1.
      x: conditions of any dtype and shape: labels (batch,), or embeddings (batch, ...).
      rate: probability of replacing an example's condition, as in ``dropout``; 0.1 to 0.2 in the
        paper.
      null: what takes its place: a number or an array that broadcasts against one example, such as
        a class of its own, zeros, or the embedding of an empty text. It may be learned: its
        gradient is that of the examples that were replaced.
      batch_axis: the dimension of the examples; None for one decision for all of x.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``dropout``.

    Returns:
      Array like x. Nothing is scaled: the network learns both, with its condition and without.

    Raises:
      TypeError: if x or null is no array of numbers, or null no integer where x holds integers.
      ValueError: as ``dropout``, and if null does not fit an example.

    Not for: conditions that the network is never asked to do without.

    Reference:
      Ho and Salimans, Classifier-Free Diffusion Guidance, 2022.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> labels = jnp.arange(8)
    >>> jaxdrop.condition_dropout(jax.random.key(0), labels, 0.5, null=10).tolist()
    [0, 1, 10, 10, 4, 10, 6, 10]
    """
    x = check_input(x, "condition_dropout", integers=True)
    names = placed(mesh_axes, key, x)
    batch = check_axis(batch_axis, x.ndim, "batch_axis", "condition_dropout")
    instead = _check_null(null, x, batch, "null")
    shared = [d for d in range(x.ndim) if d != batch]
    checked, drawn = check_rate(rate), shared_shape(x.shape, shared)
    check_rate_shape(checked, drawn)
    key, test_mode = resolve(key, checked, deterministic, "condition_dropout")
    if test_mode is True:
        return x
    kept = keep_mask(key, drawn, rate, mesh_axes=apart_from(names, shared))
    return choose(test_mode, x, replace(kept, x, instead))


def joint_condition_dropout(
    key: AnyKey | None,
    conditions: Mapping[str, Condition],
    rates: Mapping[str | tuple[str, ...], RateLike],
    *,
    nulls: Mapping[str, Null],
    deterministic: Flag = False,
    mesh_axes: MeshAxes = (),
) -> dict[str, jax.Array]:
    """Replace several conditions by null ones, each combination with its own probability.

    ``P(exactly the conditions of s are replaced) = rates[s]``, and none with what is left of 1.

    Args:
      key: a random key; may be None when deterministic is True.
      conditions: name -> array whose first dimension is the batch.
      rates: combination -> probability: a name or a tuple of names, and a number or a traced
        scalar. ``{"text": 0.05, "image": 0.05, ("text", "image"): 0.05}`` is InstructPix2Pix's;
        with the last one alone they are dropped together, without it never both. For conditions
        that are dropped independently, call ``condition_dropout`` for each, with a key of its own.
      nulls: name -> what takes the place of the condition, as in ``condition_dropout``.
      deterministic: True for test time; a bool, or a traced bool scalar.
      mesh_axes: inside ``shard_map``, the mesh axis that splits the batch, such as ``("data",)``.

    Returns:
      dict of arrays like the conditions. One random word for an example decides: the combinations
      share out [0, 1) in the order in which they are given, so the probabilities are those asked
      for, each to 2**-32 for concrete rates.

    Raises:
      TypeError: as ``condition_dropout``, and if an argument is no mapping.
      ValueError: if the rates add up to more than 1, a name is unknown or has no null, or the
        conditions differ in their number of examples.

    Reference:
      Brooks, Holynski and Efros, InstructPix2Pix: Learning to Follow Image Editing Instructions,
      2023, section 3.2.1.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> both, rates = {"a": jnp.arange(4), "b": jnp.arange(4)}, {"a": 0.25, ("a", "b"): 0.75}
    >>> y = jaxdrop.joint_condition_dropout(jax.random.key(0), both, rates, nulls={"a": 9, "b": 9})
    >>> y["a"].tolist(), y["b"].tolist()
    ([9, 9, 9, 9], [9, 9, 2, 9])
    """
    caller, named = "joint_condition_dropout", "a dict from the name of each condition to it"
    given = dict(check_mapping(conditions, "conditions", named))
    xs = {name: check_input(x, caller, name, integers=True) for name, x in given.items()}
    count = same_batch(xs, "conditions")
    each_null = check_mapping(nulls, "nulls", "a dict from the name of each condition to its null")
    instead = {
        name: _check_null(_of(each_null, name, "nulls"), x, 0, f"the null of {name!r}")
        for name, x in xs.items()
    }
    sets, ends = _combinations(rates, xs)
    names = placed(mesh_axes, key, *xs.values())[:1]
    never = all(end.never for end in ends)
    key, test_mode = resolve_noise(key, never, deterministic, caller)
    if test_mode is True:
        return xs
    after = _after(random_bits(key, (count,), mesh_axes=names), ends)
    kept = {name: jnp.ones(count, jnp.bool_) for name in xs}
    for i, dropped in enumerate(sets):
        chosen = ~after[i] if i == 0 else after[i - 1] & ~after[i]
        kept |= {name: kept[name] & ~chosen for name in dropped}
    return {
        name: choose(test_mode, x, replace(of_examples(kept[name], x), x, instead[name]))
        for name, x in xs.items()
    }


@functools.partial(jax.jit, inline=True)
@functools.partial(jax.checkpoint, prevent_cse=False)
def replace(kept: jax.Array, x: jax.Array, instead: jax.Array) -> jax.Array:
    """Return x where it is kept; ``kept`` has x's rank, and it is what the gradient remembers."""
    return jnp.where(broadcast_like(kept, x), x, broadcast_like(instead, x))


def of_examples(kept: jax.Array, x: jax.Array) -> jax.Array:
    """Give one decision for each example the rank of x."""
    return kept.reshape(-1, *(1,) * (x.ndim - 1))


def _check_null(null: Any, x: jax.Array, batch: int | None, name: str) -> jax.Array:
    """Return the null in x's dtype and with x's rank, or raise an error if it fits no example."""
    if jnp.issubdtype(x.dtype, jnp.integer) and jnp.ndim(null) == 0:
        return check_token(null, name, x.dtype)
    if isinstance(null, int) and not isinstance(null, bool):
        null = float(null)
    whole = jnp.issubdtype(x.dtype, jnp.integer)
    value = check_input(null, "condition_dropout", name, integers=whole)
    if not jnp.can_cast(value.dtype, x.dtype, "same_kind"):
        raise TypeError(
            f"got {name} of dtype {value.dtype} for conditions of dtype {x.dtype}; convert it "
            f"first, for example {name}.astype({x.dtype.name!r})"
        )
    if whole and (known := known_values(null)) is not None and known.size:
        for end in (known.min(), known.max()):
            check_token(end.item(), name, x.dtype)
    example = tuple(n for d, n in enumerate(x.shape) if d != batch)
    check_broadcast(value.shape, example, name, f"one example, of shape {example}")
    value = value.reshape((1,) * (len(example) - value.ndim) + value.shape).astype(x.dtype)
    return value if batch is None else jnp.expand_dims(value, batch)


def same_batch(xs: Mapping[str, jax.Array], what: str) -> int:
    """Return the number of examples, or raise an error if the arrays differ in it."""
    shapes = {name: x.shape for name, x in xs.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        raise ValueError(
            f"got {what} of shapes {shapes}, expected one or more arrays with the same number "
            "of examples along the first dimension"
        )
    return next(iter(shapes.values()))[0]


def _of(mapping: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in mapping:
        raise ValueError(
            f"got {what} for {list(mapping)} and none for the condition {name!r}; give one for each"
        )
    return mapping[name]


def _combinations(rates: Any, xs: Mapping[str, Any]) -> tuple[list[tuple[str, ...]], list[Rate]]:
    """Return the combinations, and for each where its share of [0, 1) ends."""
    expected = "a dict from names of conditions, such as ('text', 'image'), to probabilities"
    sets, ends, total = [], [], 0.0
    for combination, rate in check_mapping(rates, "rates", expected).items():
        given = (combination,) if isinstance(combination, str) else combination
        names = check_sequence(given, "a combination in rates", expected)
        for name in names:
            if name not in xs:
                raise ValueError(f"got {name!r} in rates, expected a condition, one of {list(xs)}")
        checked = check_rate(rate, f"the rate of {combination!r}")
        check_rate_shape(checked, ())
        total = total + checked.value
        sets.append(names)
        ends.append(check_rate(total, "the sum of the rates"))
    return sets, ends


def _after(words: jax.Array, ends: Sequence[Rate]) -> list[jax.Array]:
    """For each end of a share, which examples' words lie after it."""
    return [is_kept(words, mask_params(end)) for end in ends]
