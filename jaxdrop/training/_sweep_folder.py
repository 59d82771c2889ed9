"""SweepFolder: the chunks of a sweep that are done, each written whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np

from jaxdrop.training._atomic_file import write_atomically
from jaxdrop.training._checkpoint_error import CheckpointError
from jaxdrop.training._identity_file import as_json, claim, differences
from jaxdrop.training._sweep_vectorize import Way
from jaxdrop.training._typed_json import Unreadable, as_type, read_json

PLAN = "sweep.json"
FORMAT = 2  # 1 had no checksums, and knew neither train nor shared


class SweepFolder:
    """Keep what a sweep has finished in a folder, with a plan that says which sweep it is.

    The plan is written first. A chunk is a file ``chunk-00000.msgpack`` that is written beside its
    place and then moved there, so that a kill at any moment leaves whole chunks only. It begins
    with the sha256 of the plan, the chunk's number and the rest of the file, which is msgpack.

    Args:
      folder: exists, and is held.
      check: raises CheckpointError if the folder is not there any more.
    """

    def __init__(self, folder: Path, check: Callable[[], None]):
        self.folder = folder
        self._check = check
        self._plan = b""

    def stored_way(self) -> Way | None:
        """Return the vectorize that the folder's sweep was started with, or None if it holds none.

        Raises:
          CheckpointError: if there is a plan that cannot be read.
        """
        path = self.folder / PLAN
        if not path.exists():
            return None
        try:
            way: Way = as_type(
                read_json(path, dict[str, Any]).get("vectorize"), Way, str(path), "vectorize"
            )
        except Unreadable as error:
            raise self._unreadable(error) from error
        return way

    def begin(self, plan: Mapping[str, Any], beside: Collection[str] = ()) -> None:
        """Write the plan, or make sure that the one in the folder is the same.

        Args:
          plan: what the chunks depend on.
          beside: names that may be in a folder that is new.

        Raises:
          CheckpointError: if the folder belongs to another sweep, and names what differs; or if
            it cannot be read or written to.
        """
        wanted = as_json({"format": FORMAT, **plan})
        path = self.folder / PLAN
        self._check()
        try:
            stored = claim(path, wanted, beside=beside)
        except Unreadable as error:
            raise self._unreadable(error) from error
        except OSError as error:
            raise self._unwritten(path, error) from error
        self._compare(wanted if stored is None else stored, wanted)

    def compare(self, plan: Mapping[str, Any]) -> None:
        """Make sure that a folder that others write to has the same plan; it has one.

        Raises:
          CheckpointError: as ``begin``.
        """
        try:
            stored = read_json(self.folder / PLAN, dict[str, Any])
        except Unreadable as error:
            raise self._unreadable(error) from error
        self._compare(stored, as_json({"format": FORMAT, **plan}))

    def _compare(self, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
        if stored.get("format") != FORMAT:
            raise CheckpointError(
                f"the sweep in {self.folder} was started with another version of jaxdrop (format "
                f"{stored.get('format', 1)} there, {FORMAT} here); use that version, choose "
                "another folder, or remove this one to start again"
            )
        began, now = stored.get("made_with"), wanted["made_with"]
        odd = differences(stored | {"made_with": None}, wanted | {"made_with": None})
        if odd:
            other = ""
            if "train: " in odd and began != now:
                other = (
                    f". It was started under other versions ({differences(began, now)}), which may "
                    "compile the same train to another program: if that is all, use those"
                )
            raise CheckpointError(
                f"{self.folder} holds chunks of another sweep ({odd}); choose another folder, or "
                f"remove this one to start again{other}"
            )
        # What is compared, and no more: other versions may compile it to the same program.
        self._plan = json.dumps(wanted | {"made_with": None}, sort_keys=True).encode()

    def load(self, number: int, like: Any) -> Any | None:
        """Return a chunk's results in the structure, shapes and dtypes of ``like``, or None.

        Raises:
          CheckpointError: if the file is not what was written for this chunk of this sweep.
        """
        path = self._path(number)
        if not path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            content = path.read_bytes()
            body = content[32:]
            if content[:32] != self._checksum(number, body):
                raise ValueError("its checksum is of other bytes")
            stored = flax.serialization.msgpack_restore(body)
            found = [stored[str(i)] for i in range(len(leaves))]
            if [(a.shape, a.dtype) for a in found] != [(a.shape, a.dtype) for a in leaves]:
                raise ValueError("its results have other shapes")
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} is damaged or of another sweep ({error}); remove it, and only its runs "
                "are computed again"
            ) from error
        return jax.tree.unflatten(structure, found)

    def save(self, number: int, results: Any) -> None:
        """Write a chunk's results.

        Raises:
          CheckpointError: if it cannot be written; what was saved before is as it was.
        """
        leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(results))}
        body = flax.serialization.msgpack_serialize(leaves)
        self._write(self._path(number), self._checksum(number, body) + body)

    def _unreadable(self, error: Unreadable) -> CheckpointError:
        way_out = f"choose another folder, or remove {self.folder} to start again"
        return CheckpointError(f"{error}; {way_out}")

    def _checksum(self, number: int, body: bytes) -> bytes:
        digest = hashlib.sha256(b"%d %d " % (number, len(self._plan)))
        digest.update(self._plan)
        digest.update(body)
        return digest.digest()

    def _path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:05d}.msgpack"

    def _write(self, path: Path, content: bytes) -> None:
        self._check()
        try:
            write_atomically(path, content)
        except OSError as error:
            raise self._unwritten(path, error) from error

    def _unwritten(self, path: Path, error: OSError) -> CheckpointError:
        self._check()
        return CheckpointError(
            f"{path} could not be written ({error.strerror}); what was saved before is whole. Make "
            "room, and the same call resumes from there"
        )
