"""Audit: rows, findings with what to do, and how both are shown."""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from jaxdrop.surgery._listing import shown_rate
from jaxdrop.surgery._where import Path

FALSE_ALARM = 1e-6
"""Of each question that has an answer by chance, all dropouts together."""
_WIDTH = 110


@dataclasses.dataclass(frozen=True)
class AuditRow:
    """What one dropout does. An answer is None where it is not known, or does not apply."""

    path: Path
    """In the model; for a dropout that is no layer, file and line."""
    kind: str
    """Library and class, or what draws."""
    rate: Any
    """The rate that was asked for."""
    dropped: int | None
    """How many of ``decisions`` dropped, in all steps."""
    decisions: int | None
    p_value: float | None
    """Of ``dropped`` at the rate asked for, by the binomial law."""
    called: bool
    """Whether the model calls it."""
    used: bool
    """Whether what the model returns depends on its result."""
    drops_in_training: bool
    drops_in_test: bool
    same_every_step: bool | None
    """Whether every step has the same mask."""
    shared_by_examples: bool | None
    """Whether all examples of the batch have one mask."""
    shared_by_calls: bool | None
    """Whether several calls in a step have one."""
    repeated_by: tuple[str, ...]
    """What repeats its calls in a step: "scan", "vmap", "shard_map"."""
    shared_with: tuple[Path, ...]
    """Other dropouts that have the same mask."""
    before_batch_norm: bool
    """Whether a batch norm follows that takes the statistics of the batch."""
    undone: bool
    """Whether its input is added to its result."""
    drops_branch: bool
    """Whether it drops a whole branch of the model."""
    time_share: tuple[float, float] | None = None
    """Share of a training step's time, if it was measured: the median is in between (95%)."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one dropout.

    Attributes:
      path: of the dropout, as in its row.
      problem: a few words, the same for all findings of this sort, such as "on in test mode".
      text: what is wrong here, and what to do.
    """

    path: Path
    problem: str
    text: str

    def __str__(self) -> str:
        return f"{_name(self.path)}: {self.problem}. {self.text}"


