"""find_windows: which draws of a program have an entry for each row of the batch, and where.

A loss function is traced twice, for the rows of a microbatch and for those of the batch, and the
two programs are compared, equation by equation. A draw of the same shape in both is drawn once for
the whole batch, such as the mask of a weight. One that differs in one dimension, the rows in the
one and the batch in the other, has the batch there: a microbatch takes its part of it.

So nothing is guessed from a size alone. What cannot be told is refused: a dimension that holds more
than the batch, keys or offsets that were counted from the first row, a choice among all rows.

Inside ``shard_map`` a device sees some rows of each microbatch. Which ones, a draw knows that has
``mesh_axes``; its index counts them from the first row of the microbatch.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import jax.numpy as jnp
import numpy as np

from jaxdrop._core.index import Block
from jaxdrop.training import _program_parts as parts

Path = tuple[int, ...]  # the equation's number, then (part, number) for each program within
Marks = frozenset[str]
NONE: Marks = frozenset()
COUNTED = "counted"  # made of numbers that count rows from the first of a microbatch
PART = "part"  # random words of which a microbatch has its part
FIRST = "first"  # made of the number of its first row, to which a microbatch's is added
ELSEWHERE = "elsewhere"  # made of the number of a first row, but of other rows than the batch's
_FROM_NOWHERE = {"broadcast_in_dim"}  # has the batch's dimension, and the same number all along it
_COUNTING = {"cumsum", "cumprod", "cummax", "cummin", "sort", "argsort"}
_OTHER_DRAWS = {"rng_bit_generator", "rng_uniform", "threefry2x32"}
_WHOLE = "make_train_step(accumulate=...) cannot draw the masks of the whole batch: "


class Window(NamedTuple):
    """Where the draw of a microbatch lies in that of the whole batch."""

    dim: int  # of the result
    block: Block | None  # for jaxdrop's own draws
    params: dict[str, Any]  # of the draw for the whole batch
    between: int = 0  # rows of the whole batch that other microbatches of a device have, where
    axes: tuple[str, ...] = ()  # these mesh axes split the batch around the whole step


def find_windows(micro: Any, whole: Any, rows: int, batch: int) -> dict[Path, Window]:
    """Return the draws that have the batch along a dimension.

    Args:
      micro, whole: one function, traced for a microbatch and for the batch.
      rows, batch: how many rows the two have.

    Raises:
      ValueError: if there is a draw of which it cannot be told what the microbatch's part is.
    """
    search = _Search(rows, batch)
    search.program(micro, whole, [NONE] * len(parts.opened(micro).invars), ())
    return search.found


class _Search:
    def __init__(self, rows: int, batch: int):
        self.rows, self.batch = rows, batch
        self.found: dict[Path, Window] = {}
        self.sizes: dict[str, int] = {}  # of the mesh axes that split arrays here

    def program(self, micro: Any, whole: Any, marks: Sequence[Marks], path: Path) -> list[Marks]:
        """Look through a program; return the marks of its results."""
        small, large = parts.opened(micro), parts.opened(whole)
        env = dict(zip(small.invars, marks, strict=True))
        pairs = zip(parts.constants(micro), parts.constants(whole), strict=True)
        env.update({v: _marks_of_value(a, b) for (v, a), (_, b) in pairs})
        for i, (eqn, other) in enumerate(self.pairs(small.eqns, large.eqns)):
            if other is None:
                out = self.unpaired(eqn, [_marks(v, v, env) for v in eqn.invars])
            else:
                into = [_marks(v, w, env) for v, w in zip(eqn.invars, other.invars, strict=True)]
                out = self.equation(eqn, other, into, (*path, i))
            env.update(zip(eqn.outvars, map(_of_integers, eqn.outvars, out), strict=True))
        return [_marks(v, w, env) for v, w in zip(small.outvars, large.outvars, strict=True)]

    def pairs(self, eqns: Sequence[Any], others: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Return each equation of a microbatch's program with that of the batch's.

        Programs differ a little where a dimension is 1. An equation that draws nothing may be
        without another one, which is then None.
        """
        kinds, of_others = [_kind(e) for e in eqns], [_kind(e) for e in others]
        if kinds == of_others:
            return list(zip(eqns, others, strict=True))
        partner: dict[int, Any] = {}
        left = dict(enumerate(others))
        matcher = difflib.SequenceMatcher(None, kinds, of_others, autojunk=False)
        for i, j, count in matcher.get_matching_blocks():
            partner.update({i + n: left.pop(j + n) for n in range(count)})
        alone = [e for i, e in enumerate(eqns) if i not in partner]
        if any(parts.draws_of(e) for e in [*alone, *left.values()]):
            raise ValueError(
                f"{_WHOLE}loss_fn does other operations for {self.rows} rows than for "
                f"{self.batch}, so that their draws cannot be compared; write it without "
                "conditions on the size of the batch, or choose another accumulate"
            )
        return [(e, partner.get(i)) for i, e in enumerate(eqns)]

    def unpaired(self, eqn: Any, into: list[Marks]) -> list[Marks]:
        everything = NONE.union(*into)
        if PART in everything and "sort" in eqn.primitive.name:
            self.refuse_choice()
        return [everything | {COUNTED}] * len(eqn.outvars)

    def equation(self, eqn: Any, other: Any, into: list[Marks], path: Path) -> list[Marks]:
        name, params = eqn.primitive.name, eqn.params
        if parts.draw_of(eqn) is not None:
            return [self.draw(eqn, other, into, path)]
        if name in parts.CALLS:
            return self.program(parts.called(eqn), parts.called(other), into, (*path, 0))
        if name == "first_row":
            return [self.first_row(eqn, other, path)]
        if name == "shard_map":
            around, mesh = self.sizes, params["mesh"].shape
            self.sizes = around | {axis: mesh[axis] for axis in params["newly_manual_axes"]}
            out = self.program(params["jaxpr"], other.params["jaxpr"], into, (*path, 0))
            self.sizes = around
            return out
        if name == "scan":
            consts, carry, xs = parts.split_at(into, *parts.scan_sizes(eqn))
            return self.loop(params["jaxpr"], other.params["jaxpr"], consts, carry, xs, (*path, 0))
        if name == "while":
            sizes = params["cond_nconsts"], params["body_nconsts"]
            of_cond, consts, carry = parts.split_at(into, *sizes)
            bodies = params["body_jaxpr"], other.params["body_jaxpr"]
            carry = self.loop(*bodies, consts, carry, [], (*path, 1))
            conds = params["cond_jaxpr"], other.params["cond_jaxpr"]
            self.program(*conds, [*of_cond, *carry], (*path, 0))
            return carry
        if name == "cond":
            branches = zip(params["branches"], other.params["branches"], strict=True)
            outs = [self.program(a, b, into[1:], (*path, i)) for i, (a, b) in enumerate(branches)]
            return [NONE.union(*each) for each in zip(*outs, strict=True)]
        everything = NONE.union(*into)
        self.check_hidden(eqn, other, everything)
        if name == "sort":
            self.check_sort(eqn, other, everything)
        counted = {COUNTED} if _counts_rows(eqn, other) else NONE
        return [everything | counted] * len(eqn.outvars)

    def loop(
        self, body: Any, other: Any, consts: list[Marks], carry: list[Marks], xs: Any, path: Path
    ) -> list[Marks]:
        """Look through a loop's body until its carry gets no further mark."""
        while True:
            out = self.program(body, other, [*consts, *carry, *xs], path)
            after = [a | b for a, b in zip(carry, out, strict=False)]
            if after == carry:
                return [*after, *out[len(carry) :]]
            carry = after

    def draw(self, eqn: Any, other: Any, into: list[Marks], path: Path) -> Marks:
        """Note a draw of which a microbatch has a part; return the marks of its result."""
        small, large = parts.draw_of(eqn), parts.draw_of(other)
        assert small is not None and large is not None
        is_product = eqn.primitive.name == "dropout"
        sources = into[1:4] if is_product else into  # the words, and the index of the first element
        axes = () if small.block is None else small.block.axes
        # Where mesh axes split the array, the index is what they say, and it may count rows.
        if COUNTED in NONE.union(*(sources[:1] if axes else sources)):
            self.refuse(
                large,
                "its key or offset is computed from numbers of rows, such as jnp.arange(rows), "
                "which begin at 0 in every microbatch (drop_connect_dense(per_example=True) does "
                "so, too). Put the numbers of the rows into the batch, and use those",
            )
        if ELSEWHERE in NONE.union(*sources):
            self.refuse_examples()
        if FIRST in NONE.union(*sources) and parts.layouts(eqn) == parts.layouts(other):
            return NONE.union(*sources, {PART})
        if small == large and eqn.params.get("maps") == other.params.get("maps"):
            return NONE.union(*sources)
        dims = [d for d, (n, m) in enumerate(zip(small.shape, large.shape, strict=True)) if n != m]
        sizes = [(small.shape[d], large.shape[d]) for d in dims]
        split = axes[dims[0]] if dims and dims[0] < len(axes) else ()
        if len(sizes) != 1 or not self.are_rows(*sizes[0], split):
            within = " Inside shard_map, give mesh_axes." if self.sizes and not axes else ""
            self.refuse(
                large,
                f"with {self.rows} rows the shape is {small.shape}, so that the batch is not one "
                "of its dimensions by itself. Draw before the batch is merged with another "
                "dimension or joined with itself." + within,
            )
        if any(axes[: dims[0]]):
            self.refuse(
                large,
                f"the mesh axes {axes} split it before the batch. Put the batch first",
            )
        if is_product and eqn.params["form"].impl is not None:
            self.refuse(large, "it has bits='key', which knows no index; use bits='fast'")
        block = None if large.block is None else large.block._replace(shape=small.shape)
        window = Window(small.first_dim + dims[0], block, dict(other.params))
        self.found[path] = self.between(window, split)
        return NONE.union(*sources, {PART})

    def first_row(self, eqn: Any, other: Any, path: Path) -> Marks:
        """Note the number of a first row, which is the same for the batch and for its parts."""
        rows, of_batch, axes = eqn.params["rows"], other.params["rows"], eqn.params["axes"]
        if rows == of_batch:
            return NONE
        if not self.are_rows(rows, of_batch, axes):
            return frozenset({ELSEWHERE})
        self.found[path] = self.between(Window(0, None, {}), axes)
        return frozenset({FIRST})

    def are_rows(self, rows: int, of_batch: int, axes: tuple[str, ...]) -> bool:
        """Say whether so many are the rows that a device has, where mesh axes split them."""
        inside = [self.sizes[axis] for axis in axes if axis in self.sizes]
        shards, in_one_shard_map = math.prod(inside), len(inside) in (0, len(axes))
        return in_one_shard_map and (rows * shards, of_batch * shards) == (self.rows, self.batch)

    def between(self, window: Window, axes: tuple[str, ...]) -> Window:
        """Return the window where axes around the step give each device a batch of its own."""
        if self.sizes.keys() & set(axes) or not axes:
            return window
        return window._replace(between=self.batch - self.rows, axes=axes)

    def check_hidden(self, eqn: Any, other: Any, marks: Marks) -> None:
        """Raise an error if there is a draw in what cannot be looked through."""
        name = eqn.primitive.name
        inside = [parts.draws_inside(p) for p in parts.parts_of(eqn)]
        same = inside == [parts.draws_inside(p) for p in parts.parts_of(other)]
        kernel = name in parts.KERNELS or name == "call_hi_primitive"  # what JAX_REMAT3=1 makes
        words = any(getattr(v.aval, "dtype", None) == jnp.uint32 for v in eqn.invars)
        shown = FIRST in marks and parts.layouts(eqn) == parts.layouts(other)
        if any(inside) and ELSEWHERE in marks:
            self.refuse_examples()
        drawn = any(inside) and (COUNTED in marks or not (same or shown))
        if (
            drawn
            or (kernel and words)
            or (name in _OTHER_DRAWS and parts.result_shapes(eqn) != parts.result_shapes(other))
        ):
            raise ValueError(
                f"{_WHOLE}loss_fn draws inside of {name!r}, of which no part can be taken; draw "
                "outside of it, or use accumulate=1"
            )

    def check_sort(self, eqn: Any, other: Any, marks: Marks) -> None:
        """Raise an error if rows of the batch are chosen by sorting random words."""
        d = eqn.params["dimension"]
        along = eqn.invars[0].aval.shape[d], other.invars[0].aval.shape[d]
        if PART in marks and along[0] != along[1]:
            self.refuse_choice()

    def refuse_choice(self) -> NoReturn:
        raise ValueError(
            f"{_WHOLE}loss_fn chooses among all {self.batch} rows by sorting random words, as "
            "drop_path_subset and jax.random.permutation do, which no part of the batch can; "
            "use what decides row by row, such as drop_path, or accumulate=1"
        )

    def refuse_examples(self) -> NoReturn:
        raise ValueError(
            f"{_WHOLE}ring_attention drops in examples that are not the {self.batch} rows by "
            "themselves. Give it the batch as its first dimension, and in mesh_axes what splits it"
        )

    def refuse(self, draw: parts.Draw, why: str) -> NoReturn:
        raise ValueError(f"{_WHOLE}for {self.batch} rows loss_fn draws a {draw.shape}, and {why}")


