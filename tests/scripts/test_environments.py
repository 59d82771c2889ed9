"""Which environment a script makes: for the device that is there, the newest jax, a compiler."""

import platform
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.scripts.checkout import FAKE_PYTHON, ROOT, RUN, Checkout

# What nvidia-smi prints when it is asked for the driver's version.
NVIDIA_SMI = "#!/bin/sh\n[ $1 = --query-gpu=driver_version ] && echo {version} && echo {version}\n"
no_driver = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists() or Path("/dev/accel0").exists(),
    reason="a device is here",
)


@no_driver
@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "installed", "said"),
    [
        ("580.65.06", "install cuda13]", "for cuda13: the NVIDIA driver here is of version 580"),
        ("570.1", "install cuda12]", "for cuda12: the NVIDIA driver here is of version 570"),
        (
            "470.82.01",
            "install",
            "for cpu: the NVIDIA driver here is of version 470, and jax needs",
        ),
        ("", "install", "for cpu: no driver of a GPU or TPU is here"),
    ],
)
def test_jax_is_installed_for_the_device_that_is_there(
    tmp_path: Path, version: str, installed: str, said: str
) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    if version:
        checkout.program("nvidia-smi", NVIDIA_SMI.format(version=version))
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert (done.returncode, asked) == (0, ["venv", installed, RUN]), done.stderr
    assert [line for line in done.stderr.splitlines() if said in line]


MODULES = {
    "NVIDIA's": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC 12",
    "open": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build",
}
INSTALLED = {"NVIDIA's": "install cuda12]", "open": "install cuda13]"}


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_the_kernel_module_says_its_version(tmp_path: Path, module: str) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.system({"/proc/driver/nvidia/version": MODULES[module]})
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["venv", INSTALLED[module], RUN], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("node", ["/dev/accel0", "/dev/vfio/0"])
@pytest.mark.parametrize(("maker", "installed"), [("0x1ae0", "tpu"), ("0x8086", "cpu")])
def test_a_tpu_has_device_files_of_google_s(
    tmp_path: Path, node: str, maker: str, installed: str
) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.system({node: "", "/sys/bus/pci/devices/0000:00:05.0/vendor": maker})
    done, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["venv", "install tpu]" if installed == "tpu" else "install", RUN], done.stderr
    assert f"for {installed}: " in done.stderr


