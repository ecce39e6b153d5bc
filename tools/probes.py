#!/usr/bin/env python3
"""Which probes of rare branches (LAMINA_REACHED) the simulator reached, over all of its programs.

`probes.py FOLDER` adds up the files that the programs wrote there (testing/probe_report.h), prints what no program
reached, and fails where that is not in MAY_STAY. `probes.py --self-test` checks that it would.
"""

import argparse
import pathlib
import re
import sys
import tempfile

PROGRAMS = ("simulation_disk", "simulation_system")
# Probes that the simulator need not reach, each with its reason and with the test that does.
MAY_STAY = {}

PROBE = re.compile(r'LAMINA_REACHED\(\s*"([^"]+)"')


def named(source):
    """The probes of the product, from its source: one that no program links counts too."""
    found = set()
    for file in source.rglob("*"):
        if file.suffix in (".cc", ".h") and not file.name.endswith(("_test.cc", "_fuzz.cc", "check.h")):
            found |= set(PROBE.findall(file.read_text(encoding="utf-8")))
    return found


def judge(probes, folder, may_stay):
    """Lines to print, and whether all is well."""
    hits = dict.fromkeys(probes, 0)
    lines, good = [], True
    for program in PROGRAMS:
        file = folder / f"{program}.txt"
        if not file.is_file():
            lines.append(f"probes: {program} reported nothing")
            good = False
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            name, count = line.split()
            if name in hits:
                hits[name] += int(count)
    never = sorted(name for name, count in hits.items() if count == 0)
    lines.append(f"probes: {len(hits) - len(never)} of {len(hits)} reached; never: {', '.join(never) or 'none'}")
    for name in never:
        if name in may_stay:
            lines.append(f"  {name} may stay: {may_stay[name]}")
        else:
            lines.append(f"  {name}: no scenario comes there: add one (tests/simulation_disk/rare_branches_test.cc)")
            good = False
    for name in sorted(set(may_stay) - set(never)):
        lines.append(f"  {name} is reached or gone: take it out of MAY_STAY")
        good = good and name in hits
    return lines, good


def self_test():
    cases = [  # hits of a and b in each program, what may stay, expected
        (({"a": 1, "b": 0}, {"a": 0, "b": 2}), {}, True),
        (({"a": 1, "b": 0}, {"a": 1, "b": 0}), {}, False),
        (({"a": 1, "b": 0}, {"a": 1}), {"b": "reason"}, True),
        (({"a": 1, "b": 1}, {"a": 1}), {"b": "reason"}, True),
        (({"a": 1, "b": 1}, {"a": 1}), {"gone": "reason"}, False),
        (({"a": 1, "b": 1},), {}, False),
    ]
    wrong = 0
    for reports, may_stay, expected in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for program, report in zip(PROGRAMS, reports):
                text = "".join(f"{probe} {count}\n" for probe, count in report.items())
                (folder / f"{program}.txt").write_text(text, encoding="utf-8")
            lines, good = judge({"a", "b"}, folder, may_stay)
        if good != expected:
            wrong += 1
            print(f"self-test: {reports} {may_stay}: {lines}")
    print(f"probes --self-test: {len(cases)} cases, {wrong} wrong")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check that a probe never reached is noticed")
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.self_test:
        return 1 if self_test() else 0
    source = pathlib.Path(__file__).resolve().parent.parent / "src"
    lines, good = judge(named(source), arguments.folder, MAY_STAY)
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
