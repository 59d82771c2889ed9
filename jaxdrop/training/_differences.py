"""differences: what is not as it was, in words; for all that is stored and compared."""

from typing import Any


def differences(there: Any, here: Any) -> str:
    """Name the leaves of two nested dicts that are not equal, three at most; "" if all are.

    >>> differences({"seed": 0, "config": {"rate": 0.5}}, {"seed": 1, "config": {}})
    'config.rate: 0.5 there, absent here; seed: 0 there, 1 here'
    """
    was, now = _leaves(there), _leaves(here)
    odd = [k for k in sorted(was | now) if was.get(k, "absent") != now.get(k, "absent")]
    shown = [f"{k}: {was.get(k, 'absent')} there, {now.get(k, 'absent')} here" for k in odd[:3]]
    return "; ".join(shown + ["..."] * (len(odd) > 3))


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {
        name: leaf
        for key, branch in tree.items()
        for name, leaf in _leaves(branch, f"{path}.{key}" if path else str(key)).items()
    }
