"""What differs between two results, and by how much."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

ABSENT = "(absent)"


class Difference(NamedTuple):
    """A value that came out different."""

    name: str
    then: Any
    now: Any

    @property
    def absolute(self) -> float | None:
        """The difference in the value's own units; None unless both are numbers."""
        both = self.then, self.now
        return self.now - self.then if all(type(x) in (int, float) for x in both) else None

    @property
    def relative(self) -> float:
        """The difference over the larger of the two; infinite unless both are numbers."""
        if self.absolute is None:
            return math.inf
        return abs(self.absolute) / max(abs(self.then), abs(self.now))


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """Return the values that are not the same, the largest relative difference first."""
    pairs = (Difference(n, then.get(n, ABSENT), now.get(n, ABSENT)) for n in sorted(then | now))
    return sorted((d for d in pairs if d.then != d.now), key=lambda d: -d.relative)


def leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for every value in nested dicts and lists."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for name, branch in items:
            yield from leaves(branch, f"{path}.{name}")
    else:
        yield path, tree
