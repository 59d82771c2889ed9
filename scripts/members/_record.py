"""Record: all that the repository says about one member of the family, in one place."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jaxdrop
from scripts.members._case import Case
from scripts.members._layer import Layer
from scripts.members._panel import Panel
from scripts.members._timed import Timed

SECTIONS = (
    "Activations",
    "Feature maps, branches, tokens",
    "Sequences and words",
    "Conditions, graphs, experts",
    "Weights",
)
"""Of the page and of the gallery, in their order."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One member of the family.

    Attributes:
      section: of docs/family.md, one of ``SECTIONS``.
      after: name of the member whose row in that section comes before; None for the first.
      method: what the field calls it.
      paper: author and year.
      one_decision_for: what is dropped or kept as a whole.
      mean_preserved, variance_preserved: whether E[y] and the variance are those of x.
      use_for, not_for: where it helps, and where it harms.
      cases: its functions and the laws that their outputs follow, for the shared tests.
      layers: its layers in Linen and NNX; none where only a function makes sense.
      panels: of the gallery; at least one.
      timed: lines of ``scripts/bench family``; none where a copy is no measure for it.
      helpers: further public functions of the member, which the shared tests do not call; all of
        them, if it takes several arrays, so that it has no case.
      own_layers: names of layers that the shared tests do not call, in Linen and in NNX.
    """

    section: str
    after: str | None
    method: str
    paper: str
    one_decision_for: str
    mean_preserved: str
    variance_preserved: str
    use_for: str
    not_for: str
    cases: tuple[Case, ...]
    layers: tuple[Layer, ...]
    panels: tuple[Panel, ...]
    timed: tuple[Timed, ...]
    helpers: tuple[str, ...] = ()
    own_layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """That of its first function, and of its file."""
        return self.functions[0]

    @property
    def function(self) -> Callable[..., Any]:
        """Its first function."""
        return getattr(jaxdrop, self.name)

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of its functions, helpers last, each of them once."""
        return tuple(dict.fromkeys([*(case.name for case in self.cases), *self.helpers]))
