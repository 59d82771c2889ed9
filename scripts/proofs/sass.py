"""From PTX to machine code, and what its instructions are."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

# What is not arithmetic on integers, by the first letters of its name: memory, control, floats.
_OTHER = (
    *("LD", "ST", "ULD", "S2", "CS2", "F", "HF", "HADD", "HMUL", "HSET", "MUFU", "BRA", "EXIT"),
    *("NOP", "BAR", "BSSY", "BSYNC", "CALL", "RET", "R2UR", "CCTL", "DEPBAR", "WARPSYNC", "I2F"),
)


def kernels(ptx: Path) -> dict[str, list[str]]:
    """Assemble for the H200 and list the instructions of each kernel."""
    cubin = ptx.with_suffix(".cubin")
    subprocess.run([_tool("ptxas"), "-arch=sm_90a", ptx, "-o", cubin], check=True)
    done = subprocess.run(
        [_tool("nvdisasm"), "-c", cubin], check=True, capture_output=True, text=True
    )
    parts = re.split(r"^\.text\.(\S+):$", done.stdout, flags=re.MULTILINE)
    operation = r"/\*[0-9a-f]{4}\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]+)"
    return {
        name: re.findall(operation, code)
        for name, code in zip(parts[1::2], parts[2::2], strict=True)
    }


def usage(ptx: Path) -> str:
    """Return what ptxas says of registers and spills."""
    done = subprocess.run(
        [_tool("ptxas"), "-arch=sm_90a", "-v", ptx, "-o", ptx.with_suffix(".cubin")],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stderr


def per_element(operations: list[str], itemsize: int) -> dict[str, float]:
    """Count integer and all instructions for each element that a thread stores."""
    stored = sum(_bytes(o) for o in operations if o.startswith("STG")) / itemsize
    if not stored:
        raise ValueError("this kernel stores nothing with STG; its elements cannot be counted")
    names = [o.split(".")[0] for o in operations]
    integer = sum(not n.startswith(_OTHER) for n in names)
    return {
        "elements per thread": stored,
        "integer": integer / stored,
        "all": sum(n != "NOP" for n in names) / stored,
        "local memory": sum(Counter(names)[n] for n in ("LDL", "STL")),
    }


def _bytes(store: str) -> int:
    for suffix, count in ((".128", 16), (".64", 8), (".U16", 2), (".U8", 1)):
        if suffix in store:
            return count
    return 4


def _tool(name: str) -> str:
    """Find a tool in this environment; PyPI packages bring them."""
    found = sorted(Path(sys.prefix).glob(f"lib/python*/site-packages/nvidia/*/bin/{name}"))
    if not found:
        raise FileNotFoundError(f"{sys.prefix} holds no {name}; scripts/prove gpu installs it")
    return str(found[0])
