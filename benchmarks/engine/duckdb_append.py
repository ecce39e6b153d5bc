"""Appends the rows of lamina_bench's ingest (same shape, batches of 8,192) to a DuckDB table with a primary key.

The batches are made before the clock starts. Durable at the end: the clock stops after a CHECKPOINT.
"""

import argparse
import json
import os
import time

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

BATCH_ROWS = 8192


def make_batch(number, rows):
    start = number * BATCH_ROWS
    n = min(BATCH_ROWS, rows - start)
    ids = pa.array(range(start * 3, (start + n) * 3, 3), pa.int64())
    random = [pc.random(n, initializer=number * 4 + i) for i in range(4)]
    cents = [pc.round(pc.multiply(r, 1000.0), 2) for r in random[:2]]
    item = pc.cast(pc.floor(pc.multiply(random[2], 200.0)), pa.int64())
    s1 = pc.binary_join_element_wise("item", pc.utf8_lpad(pc.cast(item, pa.string()), 3, "0"), "")
    s2 = pc.utf8_slice_codeunits(pc.cast(pc.multiply(random[3], 1e15), pa.string()), 0, 10)
    ts = pc.cast(pc.add(1_700_000_000_000_000, pc.multiply(ids, 333)), pa.timestamp("us"))
    return pa.record_batch(
        [ids, ts, cents[0], cents[1], random[2], random[3], s1, s2],
        names=["id", "ts", "d1", "d2", "d3", "d4", "s1", "s2"],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--json", required=True)
    args = parser.parse_args()

    path = os.path.join(args.dir, "peer.duckdb")
    connection = duckdb.connect(path)
    connection.execute(
        "CREATE TABLE a8 (id BIGINT PRIMARY KEY, ts TIMESTAMP, "
        "d1 DOUBLE, d2 DOUBLE, d3 DOUBLE, d4 DOUBLE, s1 VARCHAR, s2 VARCHAR)"
    )
    batches = [make_batch(b, args.rows) for b in range((args.rows + BATCH_ROWS - 1) // BATCH_ROWS)]
    start = time.perf_counter()
    for batch in batches:
        connection.register("batch", batch)
        connection.execute("INSERT INTO a8 SELECT * FROM batch")
    connection.execute("CHECKPOINT")
    seconds = time.perf_counter() - start
    count = connection.execute("SELECT count(*) FROM a8").fetchone()[0]
    assert count == args.rows
    connection.close()
    with open(args.json, "w") as out:
        json.dump({"version": duckdb.__version__, "rows": args.rows, "rows_per_second": args.rows / seconds}, out)
    os.remove(path)


if __name__ == "__main__":
    main()
