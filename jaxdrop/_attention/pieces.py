"""Which pieces of a sequence a device computes, and how they get there.

A device holds one part of the sequence, in order. Under a causal mask the last part attends to all
keys and the first one to few, so that every device would wait for the last. For the computation
each device therefore takes two pieces of half a part, one from each end of the sequence (the zigzag
order): they are sent there before, and what was computed is sent back.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdrop._attention.blockwise import blocks


class Pieces(NamedTuple):
    """The pieces of an axis that the devices take."""

    sizes: tuple[int, ...]
    owners: tuple[tuple[int, ...], ...]  # [piece][device that takes it]: the device that holds it

    def take(self, x: jax.Array, axis_name: str) -> list[jax.Array]:
        """Split the length of [B, N, length, H] and send each piece to the device that takes it."""
        held = jnp.split(x, self._firsts()[1:], axis=2)
        return [_sent(piece, of, axis_name) for piece, of in zip(held, self.owners, strict=True)]

    def give_back(self, pieces: list[jax.Array], axis_name: str) -> jax.Array:
        """Undo ``take``."""
        takers = [tuple(sorted(range(len(of)), key=of.__getitem__)) for of in self.owners]
        held = (_sent(piece, of, axis_name) for piece, of in zip(pieces, takers, strict=True))
        return jnp.concatenate(list(held), axis=2)

    def tiles(self, most: int) -> "Tiles":
        """Cut the pieces into tiles of one size."""
        size = min(most, max(self.sizes))
        cuts = [range(0, length, size) for length in self.sizes]
        counts = [
            min(size, length - i) for length, cut in zip(self.sizes, cuts, strict=True) for i in cut
        ]
        starts = [
            tuple(start + i for start, cut in zip(of_device, cuts, strict=True) for i in cut)
            for of_device in self._starts()
        ]
        return Tiles(size, tuple(counts), tuple(starts))

    def _firsts(self) -> list[int]:
        """The first index of each piece in the part that it is of."""
        return [sum(self.sizes[:p]) for p in range(len(self.sizes))]

    def _starts(self) -> list[tuple[int, ...]]:
        """[device][piece]: the first position of each piece in the sequence."""
        part = sum(self.sizes)
        of_pieces = [
            [owner * part + first for owner in of]
            for of, first in zip(self.owners, self._firsts(), strict=True)
        ]
        return list(zip(*of_pieces, strict=True))


class Tiles(NamedTuple):
    """The tiles of a device's pieces, one behind the other."""

    size: int
    counts: tuple[int, ...]  # how much of each is there, what follows being padding
    starts: tuple[tuple[int, ...], ...]  # [device][tile]: its first position in the sequence

    def stacked(self, pieces: list[jax.Array]) -> jax.Array:
        """[B, N, length, H] of each piece -> [tiles, B, N, size, H]."""
        return jnp.concatenate([blocks(piece, 2, self.size) for piece in pieces])

    def unstacked(self, tiles: jax.Array, sizes: tuple[int, ...]) -> list[jax.Array]:
        """Undo ``stacked``."""
        pieces, first = [], 0
        for size in sizes:
            count = -(-size // self.size)
            piece = jnp.moveaxis(tiles[first : first + count], 0, 2)
            shape = (*piece.shape[:2], count * self.size, piece.shape[-1])
            pieces.append(piece.reshape(shape)[:, :, :size])
            first += count
        return pieces


def whole_parts(length: int, devices: int) -> Pieces:
    """Each device takes the part that it holds."""
    return Pieces((length,), (tuple(range(devices)),))


def zigzag(length: int, devices: int) -> Pieces:
    """Device i takes the pieces i and 2 * devices - 1 - i of 2 * devices."""

    def owners(p: int) -> tuple[int, ...]:
        taker = {d: min(2 * d + p, 2 * devices - 1 - (2 * d + p)) for d in range(devices)}
        return tuple(sorted(taker, key=taker.__getitem__))

    return Pieces((length - length // 2, length // 2), (owners(0), owners(1)))


def _sent(piece: jax.Array, owners: tuple[int, ...], axis_name: str) -> jax.Array:
    """Return on each device what its owner holds."""
    if owners == tuple(range(len(owners))):
        return piece
    return jax.lax.ppermute(piece, axis_name, [(owner, d) for d, owner in enumerate(owners)])
