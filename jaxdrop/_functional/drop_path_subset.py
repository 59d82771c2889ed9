"""drop_path_subset: a residual branch that is computed only for the examples that keep it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdrop._core.annotations import AnyArray
from jaxdrop._core.checks import check_function, check_input
from jaxdrop._core.choice import choose_indices, static_mode, static_rate, whole_share
from jaxdrop._core.key import AnyKey
from jaxdrop._core.mode import resolve
from jaxdrop._core.rate import check_rate
from jaxdrop._core.scale import scaled
from jaxdrop._core.take import put, take


def drop_path_subset(
    key: AnyKey | None,
    branch: Callable[[jax.Array], jax.Array],
    x: Inexact[AnyArray, "batch ..."],
    rate: float,
    *,
    deterministic: bool = False,
) -> Inexact[Array, "batch ..."]:
    """Compute a residual branch for a random subset of the examples: stochastic depth that saves.

    ``y[kept] = branch(x[kept]) * batch / k``, else 0, ``k = round((1 - rate) batch)``; used as
    ``h + drop_path_subset(key, f, h, rate)`` in place of ``h + drop_path(key, f(h), rate)``.

    Args:
      key: a random key; may be None when deterministic is True or rate is 0.
      branch: function of the kept examples, (k, ...), without the residual connection. It treats
        each example apart from the others.
      x: floating, complex or integer array, the examples along the first dimension.
      rate: share of the examples to drop, in [0, 1). A Python number, since a shape follows from
        it. At least one example is kept: a batch of one always is.
      deterministic: True for test time, when y is ``branch(x)``; a Python bool.

    Returns:
      Array (batch, ...) in the shape and dtype of the branch's output, with E[y] = branch(x), also
      where k is rounded. Every set of k examples is equally likely; their number does not vary, as
      it does in ``drop_path``. ``kept_units(key, batch, rate)`` says which they are, for a branch
      that needs their part of another array, such as a mask.

    Raises:
      TypeError: if rate or deterministic is traced or an array, or branch is no function.
      ValueError: as ``dropout``, and if x has no dimension, rate is 1, or the branch returns
        another number of examples than it gets.

    Inside ``shard_map``, with ``jax.random.fold_in(key, jax.lax.axis_index("data"))``, each shard
    chooses among its own examples and nothing is sent. Under plain ``jit``, with a batch that is
    split over devices, all kept examples are sent to every device, and each computes them all.

    Not for: branches that look at several examples (batch norm sees the kept ones only), nor rates
    that change from step to step, since each compiles anew.

    Reference:
      Huang et al., Deep Networks with Stochastic Depth, 2016; Oquab et al., DINOv2, 2023, which
      computes a subset.

    >>> import jax, jax.numpy as jnp, jaxdrop
    >>> x = jnp.arange(1.0, 7.0)
    >>> jaxdrop.drop_path_subset(jax.random.key(0), lambda h: 10 * h, x, 0.5).tolist()
    [0.0, 0.0, 60.0, 80.0, 0.0, 120.0]
    >>> jaxdrop.kept_units(jax.random.key(0), 6, 0.5).tolist()
    [2, 3, 5]
    """
    check_function(branch, "branch", "drop_path_subset takes a function of the kept examples")
    x, kept = choose_examples(key, x, rate, deterministic)
    return on_subset(branch, x, kept)


def choose_examples(
    key: Any, x: Any, rate: float, deterministic: bool
) -> tuple[jax.Array, jax.Array | None]:
    """Return x, checked, and the indices of the examples that are kept; None for all of them."""
    caller = "drop_path_subset"
    x = check_input(x, caller, integers=True)
    if not x.ndim:
        raise ValueError(f"got x of shape (), one number; {caller} takes (batch, ...)")
    mode = static_mode(deterministic, caller)
    checked = check_rate(rate)
    dropped = static_rate(checked, rate, caller, "examples")
    if checked.always and not mode:
        raise ValueError(
            f"got {rate=}, which keeps no example: leave the branch out, or give a rate below 1"
        )
    key, test_mode = resolve(key, checked, mode, caller)
    batch = x.shape[0]
    kept = max(1, whole_share(batch, dropped))
    if test_mode or kept >= batch:
        return x, None
    return x, choose_indices(key, (1, batch), kept)[0]


def on_subset(
    branch: Callable[..., Any], x: jax.Array, kept: jax.Array | None, *more: Any
) -> jax.Array:
    """Call the branch with the kept examples of x and of more arrays; put back what it returns."""
    batch = x.shape[0]
    for array in jax.tree.leaves(more):
        if jnp.shape(array)[:1] != (batch,):
            raise ValueError(
                f"got an argument of shape {jnp.shape(array)} beside {batch} example(s), expected "
                "one entry for each of them along the first dimension; pass anything else by name"
            )
    if kept is None:
        return _check_output(branch(x, *more), batch)
    part = jax.tree.map(lambda a: take(jnp.asarray(a), kept, 0), (x, *more))
    out = _check_output(branch(*part), len(kept))
    return put(scaled(out, batch / len(kept)), kept, 0, batch)


def _check_output(out: Any, examples: int) -> Any:
    out = check_input(out, "drop_path_subset", "the branch's output")
    if out.shape[:1] != (examples,):
        raise ValueError(
            f"got a branch that turns {examples} example(s) into an array of shape {out.shape}; "
            "drop_path_subset takes one that returns as many examples, along the first dimension"
        )
    return out
