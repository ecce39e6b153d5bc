"""Appends the batches of an Arrow stream file (lamina_bench's ingest) to a DuckDB table with a primary key.

The file is mapped, so that reading it costs next to nothing. Durable at the end: the clock stops after a CHECKPOINT.
"""

import argparse
import json
import os
import resource
import time

import duckdb
import pyarrow as pa


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", required=True, help="Arrow stream file")
    parser.add_argument("--dir", required=True, help="where the database is made, and removed afterwards")
    parser.add_argument("--json", required=True, help="the figures go there")
    args = parser.parse_args()

    path = os.path.join(args.dir, "peer.duckdb")
    connection = duckdb.connect(path)
    connection.execute(
        "CREATE TABLE a8 (id BIGINT PRIMARY KEY, ts TIMESTAMP, "
        "d1 DOUBLE, d2 DOUBLE, d3 DOUBLE, d4 DOUBLE, s1 VARCHAR, s2 VARCHAR)"
    )
    rows = 0
    with pa.memory_map(args.batches) as source, pa.ipc.open_stream(source) as batches:
        start = time.perf_counter()
        for batch in batches:
            connection.register("batch", batch)
            connection.execute("INSERT INTO a8 SELECT * FROM batch")
            rows += batch.num_rows
        connection.execute("CHECKPOINT")
        seconds = time.perf_counter() - start
    count = connection.execute("SELECT count(*) FROM a8").fetchone()[0]
    assert count == rows, f"{count} rows instead of {rows}"
    connection.close()
    os.remove(path)
    figures = {
        "version": duckdb.__version__,
        "rows": rows,
        "rows_per_second": rows / seconds,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    with open(args.json, "w", encoding="utf-8") as out:
        json.dump(figures, out)


if __name__ == "__main__":
    main()
