"""Reads messages with h11. One line in: `client HEX` or `server ASKED,ASKED HEX`, with `closed` behind it where the sender
closes; one line out: what was read, event by event, in the words of ../foreign.rs."""

import sys

import h11

# The bounds are ours: h11 is asked what a message means, not how long it may be.
LIMIT = 1 << 24

ASKED = {
    "get": ("GET", [("Host", "a")]),
    "head": ("HEAD", [("Host", "a")]),
    "upgrade": ("GET", [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")]),
}


def lines(word, headers):
    return [f"{word} {bytes(name).hex()} {bytes(value).hex()}" for name, value in headers]


def told(event):
    if isinstance(event, h11.Request):
        first = f"request {event.method.hex()} {event.target.hex()} {event.http_version.decode()}"
        return [first, *lines("field", event.headers)]
    if isinstance(event, (h11.Response, h11.InformationalResponse)):
        return [f"response {event.status_code} {event.http_version.decode()}", *lines("field", event.headers)]
    if isinstance(event, h11.Data):
        return [f"data {bytes(event.data).hex()}"]
    if isinstance(event, h11.EndOfMessage):
        return [*lines("trailer", event.headers), "end"]
    return []


def fresh(role, rest, closed):
    connection = h11.Connection(our_role=role, max_incomplete_event_size=LIMIT)
    if rest:
        connection.receive_data(rest)
    if closed:
        connection.receive_data(b"")
    return connection


def finish(connection):
    """Answers a request, so that the next one may be read."""
    if connection.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())


def read(role, asked, rest, closed, events):
    while rest or (closed and not events):
        connection = fresh(role, rest, closed)
        if role is h11.CLIENT:
            if not asked:
                return
            method, headers = ASKED[asked.pop(0)]
            connection.send(h11.Request(method=method, target="/", headers=headers))
            connection.send(h11.EndOfMessage())
        while True:
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                break
            events += told(event)
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                break
            if isinstance(event, h11.EndOfMessage):
                break
        if role is h11.SERVER and events and events[-1] == "end":
            finish(connection)
        before, rest = rest, connection.trailing_data[0]
        if connection.their_state is h11.SWITCHED_PROTOCOL:
            if rest:
                events.append(f"tunnel {rest.hex()}")
            return
        if not events or events[-1] != "end" or rest == before:
            return


for line in sys.stdin:
    words = line.split()
    closed = words[-1] == "closed"
    if closed:
        words.pop()
    role = h11.SERVER if words[0] == "client" else h11.CLIENT
    asked = words[1].split(",") if words[0] == "server" else []
    data = bytes.fromhex(words[2 if words[0] == "server" else 1])
    answer = []
    try:
        read(role, asked, data, closed, answer)
    except h11.RemoteProtocolError as error:
        answer.append(f"refused {error}")
    print("\t".join(answer), flush=True)
