"""scripts/stream_bits: each order is what its description says; the command behaves in a pipe."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxdrop import random_bits
from scripts.quality import orders, stream

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 11


def words(order: str, start: int, count: int) -> np.ndarray:
    """Words start to start + count of an order."""
    data = b"".join(stream.chunks(order, SEED, 4 * (start + count)))
    return np.frombuffer(data, "<u4")[start:]


def draw(key: jax.Array, size: int, start: int = 0) -> np.ndarray:
    return np.asarray(random_bits(key, (size,), index_offset=(start,)))


def test_flat_is_one_array() -> None:
    start = orders.BLOCK - 50
    np.testing.assert_array_equal(words("flat", start, 100), draw(jax.random.key(SEED), 100, start))


@pytest.mark.slow
@pytest.mark.parametrize("start", [2**32 - 128, 2**33 - 128])
def test_flat_goes_on_past_one_word(start: int) -> None:
    across = np.asarray(next(orders.flat(jax.random.key(SEED), start)))
    np.testing.assert_array_equal(across[:256], draw(jax.random.key(SEED), 256, start))
    assert not np.array_equal(across[128:256], draw(jax.random.key(SEED), 128, start - 2**32 + 128))


@pytest.mark.parametrize("number", [0, 1, 17])
def test_keys_change_every_65536_elements(number: int) -> None:
    key = jax.random.fold_in(jax.random.key(SEED), number)
    np.testing.assert_array_equal(words("keys", number << 16, 100), draw(key, 100))


@pytest.mark.slow
@pytest.mark.parametrize(("matrix", "column"), [(0, 0), (0, 300), (1, 4095)])
def test_columns_of_a_matrix(matrix: int, column: int) -> None:
    key = jax.random.fold_in(jax.random.key(SEED), matrix)
    expected = np.asarray(random_bits(key, (4096, 4096)))[:, column]
    np.testing.assert_array_equal(words("columns", (matrix << 24) + (column << 12), 4096), expected)


def test_reversed_turns_every_word_round() -> None:
    expected = [int(f"{w:032b}"[::-1], 2) for w in words("flat", 0, 200)]
    assert words("reversed", 0, 200).tolist() == expected


def test_low_takes_the_low_bytes() -> None:
    data = b"".join(stream.chunks("low", SEED, 200))
    assert data == bytes(int(w) & 255 for w in words("flat", 0, 200))


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 5, orders.BLOCK // orders.LANES + 3])
def test_interleaved_takes_turns(row: int) -> None:
    lanes = jax.random.split(jax.random.key(SEED), 64)
    expected = [draw(lanes[k], 1, row)[0] for k in range(64)]
    np.testing.assert_array_equal(words("interleaved", 64 * row, 64), expected)


def test_interleaved_goes_on_past_one_word() -> None:
    start = 2**32 - 2
    across = np.asarray(next(orders.interleaved(jax.random.key(SEED), start))).reshape(-1, 64)
    lanes = jax.random.split(jax.random.key(SEED), 64)
    for k in (0, 63):
        np.testing.assert_array_equal(across[:4, k], draw(lanes[k], 4, start))


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "number"), [(0, 0), (0, 65535), (1, 2)])
def test_splits(batch: int, number: int) -> None:
    keys = jax.random.split(jax.random.fold_in(jax.random.key(SEED), batch), 1 << 16)
    start = 16 * ((batch << 16) + number)
    np.testing.assert_array_equal(words("splits", start, 16), draw(keys[number], 16))


@pytest.mark.parametrize("number", [0, 1, 70000])
def test_seeds_follow_one_another(number: int) -> None:
    expected = draw(jax.random.key(SEED + number), 16)
    np.testing.assert_array_equal(words("seeds", 16 * number, 16), expected)


def test_the_last_seed_is_followed_by_the_first() -> None:
    first = np.asarray(next(orders.seeds(2**32 - 1))).reshape(-1, 16)
    np.testing.assert_array_equal(first[0], draw(jax.random.key(2**32 - 1), 16))
    np.testing.assert_array_equal(first[1], draw(jax.random.key(0), 16))


@pytest.mark.slow
def test_orders_differ() -> None:
    assert len({tuple(words(order, 0, 64)) for order in orders.ORDERS}) == len(orders.ORDERS)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "scripts.quality.stream", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_writes_the_number_of_bytes_asked_for() -> None:
    out, err = start("--order", "flat", "--seed", str(SEED), "--bytes", "4099").communicate()
    assert out == words("flat", 0, 1025).tobytes()[:4099]
    assert err == b""


@pytest.mark.slow
def test_ends_quietly_when_the_reader_leaves() -> None:
    process = start("--order", "keys", "--seed", "1")
    assert process.stdout is not None and process.stderr is not None
    assert len(process.stdout.read(100_000)) == 100_000
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--order sideways --seed 1", "got 'sideways', expected one of flat, keys, columns"),
        ("--order flat --seed -1", "got '-1', expected an integer from 0 to 2**32 - 1"),
        ("--order flat --seed 4294967296", "got '4294967296', expected an integer from 0"),
        ("--order flat --seed one", "got 'one', expected an integer"),
        ("--order flat --seed 1 --bytes 8X", "expected a number of bytes such as 1000000, 512M"),
        ("--order flat --seed 1 --bytes=-5", "got '-5', expected a number of bytes"),
        ("--order flat", "required: --seed"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        stream.main(arguments.split())
    assert leaving.value.code == 2
    assert sentence in capsys.readouterr().err


def test_refuses_to_write_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    assert stream.main(["--order", "flat", "--seed", "1"]) == 2
    assert "raw bits do not belong there" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("17", 17), ("512M", 2**29), ("8G", 2**33)])
def test_sizes(text: str, size: int) -> None:
    assert stream._size(text) == size
