"""The battery: every test with its sizes, quick, full, and small enough for many bad generators."""

import time
from collections.abc import Callable
from typing import Any

from scripts.quality import avalanche, correlation, counts, repeats
from scripts.quality.generator import Generator
from scripts.quality.verdict import Finding, failures

Test = Callable[[Generator], list[Finding]]

QUICK: dict[str, Test] = {
    "rate": lambda g: counts.rate(g, 22, 2),
    "variance": lambda g: counts.variance(g, 20, 64),
    "lags": lambda g: correlation.lags(g, 18, 2),
    "rows and columns": lambda g: correlation.rows_and_columns(g, 1024),
    "related keys": lambda g: correlation.related_keys(g, 128, 14),
    "high words": lambda g: correlation.high_words(g, 32, 14),
    "avalanche of index": lambda g: avalanche.index_bits(g, 18),
    "avalanche of key": lambda g: avalanche.key_bits(g, 16),
    "distinct words": lambda g: repeats.distinct_words(g, range(22, 23)),
    "distinct words of keys": lambda g: repeats.distinct_words_of_keys(g, 1024, 12),
    "shared runs": lambda g: repeats.shared_runs(g, 4096, 10) + repeats.shared_runs(g, 1 << 18, 2),
    "serial": lambda g: repeats.serial(g, 20),
    "birthday spacings": lambda g: repeats.birthday_spacings(g, 256),
}

FULL: dict[str, Test] = {
    "rate": lambda g: counts.rate(g, 28, 8),
    "variance": lambda g: counts.variance(g, 24, 256) + counts.variance(g, 28, 16),
    "whole period": lambda g: counts.whole_period(g, 4),
    "lags": lambda g: correlation.lags(g, 22, 32),
    "rows and columns": lambda g: correlation.rows_and_columns(g, 4096),
    "related keys": lambda g: correlation.related_keys(g, 512, 18),
    "high words": lambda g: correlation.high_words(g, 256, 18),
    "avalanche of index": lambda g: avalanche.index_bits(g, 26),
    "avalanche of key": lambda g: avalanche.key_bits(g, 24),
    "distinct words": lambda g: repeats.distinct_words(g, range(24, 29)),
    "distinct words of keys": lambda g: repeats.distinct_words_of_keys(g, 4096, 16),
    "shared runs": lambda g: repeats.shared_runs(g, 4096, 14) + repeats.shared_runs(g, 1 << 20, 3),
    "serial": lambda g: repeats.serial(g, 28),
    "birthday spacings": lambda g: repeats.birthday_spacings(g, 4096),
}

CANDIDATE: dict[str, Test] = QUICK | {
    "lags": lambda g: correlation.lags(g, 20, 4),
    "high words": lambda g: correlation.high_words(g, 64, 16),
    "avalanche of index": lambda g: avalanche.index_bits(g, 24),
    "distinct words": lambda g: repeats.distinct_words(g, range(24, 27)),
    "serial": lambda g: repeats.serial(g, 26),
}

# The tests that look at one key only, for mixes whose key words are fixed.
ONE_KEY: dict[str, Test] = {
    "rate": lambda g: counts.rate(g, 22, 1),
    "lags": lambda g: correlation.lags(g, 18, 1),
    "rows and columns": QUICK["rows and columns"],
    "high words": QUICK["high words"],
    "avalanche of index": QUICK["avalanche of index"],
    "distinct words": QUICK["distinct words"],
    "serial": QUICK["serial"],
    "birthday spacings": QUICK["birthday spacings"],
}

# The test that must expose each planted generator; most are exposed by several.
EXPOSED_BY: dict[str, str] = {
    "counter": "serial",
    "weyl": "variance",
    "lowbias32": "distinct words",
    "triple32": "distinct words",
    "without_forward": "distinct words",
    "without_injection": "shared runs",
    "without_high": "high words",
}


def run(generator: Generator, tests: dict[str, Test], log: Any = None) -> list[Finding]:
    """Run tests on a generator; say how long each took to log, a text stream."""
    findings = []
    for name, test in tests.items():
        start = time.perf_counter()
        findings += test(generator)
        if log is not None:
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=log, flush=True)
    return findings


def caught_by(generator: Generator) -> dict[str, float]:
    """The quick tests that a generator fails, with the smallest p-value of each."""
    caught: dict[str, float] = {}
    for finding in failures(run(generator, QUICK)):
        caught[finding.test] = min(finding.p, caught.get(finding.test, 1.0))
    return caught
