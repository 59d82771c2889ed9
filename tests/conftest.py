"""What every test runs under: strict jax, eight CPU devices, repeatable examples."""

import os

# Read by XLA when its first backend starts, hence before anything below touches a device.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8"]
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Iterator  # noqa: E402  (the environment comes first)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

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


@pytest.fixture(scope="module")
def unoptimised() -> Iterator[None]:
    """Compile large programs faster; they run slower, and may round otherwise.

    For files about what a run stores, says and goes on from; commands that they start included.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # other files test what users run


@pytest.fixture
def x64() -> Iterator[None]:
    """Run the test with ``jax_enable_x64`` on."""
    with jax.enable_x64(True):
        yield