@pytest.mark.parametrize("extra", ["cuda12", "cuda13", "tpu"])
def test_an_extra_asks_for_the_build_of_jax_for_its_device(extra: str) -> None:
    """jax's own extra of the same name, from the version on that the library needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (plain,) = (name for name in project["dependencies"] if name.startswith("jax>"))
    assert project["optional-dependencies"][extra] == [plain.replace("jax", f"jax[{extra}]")]


@no_driver
@pytest.mark.slow
def test_an_environment_for_the_cpu_is_brought_up_to_date_when_a_gpu_comes(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    checkout.run("quickstart")
    checkout.program("nvidia-smi", NVIDIA_SMI.format(version="580.65.06"))
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == ["install cuda13]", RUN]
    _, asked = checkout.run("quickstart", "--seed", "1")
    assert asked == [RUN]


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["cuda12", "cuda13", "tpu", "cpu"])
def test_the_device_can_be_chosen(tmp_path: Path, chosen: str) -> None:
    checkout = Checkout(tmp_path, "3.11.4")
    done, asked = checkout.run("quickstart", "--seed", "1", JAXDROP_ACCELERATOR=chosen)
    assert asked == ["venv", "install" if chosen == "cpu" else f"install {chosen}]", RUN]
    assert f"for {chosen}: JAXDROP_ACCELERATOR says so" in done.stderr


@pytest.mark.slow
def test_an_unknown_device_gets_a_sentence(tmp_path: Path) -> None:
    done, asked = Checkout(tmp_path, "3.11.4").run("quickstart", JAXDROP_ACCELERATOR="gpu")
    expected = "got JAXDROP_ACCELERATOR=gpu, expected auto, cpu, cuda12, cuda13 or tpu\n"
    assert (done.returncode, done.stderr, asked) == (2, expected, [])


# A shim of pyenv's: it is found, and does not run unless its version was chosen.
SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"
TESTS = ["venv", "install newest", "pytest"]


@pytest.mark.slow
def test_the_newest_versions_have_an_environment_of_their_own(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    _, asked = checkout.run("-k", "none", script="scripts/test")
    assert asked == ["venv", "install", "pytest"]
    done, asked = checkout.run("--newest", "-k", "none", script="scripts/test")
    assert (done.returncode, asked) == (0, TESTS), done.stderr
    assert (checkout.root / ".venv-newest" / "jaxdrop-stamp").exists()
    with open(checkout.root / "constraints.txt", "a") as file:
        file.write("# changed\n")
    _, asked = checkout.run("--newest", script="scripts/test")
    assert asked == ["pytest"]
    with open(checkout.root / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    _, asked = checkout.run("--newest", script="scripts/test", INSTALL_FAILS="1")
    assert asked == TESTS[:2]
    done, asked = checkout.run("--newest", script="scripts/test", TESTS_FAIL="3")
    assert (done.returncode, asked) == (3, TESTS)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the compilers are for x86_64 only")
@pytest.mark.parametrize(("device", "steps"), [("gpu", 2), ("tpu", 1)])
@pytest.mark.parametrize("newest", [False, True])
def test_the_compilers_for_devices_have_environments_of_their_own(
    tmp_path: Path, device: str, steps: int, newest: bool
) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    args = [device, *["--newest"] * newest]
    proof = f"run -P -m scripts.proofs.{' '.join(args)}"
    installs = ["install newest" if newest else "install"] * steps
    done, asked = checkout.run(*args, script="scripts/prove")
    assert (done.returncode, asked) == (0, ["venv", *installs, proof]), done.stderr
    name = f".venv-prove-{device}" + "-newest" * newest
    assert (checkout.root / name / "jaxdrop-stamp").exists()
    assert not (checkout.root / ".venv").exists()
    done, asked = checkout.run(*args, script="scripts/prove")
    assert (done.returncode, asked, done.stderr) == (0, [proof], "")


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the compilers are for x86_64 only")
def test_the_newest_compilers_need_a_newer_python(tmp_path: Path) -> None:
    done, asked = Checkout(tmp_path, "3.11.4").run("gpu", "--newest", script="scripts/prove")
    assert (done.returncode, asked) == (69, [])
    assert "The newest jax needs Python 3.12 or newer; found Python 3.11.4" in done.stderr


@pytest.mark.slow
def test_the_quick_tier_leaves_out_what_is_slow(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    done, asked = checkout.run("--quick", script="scripts/test", TESTS_FAIL="3")
    assert (done.returncode, asked) == (3, ["venv", "install", "quick pytest"]), done.stderr


@pytest.mark.slow
def test_a_shim_that_does_not_run_is_passed_over_for_what_pyenv_holds(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "3.12.1")
    (checkout.bin / "python3").rename(checkout.bin / "mine")
    checkout.program("python3.13", SHIM)
    checkout.program("python3", SHIM)
    for folder in ("3.6.15", "3.12.1"):
        checkout.program(f"versions/{folder}/bin/python3", FAKE_PYTHON)
    checkout.program("pyenv", f"#!/bin/sh\necho '{checkout.bin}'\n")
    done, asked = checkout.run("--newest", script="scripts/test")
    assert (done.returncode, asked) == (0, TESTS), done.stderr
    stamp = (checkout.root / ".venv-newest" / "jaxdrop-stamp").read_text()
    assert stamp.endswith(f"{checkout.bin}/versions/3.12.1/bin/python3\n")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12.1", "3.11.4"])
@pytest.mark.parametrize(
    "oldest, newest, site",
    [("0", "0", "0"), ("1", "0", "0"), ("0", "1", "0"), ("2", "1", "0"), ("0", "0", "1")],
)
def test_ci_fails_with_either_set_of_versions_and_with_the_site(
    tmp_path: Path, version: str, oldest: str, newest: str, site: str
) -> None:
    checkout = Checkout(tmp_path, version)
    (checkout.bin / "bash").symlink_to(shutil.which("bash") or "")
    (checkout.bin / "env").symlink_to(shutil.which("env") or "")
    fails = {"TESTS_FAIL": oldest, "NEWEST_FAILS": newest, "SITE_FAILS": site}
    done, asked = checkout.run(script=".ci/run", **fails)
    assert asked[-3:] == ["venv", "install", "site"]
    if version == "3.12.1":  # two environments, side by side
        tests = [said for said in asked if "pytest" in said]
        assert tests == ["pytest", "newest pytest"], done.stderr
        others = sorted(said for said in asked[:-3] if said not in tests)
        assert others == ["install", "install newest", "venv", "venv"]
        assert done.returncode == (int(oldest) or int(newest) or int(site))
    else:
        assert asked[:-3] == ["venv", "install", "pytest"]
        assert done.returncode == (int(oldest) or int(site))
        assert "The newest jax was not tested" in done.stderr
