"""Imports point downward only, and importing the core brings no Flax along."""

import ast
import doctest
import importlib
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "jaxdrop"
FLOORS = {
    "_core": 0,
    "_attention": 1,
    "_functional": 1,
    "_flax": 2,
    "linen": 3,
    "nnx": 3,
    "testing": 3,
    "training": 4,
    "mc": 5,
    "surgery": 5,
}
FORBIDDEN = {"bernoulli", "uniform", "normal", "bits", "randint", "choice", "categorical"}


def level(module: str) -> int:
    """The floor of a module's folder; the package's own names are the members'."""
    package, *folders = module.split(".")
    if package != "jaxdrop":
        return 6
    return FLOORS[folders[0]] if folders and folders[0] in FLOORS else 1


def test_every_folder_has_its_floor():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == set(
        FLOORS
    )


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


class _WithoutTypes(ast.NodeTransformer):
    """Leave out what only a type checker reads."""

    def visit_If(self, node):
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else node


def imports(path):
    for node in ast.walk(_WithoutTypes().visit(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module != "jaxdrop":
                yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: str(v)[-40:])
def test_imports_point_downward(module, path):
    for name in imports(path):
        if name.split(".")[0] in ("jaxdrop", "experiments", "scripts", "tests"):
            assert level(name) <= level(module), f"{module} imports {name} from a layer above"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: str(v)[-40:])
def test_only_the_bits_draw(module, path):
    if module == "jaxdrop._core.mask":
        return  # bits="key" draws what flax draws
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("jax.random", "random"):
            assert node.attr not in FORBIDDEN, f"{module} draws by jax.random.{node.attr}"


@pytest.mark.slow
def test_the_core_imports_no_flax():
    code = "import jaxdrop, sys; sys.exit('flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("module", [m for m, path in modules() if ">>>" in path.read_text()])
def test_the_examples_of_the_docstrings_run(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried and not failed, f"{module}: {failed} of {tried} examples failed"
