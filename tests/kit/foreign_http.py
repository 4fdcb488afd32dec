"""An HTTP/1.1 client that is not ours, Python's own, in a process of its own: reads requests as JSON lines, answers each with one.

Started as: foreign_http.py HOST PORT. Sends all of them on one connection while the other side keeps it. Ends with its
standard input.
"""
import http.client
import json
import sys

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)


def ask(method, target, headers=None, body=None, chunks=None):
    new_connection = connection.sock is None
    if chunks is None:
        connection.request(method, target, body and body.encode(), headers or {})
    else:
        connection.request(method, target, (chunk.encode() for chunk in chunks), headers or {}, encode_chunked=True)
    answer = connection.getresponse()
    return {"status": answer.status, "headers": [[name.lower(), value] for name, value in answer.getheaders()],
            "body": answer.read().decode(), "new_connection": new_connection}


for line in sys.stdin:
    try:
        answer = {"ok": ask(**json.loads(line))}
    except Exception as error:  # every error is an answer: the test says what it expected
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
