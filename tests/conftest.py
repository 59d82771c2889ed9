"""What every test runs under: strict jax, eight CPU devices, repeatable examples.

A test that starts a process, or takes long, is marked ``slow``; any other may start none.
"""

import gc
import importlib.metadata
import os
import sys
import tempfile

# Read by XLA when its first backend starts, hence before anything below touches a device.
# Compiling is most of what the tests do. At level 3 and with fusion emitters, which users have, it
# takes more than twice as long. The caller's own flags come last, and count; with a level of its
# own, it gets all that belongs to it.
flags = ["--xla_force_host_platform_device_count=8"]
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    flags.append("--xla_backend_optimization_level=0")
    if importlib.metadata.version("jaxlib").startswith("0.10."):  # later ones end at such a flag
        flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Generator, Iterator  # noqa: E402  (the environment comes first)
from typing import Any  # noqa: E402

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_enable_x64", False)

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,  # the same examples in every run: a red test stays red until it is mended
    deadline=None,  # the first example of a shape pays for its compilation
    max_examples=25,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # for the same reason
)
hypothesis.settings.load_profile("ci")


STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
running: list[pytest.Item] = []  # the test that runs, unless it is marked slow


def refuse(event: str, args: tuple[Any, ...]) -> None:
    """Called by Python before it starts a process, among much else."""
    if running and event in STARTS:
        pytest.fail(f"{event}: a test that starts a process is marked @pytest.mark.slow")


sys.addaudithook(refuse)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow ones first: at the end, one that is long would leave the other workers idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    gc.freeze()  # what is imported stays to the end; no collection need walk over it


MOST_PROGRAMS = 1000  # of one worker at a time
compiled = 0


def count_programs(event: str, duration_secs: float, **kwargs: Any) -> None:
    global compiled
    compiled += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(count_programs)


def forget_programs() -> None:
    """Drop jax's caches when they hold many programs.

    Jax keeps what it lowered, each program in an MLIR context of its own, and what makes a new one
    walks over all that are alive, so that every program costs more than the one before.
    """
    global compiled
    if compiled >= MOST_PROGRAMS:
        jax.clear_caches()
        gc.collect()
        compiled = 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fixtures included, hence no fixture."""
    if item.get_closest_marker("slow") is None:
        running.append(item)
    try:
        return (yield)
    finally:
        running.clear()
        forget_programs()


@pytest.fixture(scope="session", autouse=True)
def compile_once() -> Iterator[None]:
    """Keep compiled programs: tests, and processes that they start, compile the same ones often.

    Each worker has a folder of its own: jax writes to it without a lock.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # the caller's, or the test's that started this
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "jax_compilation_cache_dir": folder,
            "jax_persistent_cache_min_compile_time_secs": 0.0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
        for name, value in options.items():
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)
        compilation_cache.reset_cache()
        yield


@pytest.fixture
def x64() -> Iterator[None]:
    """Run the test with ``jax_enable_x64`` on."""
    with jax.enable_x64(True):
        yield
