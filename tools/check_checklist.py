#!/usr/bin/env python3
"""Checks that every test named in docs/checklist.md is in the sources, and that no row is there twice.

A test is `Suite.Case` in backticks, or a file of statements, `tests/sql/x/y.test`, that must be there and not say
"# pending:". Where it does, the row says so too (its remark begins with "pending"); such rows are named, and one
whose file is no longer pending is wrong. Programs: `check_checklist.py` checks the tree it lies in, `check_checklist.py
--self-test` checks that a missing test is caught.
"""

import argparse
import pathlib
import re
import sys
import tempfile

DOCUMENT = "docs/checklist.md"
NAMED = re.compile(r"`([A-Za-z]\w*)\.(\w+)`")
CASE = re.compile(r"^\s*(?:TEST|TEST_F|TEST_P)\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
FILE = re.compile(r"`(tests/sql/[\w/]+\.test)`")
PENDING = re.compile(r"\| pending\b[^|]*\|$")
ROW = re.compile(r"^\| (\d+) \|")


def cases_of(root):
    found = set()
    for folder in ("src", "tests"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".cc", ".h"):
                found.update(CASE.findall(file.read_text(encoding="utf-8")))
    return found


def is_pending(file):
    return file.read_text(encoding="utf-8").startswith("# pending:")


def pending_rows(root):
    lines = (root / DOCUMENT).read_text(encoding="utf-8").splitlines()
    return [ROW.match(line).group(1) for line in lines if ROW.match(line) and PENDING.search(line)]


def check_tree(root):
    """Yields one message for each wrong line."""
    cases = cases_of(root)
    rows = set()
    for number, line in enumerate((root / DOCUMENT).read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            rows.clear()
        row = ROW.match(line)
        if row and row.group(1) in rows:
            yield f"{DOCUMENT}:{number}: row {row.group(1)} is in this section twice"
        if row:
            rows.add(row.group(1))
            if not NAMED.search(line) and not FILE.search(line):
                yield f"{DOCUMENT}:{number}: row {row.group(1)} names no test (`Suite.Case` or `tests/sql/….test`)"
        waits = False
        for name in FILE.findall(line):
            if not (root / name).is_file():
                yield f"{DOCUMENT}:{number}: no file {name}: renamed or removed?"
            elif is_pending(root / name):
                waits = True
                if not PENDING.search(line):
                    yield f"{DOCUMENT}:{number}: {name} is pending: nothing shows this row"
        if row and PENDING.search(line) and not waits:
            yield f"{DOCUMENT}:{number}: row {row.group(1)} says pending, but no file of it is"
        for suite, case in NAMED.findall(line):
            # Files are named in backticks as well: a test's suite begins with a capital letter.
            if suite[0].isupper() and (suite, case) not in cases:
                yield f"{DOCUMENT}:{number}: no test {suite}.{case} in src/ or tests/: renamed or removed?"


def self_test():
    source = "TEST_F(ATest, Works) {}\nTEST_P(BTest,\n       WorksToo) {}\n"
    cases = [
        ("| 1 | x | `ATest.Works` | `BTest.WorksToo`, `tools/x.py` |", None),
        ("| 1 | x | `ATest.Work` | |", "no test ATest.Work "),
        ("| 1 | x | | |", "names no test"),
        ("| 1 | x | `ATest.Works` | |\n| 1 | y | `ATest.Works` | |", "twice"),
        ("| 1 | x | `ATest.Works` | |\n## Next\n| 1 | y | `ATest.Works` | |", None),
        ("| 1 | x | `tests/sql/a/there.test` | |", None),
        ("| 1 | x | `tests/sql/a/gone.test` | |", "no file tests/sql/a/gone.test"),
        ("| 1 | x | `tests/sql/a/waits.test` | |", "tests/sql/a/waits.test is pending"),
        ("| 1 | x | `tests/sql/a/waits.test` | pending |", None),
        ("| 1 | x | `tests/sql/a/waits.test` | pending: the other half |", None),
        ("| 1 | x | `tests/sql/a/there.test` | pending |", "says pending, but no file of it is"),
    ]
    wrong = 0
    for text, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, content in (
                ("src/a_test.cc", source),
                ("tests/sql/a/there.test", "# description: a\n"),
                ("tests/sql/a/waits.test", "# pending: b\n"),
                (DOCUMENT, text + "\n"),
            ):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(content, encoding="utf-8")
            messages = list(check_tree(root))
        good = not messages if expected is None else len(messages) == 1 and expected in messages[0]
        if not good:
            wrong += 1
            print(f"self-test: {text!r}: expected {expected!r}, got {messages}")
    print(f"check_checklist --self-test: {len(cases)} cases, {wrong} wrong")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check that a missing test is caught")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    arguments = parser.parse_args()
    if arguments.self_test:
        return 1 if self_test() else 0
    messages = list(check_tree(arguments.root))
    for message in messages:
        print(message)
    pending = pending_rows(arguments.root)
    print(f"check_checklist: {len(messages)} violations" + (f"; pending rows: {', '.join(pending)}" if pending else ""))
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
