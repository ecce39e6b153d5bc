#!/usr/bin/env python3
"""Proves that the tests catch every mutant: the deliberate bugs that src/base/mutant.h switches on (table: mutants.py).

  run_mutants.py --build build/release      the proof; takes the programs that `mutant_tests` builds (`make mutants`)
  run_mutants.py --build … --only wal.      only the mutants whose name has that text in it
  run_mutants.py --check                    that table, sources and docs/testing.md agree; needs no build
  run_mutants.py --write                    writes the table into docs/testing.md
  run_mutants.py --markdown                 prints it
  run_mutants.py --self-test                that this program can fail

The proof, in this order: the programs hold the mutants of the table and no others, and what ships holds none; every
check passes while no mutant is switched on; two false claims (a mutant that is nowhere, one that its check cannot see)
are found out; and each mutant, switched on alone, makes its check fail in the way that the table says. A run that
crashes, hangs or fails in another way proves nothing and counts as not caught.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from mutants import CHECKS, MUTANTS, WRONG_ANSWER, Check, Mutant

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "testing.md"
BEGIN, END = "<!-- mutants:begin -->", "<!-- mutants:end -->"
SITE = re.compile(r'LAMINA_MUTANT\(\s*"([^"]*)"\s*\)')
# Long for any check (each takes seconds), short of the patience of ctest.
SECONDS_MAX = 240


@dataclasses.dataclass
class Run:
    code: int  # Of the process; negative: the signal that ended it.
    output: str
    seconds: float
    timed_out: bool = False


def passed(run):
    return not run.timed_out and run.code == 0 and "[  PASSED  ]" in run.output


def judge(mutant, run):
    """Empty when the mutant was caught, else why that cannot be said."""
    if run.timed_out:
        return "timed out"
    if f"mutant reached: {mutant.name}\n" not in run.output:
        return "NOT REACHED"
    if passed(run):
        return "NOT CAUGHT, though reached"
    by_test = run.code == 1 and "[  FAILED  ]" in run.output
    by_check = run.code == -6 and ": check failed: " in run.output
    if not by_test and not by_check:
        return f"ended otherwise (code {run.code})"
    if not re.search(mutant.says, run.output):
        return f"failed, but without saying '{mutant.says}'"
    return ""


def run_check(check, build, mutant=""):
    environment = {k: v for k, v in os.environ.items() if not re.match(r"LAMINA_(SIM|MODEL|MUTANT)_?|GTEST_", k)}
    # As ctest sets them (CMakeLists.txt); what is set already counts.
    environment.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    environment.setdefault("LAMINA_SOURCE", str(ROOT))
    environment.setdefault("LAMINA_CLI", str(build / "lamina"))
    environment.update(check.environment)
    if mutant:
        environment["LAMINA_MUTANT"] = mutant
    command = [build / check.program, f"--gtest_filter={check.tests}", "--gtest_brief=1", "--gtest_fail_fast"]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Run(0, "", time.monotonic() - begin, timed_out=True)
    return Run(done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - begin)


# ---- What needs no build ----


def sites(root):
    """Name of each mutant in the sources, with the files that hold it."""
    found = {}
    for file in sorted([*root.glob("src/**/*.cc"), *root.glob("src/**/*.h"), *root.glob("include/**/*.h")]):
        name = file.relative_to(root).as_posix()
        if name == "src/base/mutant.h":
            continue
        for mutant in SITE.findall(file.read_text()):
            found.setdefault(mutant, []).append(name)
    return found


def table_problems(root, mutants, checks):
    found = sites(root)
    names = [mutant.name for mutant in mutants]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"{name}: twice in the table"
    for name, files in sorted(found.items()):
        if name not in names:
            yield f"{name}: in {files[0]}, and not in the table"
        if len(files) > 1:
            yield f"{name}: used more than once: {', '.join(files)}"
        if not files[0].endswith(".cc"):
            yield f"{name}: in a header, which is compiled once for all: {files[0]}"
    for mutant in mutants:
        if mutant.name not in found:
            yield f"{mutant.name}: in the table, and in no source"
        if mutant.check not in checks:
            yield f"{mutant.name}: no such check: {mutant.check}"
    for name in sorted(set(checks) - {mutant.check for mutant in mutants}):
        yield f"check that catches nothing: {name}"


def markdown():
    rows = ["| mutant | what is wrong | caught by | which says |", "|---|---|---|---|"]
    for m in MUTANTS:
        text = m.says.replace("|", "\\|")
        says = "an answer that is not the model's" if m.says == WRONG_ANSWER else f"`{text}`"
        rows.append(f"| `{m.name}` | {m.wrong} | {m.check} | {says} |")
    rows += ["", "| caught by | is |", "|---|---|"]
    for name, c in CHECKS.items():
        settings = "".join(f"{key}={value} " for key, value in c.environment.items())
        program = c.program.replace("_mutants", "_test")
        rows.append(f"| {name} | {c.what}: `{settings}{program} --gtest_filter='{c.tests}'` |")
    return "\n".join(rows) + "\n"


def with_table(text):
    """The document with the table of today between its marks; None when it has no marks."""
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END + "\n")
    return before + begin + markdown() + end + after if begin and end else None


def check_tree():
    problems = list(table_problems(ROOT, MUTANTS, CHECKS))
    text = DOCUMENT.read_text()
    wanted = with_table(text)
    if wanted is None:
        problems.append(f"docs/testing.md has no lines {BEGIN} and {END}")
    elif wanted != text:
        problems.append("docs/testing.md is not up to date: tests/mutants/run_mutants.py --write")
    return problems


# ---- The proof ----


def link_problems(build):
    """That the programs hold the mutants of the table, and what ships holds none."""
    names = sorted(mutant.name for mutant in MUTANTS)
    for program in sorted({check.program for check in CHECKS.values()}):
        listed = subprocess.run(
            [build / program, "--gtest_list_tests"],
            env={**os.environ, "LAMINA_MUTANT_LIST": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=SECONDS_MAX,
            check=True,
        ).stderr.decode()
        linked = sorted(re.findall(r"^mutant linked: (.*)$", listed, re.MULTILINE))
        if linked != names:
            yield f"{program} holds other mutants than the table (configure and build anew): {set(linked) ^ set(names)}"
    shipped = [build / "lamina", *sorted(build.glob("liblamina_*.a"))]
    if len(shipped) < 2:
        yield f"nothing that ships lies in {build}"
    trace = re.compile(b"MutantSite|" + b"|".join(re.escape(name.encode()) for name in names))
    for file in shipped:
        if found := trace.search(file.read_bytes()):
            yield f"{file.name} ships a mutant: {found.group().decode()}"


def report(text):
    print(text, flush=True)


def prove(build, only):
    problems = list(table_problems(ROOT, MUTANTS, CHECKS)) + list(link_problems(build))
    if problems:
        return problems
    mutants = [mutant for mutant in MUTANTS if only in mutant.name]
    begin = time.monotonic()
    # Two at a time also where there is one processor: most stop at once.
    with concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        needed = [name for name in CHECKS if any(mutant.check == name for mutant in mutants)]
        sound = {name: pool.submit(run_check, CHECKS[name], build) for name in needed}
        for number, name in enumerate(needed, 1):
            run = sound[name].result()
            verdict = "ok" if passed(run) else "FAILS"
            report(f"[{number}/{len(needed)}] {name}: no mutant, {run.seconds:.1f} s: {verdict}")
            if not passed(run):
                problems.append(f"check {name} fails without a mutant:\n{run.output[-4000:]}")
            elif "mutant reached: " in run.output:
                problems.append(f"check {name} ran with a mutant switched on")
        for mutant, wanted in false_claims():
            verdict = judge(mutant, run_check(CHECKS[mutant.check], build, mutant.name))
            report(f"false claim: {mutant.name} by {mutant.check}: {verdict or 'caught'}")
            if verdict != wanted:
                problems.append(f"{mutant.name} should be found '{wanted}' and is '{verdict or 'caught'}'")
        caught = [(mutant, pool.submit(run_check, CHECKS[mutant.check], build, mutant.name)) for mutant in mutants]
        missed = 0
        for number, (mutant, future) in enumerate(caught, 1):
            run = future.result()
            verdict = judge(mutant, run)
            report(
                f"[{number}/{len(mutants)}] {mutant.name:44} {run.seconds:5.1f} s  "
                f"{verdict or 'caught by ' + mutant.check}"
            )
            if verdict:
                missed += 1
                problems.append(f"{mutant.name} by {mutant.check}: {verdict}\n{run.output[-3000:]}")
    report(f"{len(mutants)} mutants, {len(mutants) - missed} caught, {time.monotonic() - begin:.0f} s")
    return problems


def false_claims():
    """Claims of the kind that the table makes, and how each must be found out."""
    quickest = MUTANTS[0]
    yield Mutant("no.such.mutant", "nothing", quickest.check, "."), "NOT REACHED"
    # A lost fsync shows after a crash; this scenario's points are judged without one.
    yield Mutant("wal.sync_skipped", "", "transactions", "."), "NOT CAUGHT, though reached"


# ---- That this program can fail ----


def self_test():
    ok = Mutant("a.b", "wrong", "model", "went wrong")

    def run(code, output, **more):
        return Run(code, output, 0.1, **more)

    reached = "mutant reached: a.b\n"
    cases = [
        (run(1, reached + "it went wrong\n[  FAILED  ] 1 test\n"), ""),
        (run(-6, reached + "x.cc:1: check failed: it went wrong\n"), ""),
        (run(1, "it went wrong\n[  FAILED  ] 1 test\n"), "NOT REACHED"),
        (run(0, reached + "[  PASSED  ] 1 test\n"), "NOT CAUGHT, though reached"),
        (run(0, "[  PASSED  ] 1 test\n"), "NOT REACHED"),
        (run(0, reached + "[  PASSED  ] 1 test\n", timed_out=True), "timed out"),
        (run(-11, reached + "it went wrong\n"), "ended otherwise (code -11)"),
        (run(-6, reached + "terminate called: it went wrong\n"), "ended otherwise (code -6)"),
        (run(1, reached + "no such option: it went wrong\n"), "ended otherwise (code 1)"),
        (run(1, reached + "bad luck\n[  FAILED  ] 1 test\n"), "failed, but without saying 'went wrong'"),
    ]
    for given, wanted in cases:
        verdict = judge(ok, given)
        assert verdict == wanted, (given, verdict, wanted)
    assert not passed(run(0, "")), "a program that ran no test proves nothing"

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "src").mkdir()
        (root / "include").mkdir()
        source = root / "src" / "a.cc"
        checks = {"model": Check("model_mutants", "*", {}, "")}

        def problems(text, mutants, name=source):
            name.write_text(text)
            found = list(table_problems(root, mutants, checks))
            name.unlink()
            return found

        site = 'if (LAMINA_MUTANT("a.b")) return;\n'
        assert problems(site, [ok]) == []
        assert "not in the table" in problems(site + 'LAMINA_MUTANT(\n    "c.d")', [ok])[0]
        assert "in no source" in problems("", [ok])[0]
        assert "more than once" in problems(site + site, [ok])[0]
        assert "twice in the table" in problems(site, [ok, ok])[0]
        assert "in a header" in problems(site, [ok], root / "src" / "a.h")[0]
        assert "no such check" in problems(site, [Mutant("a.b", "", "other", "")])[0]
    assert with_table("no marks\n") is None
    stale = f"# T\n{BEGIN}\nold\n{END}\nrest\n"
    assert with_table(stale) == f"# T\n{BEGIN}\n{markdown()}{END}\nrest\n"
    assert with_table(with_table(stale)) == with_table(stale)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--only", default="")
    for flag in ("--check", "--write", "--markdown", "--self-test"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        report("run_mutants.py: self-test passed")
    if options.markdown:
        print(markdown(), end="")
    if options.write:
        text = with_table(DOCUMENT.read_text())
        assert text is not None, f"docs/testing.md has no lines {BEGIN} and {END}"
        DOCUMENT.write_text(text)
    problems = []
    if options.check:
        problems += check_tree()
        report(f"mutants: {len(MUTANTS)} in the table, {len(problems)} problems")
    if options.build:
        problems += prove(options.build.resolve(), options.only)
    for problem in problems:
        print(f"mutants: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
