#!/usr/bin/env python3
"""House rules that neither the compiler nor clang-tidy knows: banned calls, stray files, text hygiene.

`tidy.py` checks the tree it lies in, `tidy.py --self-test` checks that violations are caught. A line that has to break
a rule says so, with a reason: `// tidy: allow(<rule>) <reason>` (or `# tidy: ...`), on it or on the line above.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

# Rule, pattern, what to do instead, folders that may. The patterns see code without comments and string contents.
# Time, randomness, threads and files come in through interfaces, so that a seed replays a failure.
SYSTEM = ("src/base/", "src/storage/object_store/", "src/cli/", "src/slt/", "src/testing/")
THREADS = ("src/base/", "src/cli/", "src/slt/", "src/testing/")
BANNED = [
    ("clock", r"\b(system_clock|steady_clock|high_resolution_clock)::now\b", "take a base::Clock", SYSTEM),
    (
        "clock",
        r"(?<![\w.>])(::|std::)?(time|gettimeofday|clock_gettime)\s*\(\s*(nullptr|NULL|0|&|CLOCK_)",
        "take a base::Clock",
        SYSTEM,
    ),
    ("sleep", r"\bthis_thread::sleep_|(?<![\w.>])(::)?(u|nano)?sleep\s*\(", "base::Clock::SleepMicros", SYSTEM),
    (
        "random",
        r"\brandom_device\b|(?<![\w.>])((::|std::)?rand|::random)\s*\(|\bsrand(om)?\s*\(",
        "a base::Random with a seed",
        ("src/base/",),
    ),
    ("engine", r"\bstd::(mt19937|minstd_rand|default_random_engine)", "take a base::Random", ("src/base/",)),
    ("thread", r"\bstd::(j?thread(?!::)\b|async\s*\()|\bpthread_create\b", "base::Thread or base::Executor", THREADS),
    (
        "mutex",
        r"\bstd::(shared_|recursive_|timed_)*mutex\b|\bstd::condition_variable",
        "base::Mutex and base::CondVar, which clang can check",
        THREADS,
    ),
    (
        "file",
        r"(?<![\w.>:])(::|std::)?"
        r"(open|openat|creat|fopen|fsync|fdatasync|rename|unlink|f?truncate|mkdir)\s*\(",
        "go through ObjectStore",
        SYSTEM,
    ),
    ("file", r"\bstd::(o|i)?fstream\b|\bstd::filesystem\b", "go through ObjectStore", SYSTEM),
    (
        "print",
        r"\bstd::(cout|cerr|clog)\b|(?<![\w.>:])(std::)?(printf|puts|fprintf)\s*\(",
        "return the text or trace it",
        THREADS,
    ),
    ("assert", r"(?<!\w)assert\s*\(", "LAMINA_CHECK or LAMINA_DCHECK", ()),
]
# Tests may start threads, write files and wait, but a random test needs a seed that replays it.
BANNED_IN_TESTS = {"random", "assert"}

# As in .clang-format; what the formatter cannot break (long strings) is broken by hand.
CPP_COLUMNS, SCRIPT_COLUMNS = 100, 120
CPP = {".h", ".cc"}
SCRIPTS = {".py", ".sh", ".cmake"}
TEXT = CPP | SCRIPTS | {".md", ".txt", ".json", ".yml", ".yaml", ".supp", ".toml", ".sql", ".test", ""}
# Put together, so that this file does not name what it bans.
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(" + "|".join(["work", "root", r"home/\w+", "Users"]) + r")/")
REGISTRIES = ["py" + "pi", "python" + "hosted", "debian" + r"\.org", "npm" + "js", "crates" + r"\.io"]
ADDRESS = re.compile(rf"https?://[\w.-]*({'|'.join(REGISTRIES)})")
STRAY = re.compile(r"\b(FIX" + "ME|TO" + r"DO)\b")
# Tests lie beside the code; headers shared by a module's tests have `test` in their name.
TEST_FILE = re.compile(r"_(test|fuzz|benchmark)\.cc$|[/_]test_\w+\.h$")
ALLOW = re.compile(r"(?://|#) tidy: allow\((\w+)\) \S")
TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL,
)


def code_only(text):
    """C++ text with comments and the contents of literals blanked, lines kept."""

    def blank(match):
        found = match.group()
        # 1'000'000 is no character literal: a digit before the quote means a separator.
        if found[0] == "'" and match.start() and text[match.start() - 1].isalnum():
            return found
        return re.sub(r"[^\n]", " ", found)

    return TOKEN.sub(blank, text)


def list_files(root):
    """Files of the tree that git does not ignore; without git, all but hidden ones and build trees."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=False)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return sorted({name for name in names if name and (root / name).is_file()})
    files = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]
    return sorted(name for name in files if not name.startswith((".git/", "build/")))


