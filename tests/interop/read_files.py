"""Reads a database's Parquet files with pyarrow alone and compares with `lamina scan`.

Usage: read_files.py LAMINA DIRECTORY.

The rule (docs/format/data-file.md, deletion-vector.md): a row is visible at (s, v) when _system_from <= s < end and
_valid_from <= v < _valid_to; end is the column _system_to (history files), else the row's end in the deletion
vector, else open; a vector entry without an end is visible at no time. Columns that a file leaves out are open.
"""

import datetime
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

MIN, MAX = -(2**63), 2**63 - 1


def lamina(*args):
    command = [sys.argv[1], "--db", sys.argv[2], "--json", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def column(table, name, default):
    if name not in table.column_names:
        return [default] * table.num_rows
    return table.column(name).combine_chunks().cast(pa.int64()).to_pylist()


def read_versions():
    versions = []
    for file in json.loads(lamina("inspect", "files"))["files"]:
        if file["table"] != "t":
            continue
        table = pq.ParquetFile(f"{sys.argv[2]}/{file['path']}").read()
        assert table.num_rows == file["rows"], file["path"]
        rows = table.select(["kind", "id", "note", "price"]).to_pylist()
        ended = {position: end for position, end in file.get("ended", [])}
        times = zip(
            column(table, "_valid_from", MIN),
            column(table, "_valid_to", MAX),
            column(table, "_system_from", None),
            column(table, "_system_to", MAX),
        )
        for position, (row, (valid_from, valid_to, system_from, system_to)) in enumerate(zip(rows, times)):
            if position in ended:
                if ended[position] is None:
                    continue
                system_to = min(system_to, ended[position])
            versions.append((row, valid_from, valid_to, system_from, system_to))
    return versions


def main():
    versions = read_versions()
    assert versions
    commits = sorted({v[3] for v in versions})
    moments = commits[:: max(1, len(commits) // 8)] + [commits[-1]]
    compared = 0
    for s in moments:
        for v in (-5, 0, 3, 7, 12, 19, 25, 40):
            mine = sorted(
                (r["kind"], r["id"], r["note"], r["price"])
                for r, vf, vt, sf, st in versions
                if sf <= s < st and vf <= v < vt
            )
            text = (datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=s)).isoformat() + "Z"
            lines = lamina("scan", "t", "--as-of", text, "--valid-at", str(v)).splitlines()
            theirs = [tuple(json.loads(line)[c] for c in ("kind", "id", "note", "price")) for line in lines]
            assert theirs == sorted(theirs, key=lambda r: r[:2]), "scan is not in key order"
            assert sorted(theirs) == mine, f"at system {text} valid {v}: lamina {theirs}, pyarrow {mine}"
            compared += len(mine)
    print(f"{len(versions)} versions, {len(moments) * 8} moments, {compared} rows compared")
    assert compared > 100


if __name__ == "__main__":
    main()
