"""import jaxdrop takes no more than it needs; its submodules are there when they are named."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxdrop

SUBMODULES = sorted(
    module.name for module in pkgutil.iter_modules(jaxdrop.__path__) if module.name[0] != "_"
)

FRESH = """
import sys, jaxdrop
loaded = [m for m in sys.modules if m.split(".")[0] in ("flax", "orbax")]
assert not loaded, loaded
assert not [m for m in sys.modules if m.startswith("jaxdrop.") and m[8] != "_"]
names = dir(jaxdrop)
assert names == sorted(names) and "dropout" in names and "__version__" in names
for wrong in ("dropuot", "trainin"):
    try:
        eval(f"jaxdrop.{wrong}")
    except AttributeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
from jaxdrop import nnx
for name in sys.argv[1:]:
    assert name in names
    assert getattr(jaxdrop, name) is sys.modules["jaxdrop." + name] is vars(jaxdrop)[name]
assert jaxdrop.nnx is nnx and jaxdrop.linen.Dropout and jaxdrop.training.fit
assert not [name for name in {*dir(jaxdrop)} - {*names} if name[0] != "_"]
"""


@pytest.mark.slow
def test_a_fresh_process_imports_submodules_when_they_are_named() -> None:
    assert SUBMODULES == "linen mc nnx recurrent surgery testing training variational".split()
    command = [sys.executable, "-c", FRESH, *SUBMODULES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for wrong, right in (("dropuot", "dropout"), ("trainin", "training")):
        hint = f"module 'jaxdrop' has no attribute '{wrong}'. Did you mean: '{right}'?"
        assert hint in done.stderr


def test_an_unknown_name_is_python_s_own_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'jaxdrop' has no attribute 'nosuch'$"):
        jaxdrop.nosuch  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(jaxdrop, "nosuch")
    with pytest.raises(ImportError, match="cannot import name 'nosuch' from 'jaxdrop'"):
        from jaxdrop import nosuch  # type: ignore[attr-defined]  # noqa: F401


def test_a_type_checker_sees_the_submodules_and_no_function_that_finds_any_name() -> None:
    tree = ast.parse(Path(jaxdrop.__file__).read_text())
    (choice,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(choice.test) == "TYPE_CHECKING"  # the one form that all of them know
    assert [ast.unparse(node) for node in choice.body] == [
        f"from jaxdrop import {name} as {name}" for name in SUBMODULES
    ]
    assert not any(isinstance(node, ast.FunctionDef) for node in [*tree.body, *choice.body])
