"""Counts in how many segments each message arrives, which the system tells of a socket (TCP_INFO): as a client or as a service.

Over loopback a segment has room for 64 KiB, so a message of less takes as many as its sender made writes. Started as
`segments.py client HOST PORT`: reads requests as JSON lines, sends each in one write on the same connection, and tells the status
of its answer and the segments that took. Started as `segments.py service`: prints its port, answers every request with 204, and
tells for every JSON line it reads the first lines of the requests so far, each with its segments. Ends with its standard input.
"""
import json
import socket
import struct
import sys
import threading

# tcpi_data_segs_in of struct tcp_info (linux/tcp.h).
DATA_SEGMENTS_IN = 152


# Segments of each connection that were told already.
counted = {}


def new_segments(connection):
    """Segments with data that the connection has received since the last call. One message is under way at a time."""
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    now = struct.unpack_from("=I", told, DATA_SEGMENTS_IN)[0]
    before, counted[connection] = counted.get(connection, 0), now
    return now - before


def read_message(connection, has_content):
    """The first line of the next message, which ends as its length or its last chunk says, and the segments it came in."""
    got = b""
    while True:
        head, blank, rest = got.partition(b"\r\n\r\n")
        if blank:
            lines = head.lower().split(b"\r\n")
            lengths = [line.split(b":")[1] for line in lines if line.startswith(b"content-length:")]
            is_chunked = b"transfer-encoding: chunked" in lines
            is_last = b"\r\n0\r\n" in rest and rest.endswith(b"\r\n\r\n")
            ended = is_last if is_chunked else len(rest) >= int(lengths[0] if lengths else 0)
            if ended or not has_content:
                return head.split(b"\r\n")[0].decode(), new_segments(connection)
        more = connection.recv(65536)
        if not more:
            raise EOFError(f"the connection ended behind {got!r}")
        got += more


def ask(connection, request):
    connection.sendall(request.encode())
    start, segments = read_message(connection, not request.startswith("HEAD "))
    return [int(start.split(" ")[1]), segments]


def serve(connection, seen):
    try:
        while True:
            seen.append(read_message(connection, True))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    except (EOFError, OSError):
        connection.close()


def accept(listener, seen):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, seen), daemon=True).start()


if sys.argv[1] == "client":
    one = socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=20)
    do = lambda request: ask(one, request)
else:
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []
    threading.Thread(target=accept, args=(listener, seen), daemon=True).start()
    print(json.dumps({"ok": listener.getsockname()[1]}), flush=True)
    do = lambda _: seen
for line in sys.stdin:
    try:
        answer = {"ok": do(json.loads(line))}
    except Exception as error:  # every error is an answer: the test says what it expected
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
