#!/usr/bin/env python3
"""Checks that includes in src/ and include/ point down the layer list, and that outside libraries use their door.

The tables below are the layer list of ARCHITECTURE.md as data: change them together. A module may include itself, base,
the public headers (lamina/) and what its row names. Programs: `check_layers.py` checks the tree it lies in,
`check_layers.py --self-test` checks that violations are caught.
"""

import argparse
import pathlib
import re
import sys
import tempfile

# Parts of a module that are modules to each other are named with a slash. A row's own parts are not implied.
EDGES = {
    "lamina": [],  # include/lamina, the public headers
    "base": [],
    "temporal": [],
    "catalog": [],
    # What wal, sst and manifest say to each other lies in storage/ itself (data_file.h), so that they do not meet.
    "storage": ["catalog"],
    "storage/object_store": ["catalog", "storage"],
    "storage/encryption": ["catalog", "storage", "storage/object_store"],
    "storage/wal": ["catalog", "storage", "storage/object_store", "storage/encryption"],
    "storage/sst": ["catalog", "storage", "storage/object_store", "storage/encryption"],
    "storage/manifest": ["catalog", "storage", "storage/object_store", "storage/encryption"],
    "index": ["catalog", "storage/*"],
    "engine": ["temporal", "catalog", "storage/*", "index"],
    "iceberg": ["catalog", "storage/*"],
    "db": ["engine", "iceberg", "catalog", "temporal", "index"],
    "security": ["db"],
    "cdc": ["db", "engine/commit_stream.h"],
    "sql": ["db", "security", "cdc", "index", "temporal", "catalog"],
    "ai": ["db", "cdc", "sql/table_function.h"],
    "server": ["sql", "security", "cdc", "ai"],
    "cli": ["server", "ai", "sql", "cdc", "security", "db", "engine", "storage/*", "catalog", "temporal"],
    "slt": [],  # only the public headers: it is also a test of them (and see DOORS)
    "testing": ["cdc", "security", "db", "iceberg", "engine", "index", "storage/*", "catalog", "temporal"],
}

# Outside libraries: header prefix -> folders or files of src/ that may include it. `testing` and tests may include all.
DOORS = {
    "parquet/": ["storage/sst"],
    # Of the product, sql alone knows DuckDB; slt, a test tool, asks a plain one for comparison, in one file.
    "duckdb/": ["sql", "slt/beside_duckdb.cc"],
    "duckdb.hpp": ["sql", "slt/beside_duckdb.cc"],
    "openssl/": ["storage/encryption", "security"],
    "curl/": ["storage/object_store"],
    "sys/socket.h": ["server"],
    "netinet/": ["server"],
    "arpa/inet.h": ["server"],
    "histedit.h": ["cli"],
    "CLI/": ["cli", "slt"],
    "nlohmann/": ["cli", "iceberg", "server", "sql"],
    "sqlite3": [],
    "gtest/": [],
    "rapidcheck": [],
    "benchmark/": [],
}

