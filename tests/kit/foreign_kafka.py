"""A Kafka client that is not ours, in a process of its own: reads commands as JSON lines, answers each with one.

Started as: foreign_kafka.py BOOTSTRAP. Ends with its standard input.
"""
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

TIMEOUT = 20
quiet = {"bootstrap.servers": sys.argv[1], "log_level": 0}


def produce(topic, value, key=None, headers=(), partition=None):
    placed = []
    producer.produce(topic, value, key=key, headers=[tuple(header) for header in headers],
                     on_delivery=lambda error, message: placed.append((error, message)),
                     **({} if partition is None else {"partition": partition}))
    producer.flush(TIMEOUT)
    if not placed:
        raise TimeoutError(f"the broker took nothing within {TIMEOUT} s")
    error, message = placed[0]
    if error:
        raise RuntimeError(str(error))
    return {"partition": message.partition(), "offset": message.offset()}


def read(topic, partition, offset, count):
    consumer = Consumer({**quiet, "group.id": "foreign", "enable.auto.commit": False, "auto.offset.reset": "error"})
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING if offset is None else offset)])
        records = []
        while len(records) < count:
            message = consumer.poll(TIMEOUT)
            if message is None:
                raise TimeoutError(f"{len(records)} of {count} records came within {TIMEOUT} s")
            if message.error():
                raise RuntimeError(str(message.error()))
            text = lambda value: None if value is None else value.decode()
            records.append({"offset": message.offset(), "key": text(message.key()), "value": text(message.value()),
                            "headers": [[name, text(value)] for name, value in message.headers() or []]})
        return records
    finally:
        consumer.close()


# Placed by key as Java's clients do it.
producer = Producer({**quiet, "partitioner": "murmur2_random", "linger.ms": 0})
for line in sys.stdin:
    command = json.loads(line)
    do = {"produce": produce, "read": read}[command.pop("do")]
    try:
        answer = {"ok": do(**command)}
    except Exception as error:  # every error is an answer: the test says what it expected
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
