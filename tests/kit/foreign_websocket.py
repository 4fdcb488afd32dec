"""A WebSocket service that is not ours, in a process of its own: gives back every message.

Prints its port as a line of JSON. The message `asked` is answered with the fields of the upgrade request, as pairs. The path
`/refused` is refused with 403. Ends with its standard input.
"""
import json
import sys
import threading

from websockets.exceptions import ConnectionClosedError
from websockets.sync.server import serve


def refuse(connection, request):
    if request.path == "/refused":
        return connection.respond(403, "not here\n")


def echo(connection):
    try:
        for message in connection:
            if message == "asked":
                message = json.dumps([[name.lower(), value] for name, value in connection.request.headers.raw_items()])
            connection.send(message)
    except ConnectionClosedError:
        # A tunnel that is cut ends without a close frame: some tests cut it.
        pass


with serve(echo, "127.0.0.1", 0, process_request=refuse, compression=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"ok": server.socket.getsockname()[1]}), flush=True)
    sys.stdin.read()
