"""listing and table: where a model drops, how much, and which share of its parameters follows."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax import nnx
from flax.core import DenyList
from rich.table import Table

from jaxdrop.surgery._changed_fields import changed_fields
from jaxdrop.surgery._downstream_params import mark, variables_downstream
from jaxdrop.surgery._find_dropouts import find_dropouts
from jaxdrop.surgery._kinds import is_attention, is_dropout, kind_of, rate_of, shares_mask
from jaxdrop.surgery._linen import is_replaced
from jaxdrop.surgery._picklable_subclass import picklable_subclass, set_class
from jaxdrop.surgery._where import Path

_SHOWN = 4


class Row(NamedTuple):
    """One dropout of a model."""

    path: Path
    kind: str
    rate: Any
    share_downstream: float | None
    """The share of the parameters applied to what this dropout has touched; None if not known."""
    mask_shared: bool | None = None
    """Of attention: whether all examples and heads have one mask. None for other dropouts."""


def listing(
    model: nnx.Module | nn.Module,
    *inputs: Any,
    variables: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Row]:
    """List the dropouts of a model, in its own order for NNX and in that of the call for Linen.

    ``share_downstream = parameters applied to a value that follows from the dropout / all of them``

    It is read off the data flow of one call, which is traced and not run. An embedding table that
    is tied to the output layer counts as downstream.

    Args:
      model: an NNX model, or a Linen model with its variables.
      inputs: what the model is called with, arrays and flags such as ``train``. Without them an
        NNX model is listed without shares.
      variables: of a Linen model.
      options: what the model is called with by name, such as ``train=False``.

    Returns:
      One ``Row(path, kind, rate, share_downstream, mask_shared)`` for each dropout. Its kind says
      which library drops: "flax MultiHeadAttention weights", "jaxdrop Dropout".

    Raises:
      TypeError: if the model is not one of Flax, or a Linen model comes without variables or
        inputs.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> a, b = (nnx.Linear(2, 2, rngs=nnx.Rngs(i)) for i in range(2))
    >>> model = nnx.Sequential(a, nnx.Dropout(0.5), b)
    >>> surgery.listing(model, jnp.ones((1, 2)))
    [Row(path=('layers', 1), kind='flax Dropout', rate=0.5, share_downstream=0.5, mask_shared=None)]
    """
    if isinstance(model, nn.Module):
        if variables is None or not (inputs or options):
            raise TypeError("a Linen model is listed by a call: pass variables=... and its inputs")
        return _linen(model, variables, (inputs, options))
    found = list(find_dropouts(model))
    shares: list[float | None] = [None] * len(found)
    if inputs or options:
        shares = _nnx_shares(model, (inputs, options))
    return [
        Row(path, kind_of(module), rate_of(module), share, shares_mask(module))
        for (path, module), share in zip(found, shares, strict=True)
    ]


def table(
    model: nnx.Module | nn.Module,
    *inputs: Any,
    variables: Mapping[str, Any] | None = None,
    **options: Any,
) -> Table:
    """Return what ``listing`` finds as a rich table; ``rich.print`` shows it.

    Args:
      model, inputs, variables, options: as in ``listing``.

    Returns:
      A ``rich.table.Table`` with a row for each dropout.

    Raises:
      TypeError: as ``listing`` does.

    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> table = surgery.table(nnx.Sequential(nnx.Dropout(0.5), nnx.Dropout(0.1)))
    >>> [list(column.cells) for column in table.columns][:3]
    [['layers.0', 'layers.1'], ['flax Dropout', 'flax Dropout'], ['0.5', '0.1']]
    """
    out = Table("path", "kind", title="Dropouts")
    for column in ("rate", "parameters\ndownstream"):
        out.add_column(column, justify="right")
    for row in listing(model, *inputs, variables=variables, **options):
        share = "" if row.share_downstream is None else f"{row.share_downstream:.1%}"
        kind = f"{row.kind}, one mask" if row.mask_shared else row.kind
        out.add_row(".".join(map(str, row.path)), kind, shown_rate(row.rate), share)
    return out


def shown_rate(rate: Any) -> str:
    """Return one number, each of a few (a stack's, or several entries'), or the range of many."""
    if rate is None:
        return "learned"
    rates = np.concatenate([np.ravel(r) for r in rate]) if isinstance(rate, tuple) else rate
    different = np.unique(rates)
    if different.size > _SHOWN < np.size(rates):
        return f"{different[0]:g} to {different[-1]:g}"
    return ", ".join(f"{r:g}" for r in (different if different.size == 1 else np.ravel(rates)))


def _nnx_shares(model: nnx.Module, given: Any) -> list[float | None]:
    copy = nnx.merge(*nnx.split(model))
    copy.eval()
    found: list[Any] = [module for _, module in find_dropouts(copy)]
    for number, module in enumerate(found):
        if is_attention(module):
            module.attention_fn = _marking(module.attention_fn, number)
        else:
            module.surgery_mark = number
            kind: Any = type(module)
            set_class(module, _marked(kind))
    graphdef, *states = nnx.split(copy, nnx.Param, ...)
    params, rest = map(nnx.as_pure, states)

    def call(params: Any, rest: Any, args: Any, kwargs: Any) -> Any:
        return nnx.merge(graphdef, params, rest)(*args, **kwargs)

    return _shares(call, params, rest, given, len(found))


def _linen(model: nn.Module, variables: Any, given: Any) -> list[Row]:
    rows: dict[Path, tuple[str, Any, bool | None]] = {}

    def watch(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not is_dropout(module):
            return next_fun(*args, **kwargs)
        kind = "jaxdrop Dropout" if is_replaced(module) else kind_of(module)
        rows.setdefault(module.path, (kind, rate_of(module), shares_mask(module)))
        number = list(rows).index(module.path)
        if not is_attention(module):
            return mark(next_fun(*args, **kwargs), number)
        with changed_fields(module, attention_fn=_marking(module.attention_fn, number)):
            return next_fun(*args, **kwargs)

    def call(params: Any, rest: Any, args: Any, kwargs: Any) -> Any:
        rngs = {name: jax.random.key(i) for i, name in enumerate(("dropout", "params", "zoneout"))}
        variables, mutable = {"params": params, **rest}, DenyList("params")
        with nn.intercept_methods(watch):
            return model.apply(variables, *args, rngs=rngs, mutable=mutable, **kwargs)

    rest = {name: value for name, value in variables.items() if name != "params"}
    shares = _shares(call, variables.get("params", {}), rest, given, None)
    return [
        Row(path, kind, rate, share, shared)
        for (path, (kind, rate, shared)), share in zip(rows.items(), shares, strict=True)
    ]


def _shares(call: Any, params: Any, rest: Any, given: Any, count: int | None) -> list[float | None]:
    sizes = [np.size(leaf) for leaf in jax.tree.leaves(params)]
    known = len(sizes) + len(jax.tree.leaves(rest))
    leaves, tree = jax.tree.flatten(given)
    places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]

    def traced(params: Any, rest: Any, arrays: Any) -> Any:
        # A flag stays the Python value that the model looks at.
        now = dict(zip(places, arrays, strict=True))
        args, kwargs = jax.tree.unflatten(tree, [now.get(i, a) for i, a in enumerate(leaves)])
        return call(params, rest, args, kwargs)

    program = jax.make_jaxpr(traced)(params, rest, [leaves[i] for i in places])
    met = variables_downstream(program, known)
    total = max(sum(sizes), 1)
    numbers = range(len(met) if count is None else count)
    return [sum(n for i, n in enumerate(sizes) if i in met.get(j, ())) / total for j in numbers]


def _marking(attention_fn: Any, number: int) -> Any:
    @functools.wraps(attention_fn)
    def attend(*args: Any, **kwargs: Any) -> Any:
        return mark(attention_fn(*args, **kwargs), number)

    return attend


@functools.cache
def _marked(kind: Any) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return mark(kind.__call__(self, *args, **kwargs), self.surgery_mark)

    return picklable_subclass(_marked, kind, __call__=call)
