"""The coefficients of jaxdrop/_core/normal.py: fit them, and say how good they are.

The model is the code there: -log2(1 - u**2) by the bits of the number and a cubic of its mantissa,
a quartic of that, a square root. It is fitted as a whole, over all numbers that can be drawn. What
is minimised is the largest error of P(z <= a) and, in the tail, where that no longer says anything,
of z itself. Each round solves the problem linearised around the last solution, as a linear
programme, subject to a variance of 1.
"""

from typing import Any

import numpy as np
from rich.console import Console
from scipy.optimize import linprog
from scipy.special import ndtri
from scipy.stats import norm

from jaxdrop._core import normal

LOG2, QUARTIC, SCALE = slice(0, 4), slice(4, 7), 7  # where the coefficients lie
# An error of z counts times the density, as an error of P, or divided by this, if that is more.
TAIL = 1000.0
OCTAVES = np.arange(1, 24)[:, None]  # t = 1 - u**2 = mantissa / 2**octave, from 1 on down
MANTISSA = 1.5 - 0.5 * np.cos(np.linspace(0.01, np.pi - 0.01, 60))  # dense at both ends of [1, 2]
U = np.sqrt(1 - MANTISSA / 2.0**OCTAVES)
EXACT = -ndtri(MANTISSA / 2.0**OCTAVES / (2 + 2 * U))  # (1 - u) / 2, without cancellation
WEIGHT = np.maximum(norm.pdf(EXACT), 1 / TAIL)


def quantile(c: np.ndarray, octave: np.ndarray, mantissa: np.ndarray) -> np.ndarray:
    """The model, in float64, at t = mantissa / 2**octave."""
    w = octave - np.polynomial.polynomial.polyval(mantissa, c[LOG2])
    constant, first, second = c[QUARTIC]
    square = ((w * w + second) * w + first) * w + constant
    return c[SCALE] * np.sqrt((1 - mantissa / 2.0**octave) * np.maximum(square, 0))


def largest_error(c: np.ndarray) -> float:
    """The largest error of P(z <= a), or of z divided by ``TAIL`` where that is more."""
    return float(np.abs((quantile(c, OCTAVES, MANTISSA) - EXACT) * WEIGHT).max())


def variance(c: np.ndarray) -> float:
    """The variance of the law with the model as quantile: Gauss-Legendre by octaves of 1 - u."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    rest = (1.5 + nodes / 2) * 2.0 ** -np.arange(1, 25)[:, None]
    mantissa, octave = np.frexp(rest * (2 - rest))
    z = quantile(c, 1 - octave, 2 * mantissa)
    last = quantile(c, np.array([23]), np.array([1.0]))[0]  # larger numbers are rounded to it
    return float(
        (z**2 * weights / 2 * 2.0 ** -np.arange(1, 25)[:, None]).sum() + 2.0**-24 * last**2
    )


def start() -> np.ndarray:
    """log2 by Chebyshev interpolation; the quartic by least squares, cubic term shifted away."""
    chebyshev = np.polynomial.Chebyshev.interpolate(np.log2, 3, domain=[1, 2])
    log2: Any = chebyshev.convert(kind=np.polynomial.Polynomial).coef
    w = OCTAVES - np.log2(MANTISSA)
    square = np.polynomial.Polynomial.fit(
        w.ravel(), ((EXACT / U) ** 2).ravel(), 4, w=WEIGHT.ravel() * U.ravel()
    ).convert()
    shift = -square.coef[3] / (4 * square.coef[4])
    shifted: Any = square(np.polynomial.Polynomial([shift, 1])).coef
    constant, first, second, _, leading = shifted
    quartic = np.array([constant, first, second]) / leading
    return np.array([log2[0] + shift, *log2[1:], *quartic, leading**0.5])


def gradient(function, c: np.ndarray) -> np.ndarray:
    """Derivatives by relative changes of the coefficients, in a last dimension."""
    steps = 1e-6 * np.diag(np.abs(c))
    return np.stack([(function(c + s) - function(c - s)) / 2e-6 for s in steps], axis=-1)


def improve(c: np.ndarray, reach: float) -> np.ndarray:
    """Solve the linearised problem for relative changes of at most ``reach``."""
    error = ((quantile(c, OCTAVES, MANTISSA) - EXACT) * WEIGHT).ravel()
    slope = gradient(lambda c: quantile(c, OCTAVES, MANTISSA), c) * WEIGHT[..., None]
    slope, bound = slope.reshape(error.size, -1), -np.ones((error.size, 1))
    found = linprog(
        [0] * c.size + [1],
        A_ub=np.block([[slope, bound], [-slope, bound]]),
        b_ub=np.concatenate([-error, error]),
        A_eq=[[*gradient(variance, c), 0]],
        b_eq=[1 - variance(c)],
        bounds=[(-reach, reach)] * c.size + [(0, None)],
    )
    return c if found.x is None else c + found.x[:-1] * np.abs(c)


def fit(c: np.ndarray, rounds: int = 60) -> np.ndarray:
    reach = 0.01
    for _ in range(rounds):
        better = improve(c, reach)
        off = abs(variance(better) - 1)
        if largest_error(better) + off < largest_error(c) + abs(variance(c) - 1):
            c, reach = better, 1.5 * reach
        else:
            reach /= 3
    return c


def committed() -> np.ndarray:
    return np.array([*normal._LOG2, *normal._QUARTIC, normal._SCALE], np.float64)


def main() -> None:
    console = Console()
    with console.status("fitting"):
        fitted = fit(start())
    for name, c in (("fitted", fitted), ("in jaxdrop/_core/normal.py", committed())):
        off = np.abs(quantile(c, OCTAVES, MANTISSA) - EXACT)
        console.print(
            f"{name}: P(z <= a) off by {(off * norm.pdf(EXACT)).max():.3g}, z by {off.max():.3g}, "
            f"below 3 by {off[EXACT < 3].max():.3g}, variance {variance(c):.9f}"
        )
        for table, part in (("_LOG2", LOG2), ("_QUARTIC", QUARTIC)):
            console.print(f"    {table} = ({', '.join(f'{x:.9g}' for x in c[part])})")
        console.print(f"    _SCALE = {c[SCALE]:.9g}")


if __name__ == "__main__":
    main()
