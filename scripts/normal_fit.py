"""The coefficients of jaxdrop/_normal.py: fit them, and say how good they are.

The model is the code there: log2 of a mantissa by a polynomial, a square root, and then a parabola
plus a pole. It is fitted whole: the largest error of the normal quantile itself, over all numbers
that can be drawn, is made as small as it gets, under the condition that the variance is 1.
Each round solves the problem linearised around the last one, as a linear programme.
"""

import numpy as np
from rich.console import Console
from scipy.optimize import linprog
from scipy.special import ndtri

from jaxdrop import _normal

LOG2, POLE, PARABOLA = slice(0, 5), slice(5, 7), slice(7, 10)  # where the coefficients lie
OCTAVES = np.arange(1, 33)[:, None]  # a number p below 2**-octave and above its half: all but two
MANTISSA = 1.5 - 0.5 * np.cos(np.linspace(0, np.pi, 60))  # dense at both ends of [1, 2]
BITS = OCTAVES[:31] + 1 - np.log2(MANTISSA)  # -log2(p)
EXACT = -ndtri(2.0**-BITS)


def quantile(c: np.ndarray, octave: np.ndarray, mantissa: np.ndarray) -> np.ndarray:
    """The model, in float64, of p = mantissa / 2**(octave + 1)."""
    root = np.sqrt(octave + 1 - np.polynomial.polynomial.polyval(mantissa, c[LOG2]))
    top, shift = c[POLE]
    return top / (root + shift) + np.polynomial.polynomial.polyval(root, c[PARABOLA])


def largest_error(c: np.ndarray) -> float:
    return float(np.abs(quantile(c, OCTAVES[:31], MANTISSA) - EXACT).max())


def variance(c: np.ndarray) -> float:
    """Of the law whose quantile the model is: Gauss-Legendre over each octave."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    z = quantile(c, OCTAVES, 1.5 + nodes / 2)
    return float((z**2 * weights / 2 * 2.0**-OCTAVES).sum())


def start() -> np.ndarray:
    """Chebyshev interpolation for log2; least squares for the rest, with the best pole in a row."""
    log2 = np.polynomial.Chebyshev.interpolate(np.log2, 4, domain=[1, 2]).convert(
        kind=np.polynomial.Polynomial
    )
    root, exact = np.sqrt(BITS - 0.07).ravel(), EXACT.ravel()
    tries = []
    for shift in np.linspace(0.5, 2, 31):
        terms = np.stack([1 / (root + shift), np.ones_like(root), root, root**2], axis=1)
        solution, *_ = np.linalg.lstsq(terms, exact, rcond=None)
        tries.append((np.abs(terms @ solution - exact).max(), shift, solution))
    _, shift, (top, *parabola) = min(tries, key=lambda t: t[0])
    return np.array([log2.coef[0] + 0.07, *log2.coef[1:], top, shift, *parabola])


def gradient(function, c: np.ndarray) -> np.ndarray:
    """Derivatives by relative changes of the coefficients, in a last dimension."""
    steps = 1e-6 * np.diag(np.abs(c))
    return np.stack([(function(c + s) - function(c - s)) / 2e-6 for s in steps], axis=-1)


def improve(c: np.ndarray, reach: float) -> np.ndarray:
    """Solve the linearised problem for relative changes of at most ``reach``."""
    error = (quantile(c, OCTAVES[:31], MANTISSA) - EXACT).ravel()
    slope = gradient(lambda c: quantile(c, OCTAVES[:31], MANTISSA), c).reshape(error.size, -1)
    bound = -np.ones((error.size, 1))
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
    return np.array([*_normal._LOG2, *_normal._POLE, *_normal._PARABOLA], np.float64)


def main() -> None:
    console = Console()
    with console.status("fitting"):
        fitted = fit(start())
    for name, c in (("fitted", fitted), ("in jaxdrop/_normal.py", committed())):
        console.print(f"{name}: largest error {largest_error(c):.3g}, variance {variance(c):.9f}")
        for table, part in (("_LOG2", LOG2), ("_POLE", POLE), ("_PARABOLA", PARABOLA)):
            console.print(f"    {table} = ({', '.join(f'{x:.9g}' for x in c[part])})")


if __name__ == "__main__":
    main()