@dataclasses.dataclass(frozen=True)
class Audit:
    """What ``audit`` found.

    Attributes:
      rows: an ``AuditRow`` for each dropout.
      findings: what is wrong, a ``Finding`` each; none for a sound model.
    """

    rows: list[AuditRow]
    findings: list[Finding] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        limit = FALSE_ALARM / max(1, sum(row.p_value is not None for row in self.rows))
        found = [finding for row in self.rows for finding in _findings(row, limit)]
        object.__setattr__(self, "findings", found)

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(self._table())
        found = [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        if not self.rows:
            return "The model has no dropout."
        if not found:
            return f"{text.getvalue()}Nothing is wrong with these {len(self.rows)} dropouts."
        count = f"{len(found)} finding{'s' * (len(found) > 1)}:"
        return "\n".join([text.getvalue() + count, *found])

    def _table(self) -> Table:
        out = Table("path", "kind", title="Dropouts")
        out.add_column("rate", justify="right")
        out.add_column("dropped", justify="right")
        for column in ("training", "test", "masks"):
            out.add_column(column)
        timed = any(row.time_share is not None for row in self.rows)
        if timed:
            out.add_column("time", justify="right")
        for row in self.rows:
            share = f"{(row.dropped or 0) / row.decisions:.4f}" if row.decisions else ""
            rate = "" if row.rate is None else shown_rate(row.rate)
            modes = ("on" if on else "off" for on in (row.drops_in_training, row.drops_in_test))
            time = [] if not timed else [_percent(row.time_share)]
            out.add_row(_name(row.path), row.kind, rate, share, *modes, _masks(row), *time)
        return out


def _masks(row: AuditRow) -> str:
    """Say in a few words who shares a mask, or that nobody does."""
    who = {
        "all steps": row.same_every_step,
        "all examples": row.shared_by_examples,
        "calls": row.shared_by_calls,
        "other layers": bool(row.shared_with),
    }
    shared = [name for name, answer in who.items() if answer]
    if not row.drops_in_training:
        return ""
    if shared:
        return "one for " + ", ".join(shared)
    return "own" if row.same_every_step is False else "not enough seen"


def _percent(share: tuple[float, float] | None) -> str:
    return "" if share is None else f"{share[0]:.0%} to {share[1]:.0%}"


def _name(path: Path) -> str:
    return ".".join(map(str, path)) or "(the model)"


def _findings(row: AuditRow, limit: float) -> Iterator[Finding]:
    def finding(problem: str, text: str) -> Finding:
        return Finding(row.path, problem, text)

    if not row.called:
        yield finding(
            "never called",
            "It is an attribute of the model, and the call does not reach it: call it, or take it "
            "out.",
        )
        return
    if not row.used:
        yield finding(
            "result not used",
            "What it returns does not reach the model's output: assign it, as in x = drop(x), and "
            "go on with that.",
        )
    elif not row.drops_in_training and _asked(row):
        yield finding(
            "off in training",
            f"Its rate is {shown_rate(row.rate)}, and it draws nothing: deterministic=True reaches "
            "it, from its constructor or from a call that does not pass the mode on.",
        )
    if row.drops_in_test:
        yield finding(
            "on in test mode",
            "It still draws: pass the mode to it, deterministic=not train (Linen), or let "
            "model.eval() reach it (NNX: an attribute of a module, no mode given in the call).",
        )
    if row.same_every_step:
        yield finding(
            "same mask in every step",
            "Its key does not change: it is made in the model (jax.random.key(0), nnx.Rngs(0)), or "
            "its stream is copied and not carried on. Use make_rng (Linen), or a stream that is an "
            "attribute of the model (NNX).",
        )
    if row.shared_by_examples:
        yield finding(
            "shared by examples",
            "All examples of a batch have one mask: leave the first axis out of broadcast_dims, "
            "set broadcast_dropout=False in attention, split the key in a vmap over examples.",
        )
    if row.shared_by_calls:
        where = _REPEATED[next(iter(row.repeated_by), "")]
        yield finding("shared by calls", f"Several of its calls in a step have one mask: {where}")
    if row.shared_with:
        names = ", ".join(map(_name, row.shared_with))
        yield finding(
            "shared with another dropout",
            f"It has the mask of {names}: one key is used twice. Give each its own, by "
            "jax.random.split, make_rng, or a stream.",
        )
    if row.before_batch_norm and not row.drops_branch:
        yield finding(
            "before a batch norm",
            "The batch norm sees a larger variance in training than in test mode (Li et al. 2019, "
            "variance shift): put the dropout behind the last batch norm.",
        )
    if row.undone:
        yield finding(
            "undone by a residual",
            "Its input is added to its result, so that nothing is removed: drop the branch before "
            "it is added, x + drop(f(x)).",
        )
    if row.p_value is not None and row.p_value <= limit:
        yield finding(
            "another rate than asked for",
            f"It drops {row.dropped} of {row.decisions} where the rate is {shown_rate(row.rate)}: "
            f"the probability of this is {row.p_value:.1g}. Is it given the probability of "
            "keeping?",
        )


_REPEATED = {
    "scan": "it is in a scan whose keys are not split. Over layers, use split_rngs={'dropout': "
    "True} (Linen) or a stream that is carried or split (NNX); over microbatches, fold in their "
    "number; over time, one mask may be meant.",
    "vmap": "it is in a vmap whose keys are not split: split_rngs={'dropout': True} (Linen), "
    "nnx.split_rngs (NNX).",
    "shard_map": "it is in a shard_map, whose devices all get one key: fold in "
    "jax.lax.axis_index, or give a jaxdrop layer mesh_axes.",
    "": "one key is used for several of them.",
}


def _asked(row: AuditRow) -> bool:
    """Return whether its rate says that it should draw: at 0 and 1 all is known."""
    rates = [np.asarray(rate) for rate in jax.tree.leaves(row.rate)]
    return any(((rate > 0) & (rate < 1)).any() for rate in rates)
