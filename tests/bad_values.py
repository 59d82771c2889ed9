"""What is bad for each kind of argument.

``tests/test_bad_input_table.py`` gives every public call each of them; ``tests/argument_kinds.py``
says which kind an argument is of.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Traced:
    """A value that is known on the device only: the call is traced with it."""

    def __init__(self, dtype: str, shape: tuple[int, ...] = ()):
        self.struct = jax.ShapeDtypeStruct(shape, dtype)


def deleted(array: jax.Array) -> jax.Array:
    array.delete()
    return array


class Thing:
    """An object of no meaning."""


NAN, INF = float("nan"), float("inf")
KEY = jax.random.key(0)
NO_ARRAYS: list[Any] = ["text", b"bytes", None, {"a": 1.0}, Thing(), {1.0}, (1.0,)]
NO_DTYPES: list[Any] = [
    np.array(["a", "b"]),
    np.array([1.0, None], object),
    np.array(["2020-01-01"], "M8[D]"),
    np.zeros(3, np.longdouble),
    np.zeros(3, [("a", "f4")]),
    np.ma.masked_array([1.0, 2.0], [True, False]),
]
BOOLS: list[Any] = [np.ones((2, 3), bool), jnp.ones((2, 3), bool)]
INTEGERS: list[Any] = [np.ones((2, 3), np.int32), jnp.ones((2, 3), jnp.uint8)]
FLOATS: list[Any] = [np.ones((2, 3)), jnp.ones((2, 3)), 0.5]
COMPLEX: list[Any] = [jnp.ones((2, 3), jnp.complex64)]
NO_NUMBERS: list[Any] = ["0.5", b"1", None, True, np.True_, 1j, (0.5,), {}, Thing(), KEY]
NO_INTEGERS: list[Any] = ["2", b"2", None, True, np.False_, 1.5, 2.0, 1j, {}, Thing(), KEY]
NO_INTEGERS += [np.float32(2), jnp.float32(2), np.array([2, 3]), Traced("int32")]
NO_SEQUENCES: list[Any] = ["12", b"\x00\x01", {0: 1}, {0}, 1.5, Thing(), True]
OF_NO_INTEGERS: list[Any] = [(1.5,), ("0",), (None,), (True,), (1j,), ((0,),)]


def shape_of(value: Any) -> tuple[int, ...]:
    return value.struct.shape if isinstance(value, Traced) else getattr(value, "shape", ())


BAD: dict[str, Callable[[], list[Any]]] = {
    "key": lambda: [
        *(None, 0, 7, True, 1.5, "0", b"0", [1, 2], (0, 1), {}, Thing(), np.int64(7)),
        *(jnp.ones(2), jnp.uint32(3), np.ones(2, np.int32), jnp.ones((2, 3))),
        *(np.zeros((8, 2), np.uint32), jax.random.split(jax.random.key(8), 8)),
        *(np.ones(n, np.uint32) for n in (0, 1, 3, 5)),
        *(deleted(jax.random.key(1)), deleted(jax.random.PRNGKey(1))),
        *(Traced("float32", (2,)), Traced("uint32", (3,)), Traced("int32")),
    ],
    "floats": lambda: [
        *(*NO_ARRAYS, *NO_DTYPES, *BOOLS, *INTEGERS, 3, True, KEY, deleted(jnp.ones((2, 3)))),
        *(Traced("int32", (2, 3)), Traced("bool", (2, 3))),
    ],
    "reals": lambda: [*BAD["floats"](), *COMPLEX, Traced("complex64", (2, 3))],
    "numbers": lambda: [*NO_ARRAYS, *NO_DTYPES, *BOOLS, KEY, Traced("bool", (2, 3))],
    "integers": lambda: [
        *(*(a for a in NO_ARRAYS if a != (1.0,)), *NO_DTYPES, *BOOLS, *FLOATS, *COMPLEX, KEY),
        *([[1, 2], [3]], (1.0,), True, deleted(jnp.ones(3, jnp.int32)), Traced("float32", (2,))),
    ],
    "probabilities": lambda: [
        *(*(a for a in NO_ARRAYS if a != (1.0,)), *NO_DTYPES, *BOOLS, KEY, [[1.0], [0.5, 0.5]]),
        *(0.5, np.ones(3), np.ones((2, 2, 2), np.int32), np.zeros((2, 0)), np.full((2, 3), 3.0)),
        *(np.full((2, 3, 4), NAN), -np.ones((2, 2, 2)), Traced("int32", (2, 2, 2))),
    ],
    "samples": lambda: [
        *(*(a for a in NO_ARRAYS if a != (1.0,)), *NO_DTYPES, *BOOLS, KEY, [[1.0], [0.5, 0.5]]),
        *(0.5, np.ones((2, 2), np.int32), np.zeros((0, 2)), Traced("int32", (2, 2))),
    ],
    "host rate": lambda: [v for v in BAD["rate"]() if np.isscalar(v) or v is None],
    "new rate": lambda: [v for v in BAD["any rate"]() if v is not None],
    "words": lambda: [*(v for v in BAD["integers"]() if v is not None), 6, -1, [0, 99], (-2,)],
    "features": lambda: [*NO_ARRAYS, *NO_DTYPES, *BOOLS, 3, True, KEY, 0.5, jnp.ones(())],
    "rate": lambda: [
        *(
            -0.5,
            1.5,
            NAN,
            INF,
            -INF,
            -1,
            2,
            10**400,
            np.float32(1.5),
            jnp.float32(-0.5),
            jnp.float32(NAN),
        ),
        *(*NO_NUMBERS, [0.5], jnp.array(True), jnp.complex64(0.5), np.array([0.1, -2.0])),
        *(np.array(["0.5"]), np.array([0.5, None], object), np.ones(7), deleted(jnp.ones(()))),
        *(Traced("bool"), Traced("complex64"), Traced("float32", (7,))),
    ],
    "one rate": lambda: [*BAD["rate"](), np.full(2, 0.5), Traced("float32", (2,))],
    "stddev": lambda: [
        *(-0.5, NAN, INF, -INF, -1, 10**400, np.float32(-1), jnp.float32(NAN), *NO_NUMBERS, [0.5]),
        *(jnp.array(True), jnp.complex64(1), np.array([0.1, -2.0]), np.array(["1"]), np.ones(7)),
        *(Traced("bool"), Traced("complex64"), Traced("float32", (7,))),
    ],
    "log_alpha": lambda: [
        *(NAN, *NO_NUMBERS, [0.5], jnp.array(True), jnp.complex64(1), np.array([0.1, NAN])),
        *(np.array(["1"]), np.ones(7), Traced("bool"), Traced("complex64")),
    ],
    "above 0": lambda: [
        *(
            0,
            0.0,
            -1,
            -0.5,
            NAN,
            -INF,
            -(10**400),
            np.float32(0),
            jnp.float32(-1),
            *NO_NUMBERS,
            [1.0],
        ),
        *(jnp.array(True), np.array([1.0, 2.0]), jnp.ones((1,)), Traced("bool")),
    ],
    "0 or above": lambda: [v for v in BAD["above 0"]() if not (np.isscalar(v) and v == 0)],
    "static above 0": lambda: [*BAD["above 0"](), jnp.float32(0.5), Traced("float32")],
    "probability": lambda: [
        0,
        1,
        -0.5,
        1.5,
        NAN,
        INF,
        10**400,
        *NO_NUMBERS,
        [0.5],
        np.array([0.5, 0.1]),
    ],
    "threshold": lambda: [NAN, np.float32(NAN), jnp.float32(NAN), *NO_NUMBERS, [3.0], np.ones(2)],
    "switch": lambda: [
        *("no", "True", "", 0, 1, None, 1.0, [], [True], (False,), {}, b"1", Thing(), np.int32(1)),
        *(np.array([True, False]), jnp.array([True]), jnp.int32(0), jnp.float32(1), 1j, KEY),
    ],
    "static switch": lambda: [*BAD["switch"](), jnp.array(True), Traced("bool")],
    "mode": lambda: [*BAD["switch"](), Traced("int32"), Traced("bool", (2,))],
    "dims": lambda: [
        *(1, None, *NO_SEQUENCES, *OF_NO_INTEGERS, (9,), (-9,), (0, 9), (0, 0), (0, -3, 0)),
    ],
    "axis": lambda: [9, -9, 10**30, *(v for v in NO_INTEGERS if v is not None), (0,), [1]],
    "shape": lambda: [
        *(None, 3, 2.5, -1, *(v for v in NO_SEQUENCES), *OF_NO_INTEGERS, (-1, 2), (2, -3)),
        *(np.array([1.5]), Traced("int32"), Traced("int32", (2,)), [Thing()], KEY),
    ],
    "global_shape": lambda: [*BAD["shape"](), (1,), (1, 1, 1, 1, 1), (0, 0, 0)][1:],
    "offset": lambda: [
        *(3, None, *NO_SEQUENCES, *OF_NO_INTEGERS, (-1,), (2**70,), (np.int64(-1),)),
        *(
            (jnp.int32(-1),),
            (np.array(-3),),
            (0, 1),
            (0,) * 9,
            (jnp.ones(()),),
            (np.array([1, 2]),),
        ),
    ],
    "mesh axes": lambda: [
        *("data", 3, None, *NO_SEQUENCES, (3,), (True,), (1.5,), ((1,),), (b"data",), ({"data"},)),
        *(("data", "data"), (("data", "data"),), (None,) * 9, ("data", *(None,) * 8), (Thing(),)),
    ],
    "mesh axes of what is not there": lambda: [
        v for v in BAD["mesh axes"]() if not (isinstance(v, tuple) and len(v) == 9)
    ],
    "sides": lambda: [-1, *NO_INTEGERS, (1,) * 9, (1.5,), (True,), {1: 1}, b"\x01", (-2,)],
    "count": lambda: [0, -1, -(10**30), *NO_INTEGERS, (2,), [1], NAN],
    "count or None": lambda: [v for v in BAD["count"]() if v is not None],
    "size": lambda: [-1, *NO_INTEGERS, NAN, (2,)],
    "token": lambda: [
        *(v for v in NO_INTEGERS if not isinstance(v, Traced)),
        *(-(10**30), 10**30, (2,), Traced("float32"), Traced("bool")),
    ],
    "tokens": lambda: [3, *NO_SEQUENCES, (1.5,), ("0",), (None,), (True,), (10**30,)],
    "null": lambda: [
        *(
            *NO_ARRAYS,
            *NO_DTYPES,
            *BOOLS,
            *INTEGERS,
            *COMPLEX,
            True,
            KEY,
            np.ones(7),
            jnp.ones((9, 1)),
        ),
        *(deleted(jnp.ones(1)), Traced("bool"), Traced("complex64"), Traced("float32", (7,))),
    ],
    "modalities": lambda: [None, 3, "text", [1], jnp.ones(3), {}, {"a": "text"}, (1.0,), Thing()],
    "graph": lambda: [
        None,
        3,
        "text",
        [1],
        jnp.ones(3),
        {},
        (np.arange(3), np.arange(2)),
        (1.0, 2.0),
        Thing(),
    ],
    "finite or traced": lambda: [v for v in BAD["finite"]() if not isinstance(v, Traced)],
    "share": lambda: [v for v in BAD["probability"]() if not (np.isscalar(v) and v in (0, 1))],
    "vocabulary": lambda: [*BAD["count"](), 10**30],
    "ends": lambda: [*BAD["integers"](), np.ones(3, int)],
    "named": lambda: [None, 3, "text", [1], jnp.ones(3), {"a": "text"}, {3: 0.5}, Thing()],
    "axis name": lambda: [None, 3, 1.5, True, b"rows", ("rows",), {}, Thing()],
    "choice": lambda: ["other", "", None, 3, True, b"fast", ["fast"], {}, 1.5, Thing()],
    "function": lambda: ["f", 3, 1.5, True, [], {}, np.ones(3), KEY],
    "function!": lambda: [None, *BAD["function"]()],
    "tree": lambda: [None, 3, "text", [1], jnp.ones(3), {}, {"kernel": jnp.ones(3)}, Thing()],
    "dicts": lambda: [None, 3, "text", [1], [], {}, jnp.ones(3), [{"kernel": 1}] * 2, Thing()],
    "names": lambda: [None, 3, "hf", 1.5, (3,), {"hf": 1}, (None,), Thing()],
    "path": lambda: [None, 3, "cell/hf/kernel", 1.5, Thing()],
    "padding": lambda: [
        *(1, None, "same?", b"SAME", {0: 1}, 1.5, (1,), ("SAME",), ((1,),), ((1, 2),) * 9),
        *(((1.5, 1),), ((True, 1),), (("1", 1),), Thing()),
    ],
    "scores": lambda: [
        *("text", None, {"a": 1.0}, Thing(), [], [NAN], np.array(["a"]), np.ones(2, bool), KEY),
        *(np.ones(2, complex), [[1.0], [1.0, 2.0]], [None], 0),
    ],
    "losses": lambda: [
        v for v in BAD["scores"]() if not (isinstance(v, np.ndarray) and v.dtype.kind == "b")
    ],
    "observations": lambda: [
        *("text", None, {"a": 1.0}, Thing(), [], np.array(["a"] * 4), np.ones(4, bool), KEY, 0),
        *(np.ones(3), np.ones((1, 4)), jnp.ones(4, jnp.complex64), Traced("bool", (4,))),
    ],
    "mask": lambda: [
        *("text", None, 3, 0.5, {"a": True}, Thing(), [[True], [True, False]], np.ones((64, 64))),
        *(np.ones((64, 64), int), KEY, np.zeros((0, 64), bool), np.ones((2, 2), bool)),
        *(np.array(["a"]), deleted(jnp.ones((64, 64), bool))),
    ],
    "support": lambda: [
        *(3, "ab", (1.0,), (1.0, 0.0), (0.0, NAN), (0.0, INF), ("0", "1"), (None, 1.0), {0: 1}),
        *((0.0, 1.0, 2.0), (True, 2.0), Thing()),
    ],
    "sharding": lambda: ["samples", 3, {}, jax.devices(), jax.devices()[0], Thing()],
    "state": lambda: [None, 3, "state", {}, Thing()],
    "mesh": lambda: [3, "data", (1,), {}, Thing()],
    "transformation": lambda: [None, 3, "sgd", {}, 0.1, Thing()],
    "axes of a sweep": lambda: [None, 3, "rate", [1], {}, {"rate": 3}, {"rate": "a"}, Thing()],
    "part": lambda: [
        *(3, "1/2", "12", (1,), (0, 2), (3, 2), (1, 2, 3), (-1, 2), (1.0, 2), (True, 2), {1: 2}),
        *(("1", "2"), (None, 2), Thing()),
    ],
    "shared of a sweep": lambda: [3, "x", [1], ("x",), Thing(), jnp.ones(2)],
    "rules": lambda: [3, "x", [1], ("x",), Thing(), jnp.ones(2)],
    "data": lambda: [None, 3, "rows", {}, (), np.ones(()), np.array(["a"] * 3), Thing(), KEY],
    "data or None": lambda: [v for v in BAD["data"]() if v is not None],
    "config": lambda: [3, "x", [1], ("x",), Thing(), {"f": Thing()}, {"a": KEY}],
    "folder": lambda: [3, 1.5, [], {}, Thing()],
    "folder!": lambda: [None, *BAD["folder"]()],
    "model": lambda: [None, "model", 3, jnp.ones(3), {}, Thing()],
    "models": lambda: [*BAD["model"](), [], [3], ["f"], (None,), [Thing()]],
    "streams": lambda: [0, "dropout", KEY, {"dropout": KEY}, Thing()],
    "finite": lambda: [NAN, INF, *NO_NUMBERS, [1.0], np.ones(2), Traced("float32")],
    "window": lambda: [
        0,
        (0,),
        (3, -1),
        *(v for v in NO_INTEGERS if not isinstance(v, np.ndarray)),
    ],
    "flax's mode": lambda: ["no", [True], {}, b"1", 1.0, Thing(), np.array([True, False]), KEY],
    "any rate": lambda: [v for v in BAD["rate"]() if len(shape_of(v)) != 1],
    "axes": lambda: ["0", b"0", 1.5, (0, 0), (1.5,), (True,), {0: 1}, Thing(), (None,)],
    "hidden state": lambda: [v for v in BAD["floats"]() if not isinstance(v, tuple)],
    "reals or None": lambda: [v for v in BAD["reals"]() if v is not None],
    "choice or None": lambda: [v for v in BAD["choice"]() if v is not None],
    "integers or None": lambda: [v for v in BAD["integers"]() if v is not None],
    "scale or None": lambda: [
        v for v in BAD["finite"]() if v is not None and not isinstance(v, Traced)
    ],
    "pairs": lambda: [
        *("text", 3, {"a": True}, Thing(), [[True], [True, False]], np.ones((3, 3)), KEY),
        *(np.ones((4, 3, 3), int), np.zeros((2, 2), bool), np.ones((2, 4, 3, 2), bool)),
        *(np.ones((1,) * 5, bool), deleted(jnp.ones((1, 1, 3, 3), bool))),
    ],
    "sides of a window": lambda: [-1, (3, -1), (1,), (1, 2, 3), "3", 1.5, (1.5, 2), True, Thing()],
    "seed": lambda: [-1, 2**32, 2**70, *NO_INTEGERS, (2,)],
}


@functools.cache
def bad_values(kind: str) -> list[Any]:
    return BAD[kind]()
