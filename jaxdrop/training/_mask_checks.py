"""with_mask_checks: a function, with a check of how much each mask that it draws keeps.

The function is traced, and every mask in its program, also in loops, branches, checkpoints and
backward passes, gets one more equation, which counts what the mask keeps. That equation has no
outputs: nothing else in the program changes.

What a mask should keep is read off the program, too. Where kept elements are multiplied by a
factor, it is the inverse of that factor, so that E[y] = x is what is checked; elsewhere it is what
the threshold of the random words says.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from jaxdrop._core.bits import _bits_p
from jaxdrop._core.index import Block
from jaxdrop._core.mask import MaskParams, draw_mask, params_in_loop
from jaxdrop._core.masked_scale import Form, _drop_p
from jaxdrop.testing._p_values import count_bounds
from jaxdrop.testing._traced import assert_equal, is_traced

F = TypeVar("F", bound=Callable[..., Any])

FALSE_ALARM = 1e-15
"""Of one mask in one step: 1e-6 in a million steps with a thousand masks."""
_EPS = float(np.finfo(np.float32).eps)  # to which a factor and a traced rate are known


def with_mask_checks(fn: F) -> F:
    """Return a function that does the same and checks the masks; to be called under chexify."""

    @functools.wraps(fn)
    def checked(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
        closed, _ = _with_checks(closed)
        outputs = jaxpr_as_fun(closed)(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return checked  # type: ignore[return-value]


def _with_checks(program: Any) -> tuple[Any, set[Any]]:
    """Return a program with its checks, and their effects; what is no program stays."""
    if type(program) is tuple:  # of branches
        parts = [_with_checks(part) for part in program]
        return tuple(part for part, _ in parts), set().union(*(effects for _, effects in parts))
    if isinstance(program, ClosedJaxpr) and not isinstance(program, Jaxpr):  # one class since 0.12
        jaxpr, effects = _with_checks(program.jaxpr)
        return (program.replace(jaxpr=jaxpr) if effects else program), effects
    if not isinstance(program, Jaxpr):
        return program, set()
    eqns: list[JaxprEqn] = []
    blocks: dict[Var, Block] = {}  # of the variables that hold random words
    added: set[Any] = set()
    for eqn in program.eqns:
        eqn, effects = _with_checks_inside(eqn)
        check = _check_of(eqn, blocks)
        eqns += [eqn] if check is None else [eqn, check]
        added |= effects if check is None else effects | check.effects
        if eqn.primitive is _bits_p:
            blocks[eqn.outvars[0]] = eqn.params["block"]
    return program.replace(eqns=eqns, effects=program.effects | added), added


def _with_checks_inside(eqn: JaxprEqn) -> tuple[JaxprEqn, set[Any]]:
    """Return the equation of a loop, a branch or a call with the checks of what it runs."""
    if eqn.primitive.name == "shard_map":  # a mask is there in pieces
        return eqn, set()
    inside = {name: _with_checks(value) for name, value in eqn.params.items()}
    effects: set[Any] = set().union(*(e for _, e in inside.values()))
    if not effects:
        return eqn, effects
    params = {name: value for name, (value, _) in inside.items()}
    return eqn.replace(params=params, effects=eqn.effects | effects), effects


def _check_of(eqn: JaxprEqn, blocks: dict[Var, Block]) -> JaxprEqn | None:
    """Return the equation that checks the mask of another one, or None if that draws none."""
    if eqn.primitive is _drop_p:
        x, *others = eqn.invars
        return _equation(
            functools.partial(_check_product, dtype=_aval(x).dtype, **eqn.params), others
        )
    words = eqn.invars[0] if eqn.primitive.name == "ge" else None
    if isinstance(words, Var) and words in blocks:
        check = functools.partial(_check_comparison, shape=blocks[words].shape)
        return _equation(check, [eqn.outvars[0], eqn.invars[1]])
    return None


def _equation(check: Callable[..., None], inputs: list[Any]) -> JaxprEqn | None:
    """Return an equation that calls check; None if there is nothing that could fail.

    A literal, such as a rate that is a number, is known to it before the program runs.
    """
    known = [np.asarray(v.val, _aval(v).dtype) if isinstance(v, Literal) else None for v in inputs]
    unknown = [v for v in inputs if not isinstance(v, Literal)]

    def mask_check(*values: Any) -> None:
        left = iter(values)
        check(*(next(left) if value is None else value for value in known))

    avals = [jax.ShapeDtypeStruct(_aval(v).shape, _aval(v).dtype) for v in unknown]
    program = jax.make_jaxpr(jax.jit(mask_check))(*avals)
    return program.eqns[0].replace(invars=unknown) if program.effects else None


def _aval(variable: Any) -> Any:
    """Return the shape and dtype of a variable; jax declares less."""
    return variable.aval


def _check_product(
    words: Any, *leaves: Any, dtype: Any, form: Form, maps: Any, again: bool
) -> None:
    """Check the mask of ``masked_scale``, drawn from the same words once more."""

    def one(words: Any, *leaves: Any) -> tuple[Any, Any]:
        base, rate = jax.tree.unflatten(form.tree, leaves)
        params = params_in_loop(rate, dtype if form.scaled else None, form.impl)
        mask = draw_mask(words, base, params, form.block, None, form.impl)
        return mask.sum(), jnp.mean(_share(params))

    counted = one
    for _, *dims in maps:
        if any(d is not None for d in dims):  # else all of the batch share the mask
            counted = jax.vmap(counted, dims)
    kept, share = counted(words, *leaves)
    _, rate = jax.tree.unflatten(form.tree, leaves)
    if isinstance(rate, MaskParams) and not is_traced(rate):
        share = _share(rate)
    _check_count(kept, share, form.block.shape)


def _share(params: MaskParams) -> Any:
    """Return the share that should be kept, in the shape of the rate."""
    xp: Any = jnp if is_traced(params) else np
    if params.scale is not None:
        factor = xp.asarray(params.scale)
        return xp.where(factor == 0, 0, 1 / xp.where(factor == 0, 1, factor))
    if params.keep_prob is not None:
        return xp.asarray(params.keep_prob)
    share = _above(xp.asarray(params.threshold))
    return share if params.drop_all is None else xp.where(params.drop_all, 0, share)


def _above(threshold: Any) -> Any:
    """Return the share of random words that are not below a threshold."""
    return 1 - threshold.astype("float32" if is_traced(threshold) else "float64") * 2.0**-32


def _check_comparison(mask: Any, threshold: Any, shape: tuple[int, ...]) -> None:
    """Check a mask that is compared in plain code; its first dimensions are a batch of vmap."""
    block = tuple(range(mask.ndim - len(shape), mask.ndim))
    share = _above(threshold)
    if np.ndim(share):
        share = share.mean(block)
    _check_count(mask.sum(block), share, shape)


def _check_count(kept: Any, share: Any, shape: tuple[int, ...]) -> None:
    """Check numbers of kept elements of masks of one shape, each to be that share of them.

    The law is binomial, exact where the share is known here. Otherwise, and where it differs from
    element to element, Hoeffding's inequality bounds the count:
    ``P(|kept - size * mean share| >= t) <= 2 exp(-2 t**2 / size)``.
    """
    size = math.prod(shape)
    if size >= 2**31:
        return  # more than an int32 counts
    low: Any
    high: Any
    known = not is_traced(share)
    if known and np.ndim(share) == 0:
        low = count_bounds(size, float(share) * (1 - _EPS), FALSE_ALARM)[0]
        high = count_bounds(size, min(1.0, float(share) * (1 + _EPS)), FALSE_ALARM)[1]
        if (low, high) == (0, size):
            return
    else:
        width = math.sqrt(size / 2 * math.log(2 / FALSE_ALARM)) + size * _EPS
        if width >= size:
            return
        expected = size * jnp.asarray(share.mean() if known else share, "float32")
        kept = kept.astype("float32")
        low, high = expected - width, expected + width
    nearest = jnp.clip(kept, low, high)
    worst = jnp.argmax(jnp.abs(kept - nearest))
    low, high = (jnp.broadcast_to(v, kept.shape).reshape(-1)[worst] for v in (low, high))
    kept, nearest = kept.reshape(-1)[worst], nearest.reshape(-1)[worst]
    sentence = (
        f"a mask of shape {shape} that the step draws keeps {{}} of {size} elements, expected "
        f"{{}} to {{}} (false_alarm={FALSE_ALARM})"
    )
    assert_equal(kept, nearest, "make_train_step(check=True)", sentence, kept, low, high)