def _kind(eqn: Any) -> Any:
    """Return what equations have in common that are one in the two programs."""
    return eqn.primitive.name, eqn.params.get("name"), len(eqn.invars), len(parts.draws_of(eqn))


def _marks(variable: Any, other: Any, env: dict[Any, Marks]) -> Marks:
    a, b = parts.known(variable), parts.known(other)
    if a is None and b is None:
        return env.get(variable, NONE)
    return _marks_of_value(a, b)


def _marks_of_value(a: Any, b: Any) -> Marks:
    """Return the marks of a constant; one that differs between the two programs counts rows."""
    if a is b:
        return NONE
    shapes = np.shape(a), np.shape(b)
    if shapes[0] == shapes[1]:
        traced = any(not isinstance(v, np.ndarray | np.generic | int | float) for v in (a, b))
        if traced or np.array_equal(a, b):
            return NONE
    return frozenset({COUNTED})


def _of_integers(variable: Any, marks: Marks) -> Marks:
    """Return the marks, which end at real numbers: no key or offset is made of those."""
    dtype = getattr(variable.aval, "dtype", None)
    return NONE if dtype is None or jnp.issubdtype(dtype, jnp.inexact) else marks


def _counts_rows(eqn: Any, other: Any) -> bool:
    """Say whether an operation makes numbers that count the rows."""
    if parts.result_shapes(eqn) == parts.result_shapes(other):
        return False
    if eqn.primitive.name in _COUNTING:
        return True
    from_rows = [v.aval.shape for v in eqn.invars] != [v.aval.shape for v in other.invars]
    return not from_rows and eqn.primitive.name not in _FROM_NOWHERE
