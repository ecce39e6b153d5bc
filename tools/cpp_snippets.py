#!/usr/bin/env python3
"""The ```cpp blocks of a page, one after the other, without their #include lines: cpp_snippets.py PAGE OUT.

tests/behaviour/guide_test.cc compiles and runs them, so that what the pages show is true.
"""

import pathlib
import re
import sys


def main():
    page, out = map(pathlib.Path, sys.argv[1:])
    blocks = re.findall(r"^```cpp\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    if not blocks:
        sys.exit(f"{page}: no cpp block")
    lines = "".join(blocks).splitlines(keepends=True)
    out.write_text("".join(line for line in lines if not line.startswith("#include")), encoding="utf-8")


if __name__ == "__main__":
    main()
