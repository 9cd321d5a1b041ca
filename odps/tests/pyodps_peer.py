"""The official client, on one table: pyodps_peer.py ENDPOINT ACCESS_ID ACCESS_KEY COMMAND TABLE PARTITION [REGION]

`read-records` and `read-arrow` print the rows as JSON, one a line; `write-records` and `write-arrow` write the rows that
stand on stdin, making the partition if it is missing. `-` is no partition.
"""
import json
import sys

import pyarrow
from odps import ODPS, options

endpoint, access_id, access_key, command, name, partition = sys.argv[1:7]
partition = None if partition == "-" else partition
options.tunnel.require_stream_footer = True
options.connect_timeout = options.read_timeout = 20
options.retry_times = 0
if len(sys.argv) > 7:
    options.enable_v4_sign = True
    client = ODPS(access_id, access_key, "p", endpoint, region_name=sys.argv[7])
else:
    client = ODPS(access_id, access_key, "p", endpoint)
table = client.get_table(name)
columns = [column.name for column in table.table_schema.simple_columns]

if command == "read-records":
    with table.open_reader(partition=partition) as reader:
        for record in reader:
            print(json.dumps({column: record[column] for column in columns}))
elif command == "read-arrow":
    with table.open_reader(partition=partition, arrow=True) as reader:
        for batch in reader:
            for row in batch.to_pylist():
                print(json.dumps({column: row[column] for column in columns}))
elif command in ("write-records", "write-arrow"):
    rows = [json.loads(line) for line in sys.stdin]
    arrow = command == "write-arrow"
    with table.open_writer(partition=partition, create_partition=partition is not None, arrow=arrow) as writer:
        if arrow:
            kinds = {"bigint": pyarrow.int64(), "double": pyarrow.float64(), "boolean": pyarrow.bool_()}
            fields = [(c.name, kinds.get(str(c.type), pyarrow.string())) for c in table.table_schema.simple_columns]
            writer.write(pyarrow.RecordBatch.from_pylist(rows, schema=pyarrow.schema(fields)))
        else:
            for row in rows:
                writer.write([row[column] for column in columns])
else:
    sys.exit(f"no such command: {command}")