def is_test(name):
    return not name.startswith("src/") or name.startswith("src/testing/") or bool(TEST_FILE.search(name))


def check_text(name, text):
    """Checks one file; yields (line, rule, message)."""
    suffix = pathlib.PurePosixPath(name).suffix
    lines = text.splitlines()
    makefile = pathlib.PurePosixPath(name).name in ("Makefile", ".gitmodules")
    for number, line in enumerate(lines, 1):
        limit = CPP_COLUMNS if suffix in CPP else SCRIPT_COLUMNS if suffix in SCRIPTS else None
        # An address cannot be broken, nor can an include.
        if limit and len(line) > limit and "://" not in line and not line.startswith("#include"):
            yield number, "columns", f"{len(line)} columns, the limit is {limit}"
        if "\t" in line and not makefile and suffix != ".test":  # a row's values
            yield number, "tabs", "tab"
        if line != line.rstrip():
            yield number, "space", "space at the end of the line"
        if MACHINE_PATH.search(line):
            yield number, "path", "path of one machine"
        if ADDRESS.search(line):
            yield number, "address", "address of a package registry: pins go by name and hash"
        if suffix != ".md" and STRAY.search(line):
            yield number, "stray", "finish it, or write down in docs/ what is missing"
    if text and not text.endswith("\n"):
        yield len(lines), "space", "no newline at the end of the file"
    if suffix == ".h" and "#pragma once" not in text:
        yield 1, "pragma", "header without #pragma once"
    if suffix in CPP:
        for number, line in enumerate(code_only(text).splitlines(), 1):
            for rule, pattern, instead, may in BANNED:
                if name.startswith(may) or (is_test(name) and rule not in BANNED_IN_TESTS):
                    continue
                if found := re.search(pattern, line):
                    yield number, rule, f"{found.group().strip(' (')}: {instead}"


def check_built(names, modules):
    """Yields C++ sources that no pattern of CMakeLists.txt takes in."""
    tested = {name.split("/")[1] for name in names if re.match(r"tests/[^/]+/.*_test\.cc$", name)}
    folders = "|".join([*modules, "sql", "slt", "testing", "cli"])
    built = [rf"src/({folders})/.+", r"benchmarks/.+", r"examples/cpp/[^/]+", r"tests/.+_fuzz"]
    if tested:
        built.append(rf"tests/({'|'.join(map(re.escape, tested))})/.+")
    pattern = re.compile(rf"({'|'.join(built)})\.cc")
    for name in names:
        if name.startswith(("bindings/", "third_party/")):  # These bring their own builds.
            continue
        if name.endswith((".cpp", ".cxx", ".hpp")):
            yield name, "names of sources end in .cc and .h"
        if name.endswith(".cc") and not pattern.fullmatch(name):
            yield name, "no target builds this file (see the head of CMakeLists.txt)"


def check_tree(root):
    names = list_files(root)
    cmake = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    modules = re.search(r"set\(lamina_modules ([^)]*)\)", cmake).group(1).split()
    for name, message in check_built(names, modules):
        yield f"{name}:1: {message} [unbuilt]"
    for name in names:
        if pathlib.PurePosixPath(name).suffix not in TEXT or name.startswith("third_party/") or "/corpus/" in name:
            continue
        content = (root / name).read_bytes()
        if b"\0" in content or name == "LICENSE":
            continue
        text = content.decode("utf-8", errors="replace")
        lines = text.splitlines()
        for number, rule, message in check_text(name, text):
            near = lines[max(0, number - 2) : number]  # The line itself or the comment above it.
            allowed = {found.group(1) for line in near if (found := ALLOW.search(line))}
            if rule not in allowed:
                yield f"{name}:{number}: {message} [{rule}]"


