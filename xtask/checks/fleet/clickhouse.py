"""A ClickHouse server for tests: the part of its HTTP interface that a collector, apply.py and report.py use, on chdb.

    python3 clickhouse.py FOLDER

It prints its port, and ends with its standard input.
"""

import http.server
import json
import os
import pathlib
import sys
import threading
import urllib.parse

from chdb import session


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    inserted = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if "chunked" not in self.headers.get(
            "Transfer-Encoding", "") else b"".join(self.chunks())
        parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query))
        try:
            with self.lock:
                answer, summary = self.answer(parameters, body)
            status = 200
        except Exception as error:  # whatever chdb raises is an answer to the client
            answer, summary, status = str(error).encode(), {}, 500
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-ClickHouse-Summary", json.dumps(summary))
        self.end_headers()
        self.wfile.write(answer)

    def chunks(self):
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            yield self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return

    def answer(self, parameters, body):
        database, query = parameters.get("database", "otel"), parameters.get("query", "")
        SESSION.query(f"USE {database}")
        if query.upper().startswith("INSERT") and body:
            Server.inserted += 1
            # the bytes of the exporter as they came: chdb reads them from a file
            path = FOLDER / f"insert-{Server.inserted}.bin"
            path.write_bytes(body)
            head, _, form = query.rstrip("; \n").rpartition("FORMAT")
            try:
                SESSION.query(f"{head} FROM INFILE '{path}' FORMAT {form.strip()}")
            finally:
                path.unlink()
            return b"", {}
        result = SESSION.query(query + body.decode(), parameters.get("default_format", "TabSeparated"))
        return result.bytes(), {
            "read_rows": str(result.storage_rows_read()),
            "read_bytes": str(result.storage_bytes_read()),
            "elapsed_ns": str(int(result.elapsed() * 1e9)),
        }

    def log_message(self, *_):
        pass


FOLDER = pathlib.Path(sys.argv[1])
SESSION = session.Session(str(FOLDER / "data"))
SESSION.query("CREATE DATABASE IF NOT EXISTS otel")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
# nothing here is kept, and an orderly end takes seconds
os._exit(0)
