"""Many clients in one process that mostly say nothing.

Started as: idle_crowd.py HOST PORT COUNT. Opens COUNT connections, each with one request, and prints how many were answered with
200. Then reads commands as JSON lines: "open" tells how many connections the other side has left open, "again" sends one more
request on each and tells how many were answered. Ends with its standard input.
"""
import json
import resource
import select
import socket
import sys

REQUEST = b"GET /small HTTP/1.1\r\nhost: crowd\r\n\r\n"
address = (sys.argv[1], int(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def answered(crowd):
    """Sends the request on each and counts the answers of 200; a few are under way at a time."""
    count = 0
    for at in range(0, len(crowd), 64):
        some = crowd[at:at + 64]
        for one in some:
            one.sendall(REQUEST)
        for one in some:
            got = b""
            while b"\r\n\r\nsmall" not in got:
                more = one.recv(4096)
                if not more:
                    break
                got += more
            count += got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"small")
    return count


def still_open(crowd):
    """Those of which nothing can be read, neither bytes nor the end."""
    poll = select.poll()
    for one in crowd:
        poll.register(one, select.POLLIN | select.POLLRDHUP)
    return len(crowd) - len(poll.poll(0))


def connect():
    one = socket.create_connection(address, timeout=20)
    return one


crowd = [connect() for _ in range(int(sys.argv[3]))]
print(json.dumps({"ok": answered(crowd)}), flush=True)
for line in sys.stdin:
    do = {"open": still_open, "again": answered}[json.loads(line)]
    try:
        answer = {"ok": do(crowd)}
    except Exception as error:  # every error is an answer: the test says what it expected
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
