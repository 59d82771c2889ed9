"""Write the generator's words to standard output, for any test battery that reads a pipe.

    scripts/stream_bits --order ORDER --seed N [--bytes N]

The words are raw little-endian uint32. Orders:

    flat         one key, one endless array, past 2**32 elements
    keys         a fresh fold_in(key, i) every 2**16 elements
    columns      a 4096 x 4096 matrix per key, read column by column
    reversed     flat, each word's bits from last to first
    low          flat, only the low byte of each word
    interleaved  element j of 64 split keys in turn
    splits       the first 16 elements of each of many split keys
    seeds        the first 16 elements of seed N, of seed N + 1, ...

Examples:

    scripts/stream_bits --order flat --seed 1 | dieharder -a -g 200
    scripts/stream_bits --order flat --seed 1 --bytes 8G | RNG_test stdin32
"""

import argparse
import collections
import os
import re
import sys
from collections.abc import Iterator

import jax
import numpy as np

from scripts.quality.orders import ORDERS, blocks

AHEAD = 3  # blocks under way while one is being written
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def main(arguments: list[str] | None = None) -> int:
    """Write the stream that the command line asks for; return the exit status."""
    args = _parse(arguments)
    if os.isatty(1):
        print(
            "standard output is a terminal, and raw bits do not belong there; "
            "pipe them into a battery, for example  | dieharder -a -g 200",
            file=sys.stderr,
        )
        return 2
    _widen_pipe()
    try:
        for data in chunks(args.order, args.seed, args.bytes):
            _write(data)
    except BrokenPipeError:
        pass  # the reader has seen enough
    except KeyboardInterrupt:
        return 130
    return 0


def chunks(order: str, seed: int, limit: int | None = None) -> Iterator[memoryview]:
    """Yield the stream's bytes, at most limit of them, while the next blocks are computed."""
    waiting: collections.deque[jax.Array] = collections.deque()
    source = blocks(order, seed)
    left = limit
    asked = 0
    more = True
    while left is None or left > 0:
        while more and len(waiting) <= AHEAD and (limit is None or asked < limit):
            block = next(source, None)
            if block is None:
                more = False
            else:
                waiting.append(block)
                asked += block.nbytes
        if not waiting:
            return
        words = np.asarray(waiting.popleft())
        if sys.byteorder != "little":
            words = words.astype(words.dtype.newbyteorder("<"))
        data = np.ascontiguousarray(words).reshape(-1).view(np.uint8).data[:left]
        if left is not None:
            left -= len(data)
        yield data


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]


def _widen_pipe() -> None:
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
        except OSError:
            pass  # no pipe, or no right to a larger one: slower, nothing else


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="stream_bits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--order", required=True, type=_order, metavar="ORDER")
    parser.add_argument("--seed", required=True, type=_seed, metavar="N", help="0 to 2**32 - 1")
    parser.add_argument(
        "--bytes", type=_size, metavar="N", help="stop after N bytes; 512M and 8G work (1G = 2**30)"
    )
    return parser.parse_args(arguments)


def _order(text: str) -> str:
    if text not in ORDERS:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected one of {', '.join(ORDERS)}")
    return text


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 32):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an integer from 0 to 2**32 - 1")
    return int(text)


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]+)([KMGT]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a number of bytes such as 1000000, 512M or 8G"
        )
    return int(match[1]) << _UNITS[match[2]]


if __name__ == "__main__":
    sys.exit(main())
