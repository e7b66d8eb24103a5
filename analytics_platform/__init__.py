"""A contract-first, micro-batch lakehouse: Kafka to Delta tables you can trust, run by Dagster, queried with DuckDB.

The path of a record, and where to read about each step:

    Kafka ── plan ────> read ───> bronze ──> decode ──> check ──┬─> dedupe ──> silver ──> gold ──> DuckDB
         kafka/offsets  kafka/    bronze   contract/  contract/ │   silver     derive     gold     query
                        consumer           decode     check     └─> quarantine

`stream` takes one micro-batch after the other along this path, `rebuild` takes hours of bronze along it again.
Every commit goes through `lake/commit`. `defs/` says when things run, `cli/` does the same by hand.
"""
