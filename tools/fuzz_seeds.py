"""Makes the fuzz targets' seeds: fuzz_seeds.py FOLDER writes FOLDER/<target>/<seed>.

Where they come from:
  tests/fuzz/corpus/<target>/*.hex    hex text ('#' begins a comment); a crash that was fixed is kept this way
  tests/fuzz/corpus/<target>/*        anything else is taken as it is
  the golden bytes and worked examples that the formats' tests hold against the code
"""

import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def from_hex(text):
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def hex_blocks(path):
    return [from_hex(block) for block in re.findall(r"```hex\n(.*?)```", path.read_text(), re.DOTALL)]


def main():
    out = pathlib.Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)

    def put(target, name, data):
        (out / target).mkdir(parents=True, exist_ok=True)
        (out / target / name).write_bytes(data)

    for path in sorted((ROOT / "tests/fuzz/corpus").glob("*/*")):
        if path.suffix == ".hex":
            put(path.parent.name, path.stem, from_hex(path.read_text()))
        else:
            put(path.parent.name, path.name, path.read_bytes())

    for line in (ROOT / "src/storage/manifest/testdata/format_v1.txt").read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name, data = line.split()
        put("manifest_fuzz", name, bytes.fromhex(data))
        if name in ("version", "edit"):
            put("codec_fuzz", name, bytes.fromhex(data))

    payload, segment = hex_blocks(ROOT / "docs/format/wal.md")
    put("write_batch_fuzz", "worked_example", payload)
    put("wal_fuzz", "worked_example", segment)
    put("wal_fuzz", "worked_example_frames", segment[72:])


if __name__ == "__main__":
    main()
