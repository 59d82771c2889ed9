"""What an experiment's settings may be: each rule once, each refusal naming the option."""

import math
from typing import Any, NoReturn

from experiments._harness.result import CannotRun

MOST = 2**31 - 1  # what JAX counts with


def check_counts(config: Any, *names: str) -> None:
    """Raise CannotRun unless each is a whole number of at least 1, or None where allowed."""
    for name in names:
        value = getattr(config, name)
        if value is None and type(config).__dataclass_fields__[name].default is None:
            continue
        if type(value) is not int or value < 1:
            refuse(name, value, "a whole number of at least 1")
        if value > MOST:
            refuse(name, value, f"at most {MOST}")


def check_seeds(config: Any) -> None:
    """Raise CannotRun unless all seeds, from the first one on, are at least 0 and below 2**31."""
    last = getattr(config, "seeds", 1) - 1
    if type(config.seed) is not int or not 0 <= config.seed <= MOST - last:
        more = f" with --seeds {last + 1}" if last else ""
        refuse("seed", config.seed, f"a whole number from 0 to {MOST - last}{more}")


def check_positive(config: Any, *names: str) -> None:
    """Raise CannotRun unless each is a finite number above 0."""
    for name in names:
        value = getattr(config, name)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            refuse(name, value, "a number above 0")


def check_rates(config: Any, *names: str, one: bool = False) -> None:
    """Raise CannotRun unless each is a number, or some, from 0 to below 1, or to 1."""
    for name in names:
        value = getattr(config, name)
        rates = value if isinstance(value, tuple) else (value,)
        right = all(type(r) in (int, float) and 0 <= r <= 1 and (one or r < 1) for r in rates)
        if not rates or not right:
            kind = "numbers" if isinstance(value, tuple) else "a number"
            refuse(name, value, f"{kind} from 0 to {'1' if one else 'below 1'}")


def check_choice(config: Any, name: str, choices: tuple[Any, ...]) -> None:
    """Raise CannotRun unless it is one of the choices."""
    value = getattr(config, name)
    if value not in choices:
        refuse(name, value, f"one of {choices}")


def refuse(name: str, value: Any, expected: str) -> NoReturn:
    """Raise CannotRun."""
    raise CannotRun(f"--{name.replace('_', '-')} is {value!r:.100}, expected {expected}")
