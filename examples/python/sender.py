"""Sends passwords and links: each at most once, and none that has expired.

What was sent cannot be undone, and no transaction holds both the gateway and the database. So the id is recorded before the
gateway is called. If this program is killed in between, nobody knows whether the customer got it: it is not sent again, and
becomes a dead letter. If your gateway takes an idempotency key, give it the event's id, and send again instead.
"""

import argparse
import json
import logging
import signal
import sqlite3
import sys
import time
from datetime import datetime, timezone

import stack
from stack import BotoCoreError, ClientError

SCHEMA = """
-- The events that were dealt with, and how: `sending`, `sent` or `expired`. No password, link or address is in here.
CREATE TABLE IF NOT EXISTS deliveries (event_id TEXT PRIMARY KEY, state TEXT NOT NULL);
"""

# How long the queue may let us wait for a message, and so how long SIGTERM may have to wait.
WAIT_SECONDS = 3

log = logging.getLogger("sender")


class NotTaken(Exception):
    """The gateway said that it did not take a message. It may be sent again."""


class Unclear(Exception):
    """Whether the gateway took a message is not known. It must not be sent again."""


class FileGateway:
    """Stands in for your SMS and e-mail gateway: appends what it is to send to a file.

    Raises NotTaken only if nothing was sent. A timeout is something else.
    """

    def __init__(self, file: str):
        self.file = file

    def send(self, by: str, to: str, text: str) -> None:
        with open(self.file, "a", encoding="utf-8") as outbox:
            outbox.write(json.dumps({"by": by, "to": to, "text": text}) + "\n")


def read(body: str) -> dict[str, str]:
    """What is to be sent, to whom, and until when. Raises if that is not said: then it cannot be sent."""
    event = json.loads(body)
    details = event["data"]["details"]
    # A text may name its link, or be all there is; a link may come alone.
    text = " ".join(details[part] for part in ("text", "link") if details.get(part))
    request = {"id": event["id"], "expires": event["expirytime"], "text": text}
    request.update(by=details["by"], to=details["to"])
    if event["specversion"] != "1.0" or not all(isinstance(value, str) and value for value in request.values()):
        raise ValueError("not a delivery request of ours")
    if request["by"] not in ("sms", "email"):
        raise ValueError("not a way that we know")
    return request


def deliver(database: sqlite3.Connection, gateway: FileGateway, request: dict[str, str], now: datetime) -> str:
    """Sends what is to be sent, unless it was sent before or is too late. Returns what was done."""
    is_late = datetime.fromisoformat(request["expires"].replace("Z", "+00:00")) <= now
    state = {"id": request["id"], "state": "expired" if is_late else "sending"}
    with database:
        noted = database.execute("INSERT OR IGNORE INTO deliveries VALUES (:id, :state)", state)
    if noted.rowcount == 0:
        (before,) = database.execute("SELECT state FROM deliveries WHERE event_id = :id", request).fetchone()
        if before == "sending":
            raise Unclear
        return f"{before} before"
    if is_late:
        return "expired"
    try:
        gateway.send(request["by"], request["to"], request["text"])
    except NotTaken:
        with database:
            database.execute("DELETE FROM deliveries WHERE event_id = :id", request)
        raise
    with database:
        database.execute("UPDATE deliveries SET state = 'sent' WHERE event_id = :id", request)
    return "sent"


class Sender:
    def __init__(self, sqs, queue_url: str, database: sqlite3.Connection, options: argparse.Namespace):
        self.sqs, self.queue_url, self.database, self.options = sqs, queue_url, database, options
        self.gateway = FileGateway(options.outbox)
        self.stopping = False

    def stop(self, *_) -> None:
        """Finish the message in hand, and end."""
        self.stopping = True

    def run(self) -> None:
        while not self.stopping:
            try:
                # One at a time: the queue has no order, and what waits behind a slow call of the gateway would grow old
                # here while another sender has nothing to do.
                received = self.sqs.receive_message(
                    QueueUrl=self.queue_url,
                    MaxNumberOfMessages=1,
                    WaitTimeSeconds=WAIT_SECONDS,
                    VisibilityTimeout=self.options.visibility,
                )
            except (BotoCoreError, ClientError) as error:
                log.warning("failed to receive, trying again: %s", error)
                time.sleep(WAIT_SECONDS)
                continue
            messages = received.get("Messages", [])
            if not messages and self.options.until_empty:
                return
            for message in messages:
                self.handle_message(message)

    def handle_message(self, message: dict) -> None:
        try:
            request = read(message["Body"])
            done = deliver(self.database, self.gateway, request, datetime.now(timezone.utc))
        except sqlite3.Error:
            raise  # Without its record, it must not send.
        except Exception as error:
            # Left where it is: after the fifth time, the redrive policy moves it to the dead letters. Of the error, its
            # type: its text may hold the password.
            log.error("failed to deliver message %s, leaving it: %s", message["MessageId"], type(error).__name__)
            return
        print(f"{done:<14}  {request['id']}", flush=True)
        try:
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        except (BotoCoreError, ClientError) as error:
            log.warning("failed to delete message %s, so it comes again: %s", message["MessageId"], error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stack.add_argument(parser)
    parser.add_argument("--database", metavar="FILE", default="sender.sqlite")
    parser.add_argument("--outbox", metavar="FILE", default="outbox.jsonl", help="what stands in for your gateway")
    parser.add_argument("--visibility", metavar="SECONDS", type=int, default=60, help="how long the gateway may take")
    parser.add_argument("--until-empty", action="store_true", help="end when nothing comes any more")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")

    addresses = stack.read(options.stack)
    queue_url = stack.required(addresses, "delivery_queue_url")
    sqs = stack.client(addresses, "sqs")
    database = sqlite3.connect(options.database)
    database.executescript(SCHEMA)
    sender = Sender(sqs, queue_url, database, options)
    signal.signal(signal.SIGTERM, sender.stop)
    signal.signal(signal.SIGINT, sender.stop)
    sender.run()


if __name__ == "__main__":
    main()