# Arrow arrays and schemas are common language from catalog upward; below it, Arrow gives only these.
ARROW_BELOW_CATALOG = {
    "base": r"arrow/(status|result|buffer|memory_pool|util/.*|io/.*)\b",
    "temporal": r"arrow/(status|result|util/.*)\b",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
# Headers shared by a module's tests have `test` in their name: test_values_internal.h, engine_test_tables_internal.h.
TEST_FILE = re.compile(r"_(test|fuzz|benchmark)\.cc$|[/_]test_\w+\.h$")


def module_of(path):
    """The module of a path below src/ or of an include, or None: 'storage/wal/wal.h' -> 'storage/wal'."""
    parts = path.split("/")
    if len(parts) > 2 and f"{parts[0]}/{parts[1]}" in EDGES:
        return f"{parts[0]}/{parts[1]}"
    return parts[0] if len(parts) > 1 and parts[0] in EDGES else None


def matches(target, row):
    """Whether an include `target` is allowed by a row of modules, module/* patterns and single headers."""
    module = module_of(target)
    return any(
        allowed == target
        or allowed == module
        or (allowed.endswith("/*") and (module == allowed[:-2] or module.startswith(allowed[:-1])))
        for allowed in row
    )


def check_file(root, file):
    name = file.relative_to(root).as_posix()
    if name.startswith("include/"):
        inside = name.removeprefix("include/")
    else:
        inside = name.removeprefix("src/")
    module = module_of(inside)
    if module is None:
        yield f"{name}:1: belongs to no module of tools/check_layers.py"
        return
    is_test = bool(TEST_FILE.search(name))
    allowed = [module] if module == "lamina" else [module, "base", "lamina", *EDGES[module]]
    if is_test:
        allowed.append("testing")

    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quote, target = found.groups()
        where = f"{name}:{number}"
        to = module_of(target)
        if to is not None:
            if quote == "<":
                yield f'{where}: write our own header with quotes: "{target}"'
            # A test lies beside its module but may fake what is below with what is in testing; it may not look up.
            if not matches(target, allowed):
                yield f"{where}: {module} must not include {target} (allowed: {', '.join(sorted(allowed))})"
            elif target.endswith("_internal.h") and target.rpartition("/")[0] != inside.rpartition("/")[0]:
                yield f"{where}: {target} is for its own folder only"
            continue
        if quote == '"':
            yield f'{where}: name our headers from src/ or include/, and others with <>: "{target}"'
        if is_test or module == "testing":
            continue
        for prefix, doors in DOORS.items():
            if target.startswith(prefix) and not any(inside == door or inside.startswith(f"{door}/") for door in doors):
                yield f"{where}: {target} belongs only in {', '.join(doors) or 'tests'}"
        if target.startswith("arrow/") and module in ARROW_BELOW_CATALOG:
            if not re.match(ARROW_BELOW_CATALOG[module], target):
                yield f"{where}: {module} knows no {target}; Arrow data is for catalog and above"


def check_tree(root):
    files = [*root.glob("src/**/*"), *root.glob("include/**/*")]
    for file in sorted(files):
        if file.suffix in (".h", ".cc"):
            yield from check_file(root, file)


def self_test():
    """Each case: file, its text, and a part of the message expected (None: no message)."""
    cases = [
        ("src/base/a.h", '#include "catalog/schema.h"', "base must not include catalog/schema.h"),
        ("src/base/b.h", "#include <arrow/table.h>", "Arrow data is for catalog"),
        ("src/base/c.h", '#include <arrow/status.h>\n#include "lamina/error.h"', None),
        ("include/lamina/a.h", '#include "base/clock.h"', "lamina must not include base/clock.h"),
        ("src/storage/wal/a.cc", '#include "storage/sst/reader.h"', "storage/wal must not include storage/sst"),
        ("src/storage/wal/b.cc", '#include "storage/object_store/local.h"\n#include "storage/data_file.h"', None),
        ("src/storage/object_store/a.cc", '#include "storage/wal/wal.h"', "must not include storage/wal"),
        ("src/storage/data_file.h", '#include "storage/sst/reader.h"', "storage must not include storage/sst"),
        ("src/storage/sst/a.cc", "#include <parquet/file_reader.h>", None),
        ("src/engine/a.cc", "#include <parquet/file_reader.h>", "belongs only in storage/sst"),
        ("src/engine/b.cc", '#include "storage/manifest/version.h"\n#include "temporal/resolve.h"', None),
        ("src/engine/c.cc", '#include "db/database.h"', "engine must not include db"),
        ("src/engine/d.cc", '#include "testing/crash.h"', "engine must not include testing"),
        ("src/engine/d_test.cc", '#include "testing/crash.h"\n#include <gtest/gtest.h>', None),
        ("src/engine/e_test.cc", '#include "db/database.h"', "engine must not include db"),
        ("src/engine/engine_test_tables_internal.h", "#include <gtest/gtest.h>", None),
        ("src/engine/f.cc", "#include <gtest/gtest.h>", "belongs only in tests"),
        ("src/engine/g.cc", "#include <base/clock.h>", "with quotes"),
        ("src/engine/h.cc", '#include "memtable.h"', "name our headers from src/"),
        ("src/engine/i.cc", '#include "catalog/type_internal.h"', "its own folder only"),
        ("src/engine/j.cc", '#include "engine/picker_internal.h"', None),
        ("src/db/b.cc", '#include "storage/wal/wal.h"', "db must not include storage/wal"),
        ("src/cdc/a.cc", '#include "engine/commit_stream.h"', None),
        ("src/cdc/b.cc", '#include "engine/engine.h"', "cdc must not include engine"),
        ("src/cli/a.cc", '#include "storage/wal/wal.h"\n#include <CLI/CLI.hpp>', None),
        ("src/testing/a.cc", '#include "engine/engine.h"\n#include <parquet/file_reader.h>', None),
        ("src/sql/a.cc", "#include <duckdb/main/database.hpp>", None),
        ("src/db/c.cc", "#include <duckdb.hpp>", "belongs only in sql"),
        ("src/slt/beside_duckdb.cc", "#include <duckdb.hpp>", None),
        ("src/slt/runner.cc", "#include <duckdb.hpp>", "belongs only in sql"),
        ("src/utils/a.h", "", "belongs to no module"),
    ]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text, expected in cases:
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n", encoding="utf-8")
            messages = list(check_file(root, file))
            good = not messages if expected is None else len(messages) == 1 and expected in messages[0]
            if not good:
                wrong += 1
                print(f"self-test: {name}: expected {expected!r}, got {messages}")
        found = len(list(check_tree(root)))
        if found != sum(expected is not None for _, _, expected in cases):
            wrong += 1
            print(f"self-test: the whole tree gives {found} messages")
    print(f"check_layers --self-test: {len(cases)} cases, {wrong} wrong")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check that violations are caught")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    arguments = parser.parse_args()
    if arguments.self_test:
        return 1 if self_test() else 0
    messages = list(check_tree(arguments.root))
    for message in messages:
        print(message)
    print(f"check_layers: {len(messages)} violations")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
