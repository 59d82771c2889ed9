"""Which files name the members of the family, at two commits: what adding one touches.

    .venv/bin/python -m scripts.member_files 96140c0 HEAD [--files MEMBER]

A file counts if the name of a member's function or layer occurs in it as a word. One that names
five members or more is nearly always a list of them, to which a new one has to be added; the others
are a member's own, or take it as an example. Left out are results, the changelog, ``dropout``,
which all files name, and the page whose rows ``scripts/gallery --docs`` writes from the records.
"""

import argparse
import collections
import re
import statistics
import subprocess

from scripts.members import RECORDS
from scripts.members._record import Record


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode > 1:  # 1 is what grep says for nothing found
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()


def naming(record: Record, commit: str) -> list[str]:
    """The files at a commit that name the member."""
    layers = [name for layer in record.layers for name in (layer.name, layer.nnx_name) if name]
    words = [word for name in {*record.functions, *layers} for word in ("-e", rf"\b{name}\b")]
    outside = [":!results", ":!CHANGELOG.md"]
    if git("ls-tree", "--name-only", commit, "scripts/members/"):
        outside.append(":!docs/family.md")
    found = git("grep", "-lP", *words, commit, "--", ".", *outside)
    return sorted(re.sub(f"^{commit}:", "", path) for path in found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts.member_files", description=__doc__)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--files", metavar="MEMBER", help="list its files instead")
    given = parser.parse_args()
    if given.files:
        (record,) = [record for record in RECORDS if record.name == given.files]
        for commit in (given.before, given.after):
            print(commit, *naming(record, commit), sep="\n  ")
        return
    for commit in (given.before, given.after):
        files = [naming(record, commit) for record in RECORDS if record.name != "dropout"]
        members = collections.Counter(file for of_one in files for file in of_one)
        lists = [f"{file} ({n})" for file, n in members.most_common() if n >= 5]
        median = statistics.median(map(len, files))
        print(f"{commit}: {len(lists)} files name five members or more, {median:g} the median one")
        print(*lists, sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
