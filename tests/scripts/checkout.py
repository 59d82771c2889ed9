"""A copy of the scripts, on a machine whose every program is faked."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ["cat", "cksum", "cp", "dirname", "grep", "mkdir", "rm", "sed", "sh", "uname"]
# Stands in for python3: answers the version question, "makes" environments, logs what it is asked.
FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
    *"sys.exit(sys.version_info < (3, 11))"*) exit $((MINOR < 11)) ;;
    *"sys.exit(sys.version_info < (3, 12))"*) exit $((MINOR < 12)) ;;
    *print*) echo "Python $VERSION" ;;
    "-m venv"*) echo venv >>"$LOG"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    *pip\\ install*constraints.txt*dev,*) echo "install ${*##*dev,}" >>"$LOG" ;;
    *pip\\ install*constraints.txt*) echo install >>"$LOG"; exit ${INSTALL_FAILS:-0} ;;
    *pip\\ install*) echo "install newest" >>"$LOG"; exit ${INSTALL_FAILS:-0} ;;
    *-m\\ pytest*--version*) ;;
    *-m\\ pytest*-m\\ not\\ slow*) echo "quick pytest" >>"$LOG"; exit ${TESTS_FAIL:-0} ;;
    *-m\\ pytest*test_golden*) echo "newest pytest" >>"$LOG"; exit ${NEWEST_FAILS:-0} ;;
    *-m\\ pytest*) echo "pytest" >>"$LOG"; exit ${TESTS_FAIL:-0} ;;
    *-m\\ scripts.site*) echo site >>"$LOG"; exit ${SITE_FAILS:-0} ;;
    *-m\\ experiments* | *-m\\ scripts*) echo "run $*" >>"$LOG" ;;
esac
"""


class Checkout:
    """A copy of the scripts, on a machine that holds a few tools and one fake python3."""

    def __init__(self, folder: Path, version: str):
        self.root, self.bin, self.log = folder / "a copy", folder / "bin", folder / "log"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("_env", "docs", "prove", "run", "test"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts")
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        self.bin.mkdir()
        for tool in TOOLS:
            where = shutil.which(tool)
            assert where, f"the machine has no {tool}"
            (self.bin / tool).symlink_to(where)
        self.program("python3", FAKE_PYTHON)
        minor = version.split(".")[1]
        self.env = {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "VERSION": version,
            "MINOR": minor,
        }

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def system(self, files: dict[str, str]) -> None:
        """Let the scripts find these files of the system, and no others of its kind."""
        there, script = self.root.parent / "system", self.root / "scripts" / "_env"
        text = script.read_text()
        for top in ("/proc/", "/dev/", "/sys/"):
            text = text.replace(f" {top}", f" {there}{top}")
        script.write_text(text)
        for place, content in files.items():
            (there / place[1:]).parent.mkdir(parents=True, exist_ok=True)
            (there / place[1:]).write_text(content)

    def run(
        self, *args: str, script: str = "scripts/run", **env: str
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Call a script from elsewhere; return the outcome and what python3 was asked to do."""
        self.log.write_text("")
        done = subprocess.run(
            [self.root / script, *args],
            env=self.env | env,
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done, self.log.read_text().splitlines()


RUN = "run -P -m experiments quickstart --seed 1"