def self_test():
    """Each case: file, its text, and the rule expected (None: no message)."""
    engine, base, test = "src/engine/a.cc", "src/base/a.cc", "src/engine/a_test.cc"
    cases = [
        (engine, "auto t = std::chrono::system_clock::now();", "clock"),
        (base, "auto t = std::chrono::system_clock::now();", None),
        (test, "auto t = std::chrono::steady_clock::now();", None),
        (engine, "auto t = time(nullptr);", "clock"),
        (engine, "auto t = commit.time(0); SystemTime valid_time(0);", None),
        (engine, "// never time(nullptr)\nauto s = \"std::thread time(0)\"; /* rand() */", None),
        (engine, "int x = rand();", "random"),
        (engine, "srandom(7);", "random"),
        (engine, "base::Random random(7); int x = random.operand() + engine.random();", None),
        ("src/engine/test_tables_internal.h", "#pragma once\nstd::mt19937 random(7);  int x = random();", None),
        (test, "std::random_device device;", "random"),
        (test, "std::mt19937_64 engine(seed);", None),
        (engine, "std::mt19937_64 engine(seed);", "engine"),
        (engine, "std::thread t([] {});", "thread"),
        (engine, "std::thread::id id;", None),
        ("src/testing/a.cc", "std::thread t([] {});", None),
        (engine, "std::mutex mu;", "mutex"),
        (engine, "std::this_thread::sleep_for(1ms);", "sleep"),
        (engine, "int fd = ::open(path, 0);", "file"),
        (engine, "fsync(fd);", "file"),
        (engine, "reader.open(path); Open(path); fdatasync_count();", None),
        (engine, "std::ofstream out(path);", "file"),
        (engine, "std::filesystem::path p;", "file"),
        ("src/storage/object_store/local.cc", "int fd = ::open(path, 0); fsync(fd);", None),
        (engine, "std::cerr << 1;", "print"),
        (engine, "assert(x);", "assert"),
        (engine, "static_assert(x); int n = 1'000'000; char c = '\"'; char d = '\"';", None),
        (engine, 'auto s = R"(fsync(1) " std::thread)";', None),
        (engine, "std::mutex mu;  // tidy: allow(mutex) handed to a library that wants it", None),
        (engine, "std::mutex mu;  // tidy: allow(mutex)", "mutex"),
        (engine, "// " + "x" * (CPP_COLUMNS - 2), "columns"),
        (engine, "// " + "x" * (CPP_COLUMNS - 3), None),
        (engine, "\tint x;", "tabs"),
        (engine, "int x; ", "space"),
        ("Makefile", "all:\n\techo", None),
        ("docs/a.md", "see /wo" + "rk/main/x", "path"),
        ("docs/a.md", "see src/wo" + "rk/main/x and $HOME/ro" + "ot/x", None),
        ("tools/a.txt", "https://py" + "pi.org/x", "address"),
        (engine, "// FIX" + "ME later", "stray"),
        ("src/engine/a.h", "int x;", "pragma"),
        ("src/engine/b.h", "#pragma once", None),
        ("src/utils/a.cc", "int x;", "unbuilt"),
        ("src/a.cc", "int x;", "unbuilt"),
        ("tests/a_test.cc", "int x;", "unbuilt"),
        ("tests/sql/reader.cc", "int x;", "unbuilt"),
        ("tests/fuzz/a_fuzz.cc", "int x;", None),
        ("examples/cpp/a.cc", "int x;", None),
        ("src/base/a.cpp", "int x;", "unbuilt"),
    ]
    wrong = 0
    for name, text, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "CMakeLists.txt").write_text("set(lamina_modules base storage engine)\n", encoding="utf-8")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n", encoding="utf-8")
            messages = list(check_tree(root))
        one = len(messages) == 1 and messages[0].endswith(f"[{expected}]")
        good = not messages if expected is None else one
        if not good:
            wrong += 1
            print(f"self-test: {name}: {text!r}: expected {expected}, got {messages}")
    print(f"tidy --self-test: {len(cases)} cases, {wrong} wrong")
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
    print(f"tidy: {len(messages)} violations")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
