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
    # A body that is too large for one item: each part is an item of its own.
    payload = b""
    for number in range(int(item["parts"]["N"])):
        key = {"pk": {"S": f"{event_id}#{number:03}"}, "sk": {"S": "part"}}
        part = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        if part is None:
            raise LookupError("parts of the payload are missing: try again")
        payload += part["body"]["B"]
    return payload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stack.add_argument(parser)
    parser.add_argument("subject")
    parser.add_argument("id")
    options = parser.parse_args()
    addresses = stack.read(options.stack)
    table = stack.required(addresses, "events_table")
    payload = fetch(stack.client(addresses, "dynamodb"), table, options.subject, options.id)
    if payload is None:
        sys.exit("there is no such event, or it is not kept any more")
    sys.stdout.buffer.write(payload)


if __name__ == "__main__":
    main()
