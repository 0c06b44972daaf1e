"""Fetches the payload of a message: the callback's body as it came, which the message itself does not carry.

It is personal data. See docs/payload.md.
"""

import argparse
import sys

import stack


def fetch(dynamodb, table: str, subject: str, event_id: str) -> bytes | None:
    """The payload of the message with this subject and id. None if it is not kept any more."""
    item = dynamodb.get_item(
        TableName=table, Key={"pk": {"S": subject}, "sk": {"S": event_id}}, ConsistentRead=True
    ).get("Item")
    if item is None:
        return None
    if "parts" not in item:
        return item["body"]["B"]
    # A body that is too large for one item. The parts' sort keys end with their numbers, so they come in order.
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :subject AND begins_with(sk, :parts)",
        ExpressionAttributeValues={":subject": {"S": subject}, ":parts": {"S": f"part#{event_id}#"}},
        ConsistentRead=True,
    )
    parts = [part["body"]["B"] for page in pages for part in page["Items"]]
    if len(parts) != int(item["parts"]["N"]):
        raise LookupError("parts of the payload are missing: try again")
    return b"".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stack.add_argument(parser)
    parser.add_argument("subject")
    parser.add_argument("id")
    options = parser.parse_args()
    addresses = stack.read(options.stack)
    dynamodb = stack.client(addresses, "dynamodb")
    payload = fetch(dynamodb, addresses["events_table"], options.subject, options.id)
    if payload is None:
        sys.exit("there is no such event, or it is not kept any more")
    sys.stdout.buffer.write(payload)


if __name__ == "__main__":
    main()
