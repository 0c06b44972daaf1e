"""Consumes verdicts: every message once in effect, in order per verification.

One transaction writes the effect, here two tables in SQLite, and the event's id. A message can come again: the queue or
an operator repeats it, or this program is killed. The second time, it has no effect.
"""

import argparse
import json
import logging
import signal
import sqlite3
import sys
import time

import stack
from stack import BotoCoreError, ClientError

SCHEMA = """
-- The events that were applied. A message with one of these ids is a repeat. Keep the ids for as long as the stack
-- keeps the events: until then, `callbacks replay` can send the messages again.
CREATE TABLE IF NOT EXISTS handled (event_id TEXT PRIMARY KEY);
-- The effect is two tables. One has every message, in the order in which it was handled.
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, event_id TEXT, subject TEXT, type TEXT, outcome TEXT);
-- The other has the latest verdict of each track of a verification.
CREATE TABLE IF NOT EXISTS verifications (
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    track TEXT NOT NULL,
    outcome TEXT NOT NULL,
    sequence TEXT NOT NULL,
    PRIMARY KEY (provider, subject, track)
);
"""

# The kinds and outcomes that count as verdicts. Later versions may add others: this consumer keeps those in the
# history and does not act on them.
VERDICTS = {
    # made from the registrations: verdicts
    "verification.identomat.session-change",
    "verification.jumio.document-verification",
    "verification.jumio.netverify-authentication",
    "verification.jumio.netverify-id",
    "verification.onfido.check",
    "verification.onfido.workflow-run",
    "verification.persona.inquiry-status",
    "verification.signicat.process-status",
    "verification.sumsub.applicant-status",
    "verification.veriff.decision",
    "verification.veriff.session-event",
    "verification.verifyvasp.error-report",
    "verification.verifyvasp.owner-verification-result-report",
    "verification.verifyvasp.verification-result",
    "verification.wallet.issuance",
    "verification.wallet.verification",
    # up to here
}
OUTCOMES = {"approved", "rejected", "review", "action_required", "pending", "failed"}

# How long the queue may let us wait for a message, and so how long SIGTERM may have to wait.
WAIT_SECONDS = 3

log = logging.getLogger("consumer")


def read(body: str) -> dict[str, str]:
    """Returns the fields of a message that this consumer needs, and ignores all others.

    Raises if one of them is missing: this consumer can never handle such a message.
    """
    event = json.loads(body)
    fields = {name: event[name] for name in ("id", "subject", "type", "outcome", "sequence")}
    fields.update({name: event["data"][name] for name in ("provider", "track")})
    if event["specversion"] != "1.0" or not all(isinstance(value, str) and value for value in fields.values()):
        raise ValueError("not a CloudEvent of ours")
    return fields


def handle(database: sqlite3.Connection, event: dict[str, str]) -> str:
    """Applies a message unless it was applied before. Returns what was done."""
    with database:  # One transaction: it rolls back if anything is raised.
        noted = database.execute("INSERT OR IGNORE INTO handled VALUES (:id)", event)
        if noted.rowcount == 0:
            return "repeat"
        is_verdict = event["type"] in VERDICTS and event["outcome"] in OUTCOMES
        event = event if is_verdict else {**event, "outcome": "none"}
        database.execute(
            "INSERT INTO history (event_id, subject, type, outcome) VALUES (:id, :subject, :type, :outcome)", event
        )
        if not is_verdict:
            return "no verdict"
        # A message from the dead letters comes after newer ones of its track. It must not replace their verdict. All
        # sequences have 16 digits, so they compare as texts.
        stored = database.execute(
            "INSERT INTO verifications (provider, subject, track, outcome, sequence) "
            "VALUES (:provider, :subject, :track, :outcome, :sequence) "
            "ON CONFLICT (provider, subject, track) DO UPDATE "
            "SET outcome = excluded.outcome, sequence = excluded.sequence WHERE excluded.sequence > sequence",
            event,
        )
        return event["outcome"] if stored.rowcount == 1 else "superseded"


class Consumer:
    def __init__(self, sqs, queue_url: str, database: sqlite3.Connection, options: argparse.Namespace):
        self.sqs, self.queue_url, self.database, self.options = sqs, queue_url, database, options
        self.stopping = False

    def stop(self, *_) -> None:
        """Finish the message in hand, and end."""
        self.stopping = True

    def run(self) -> None:
        while not self.stopping:
            try:
                messages = self.receive()
            except (BotoCoreError, ClientError) as error:
                log.warning("failed to receive, trying again: %s", error)
                time.sleep(WAIT_SECONDS)
                continue
            if not messages and self.options.until_empty:
                return
            # A batch that takes half of its time is let go, before others receive the rest of it too.
            self.handle_batch(messages, deadline=time.monotonic() + self.options.visibility / 2)

    def receive(self) -> list[dict]:
        received = self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=self.options.batch,
            WaitTimeSeconds=WAIT_SECONDS,
            VisibilityTimeout=self.options.visibility,
            MessageSystemAttributeNames=["MessageGroupId"],
        )
        return received.get("Messages", [])

    def handle_batch(self, messages: list[dict], deadline: float) -> None:
        failed = set()
        for message in messages:
            # The group is the verification. The queue does not go past a message that it gave out and that was not
            # deleted; in a batch, that is for us to see to.
            group = message["Attributes"]["MessageGroupId"]
            if self.stopping or time.monotonic() > deadline:
                self.give_back(message)
            elif group not in failed and not self.handle_message(message):
                failed.add(group)

    def handle_message(self, message: dict) -> bool:
        """Returns whether the message is done with."""
        try:
            event = read(message["Body"])
            done = handle(self.database, event)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                # Not the message's fault, and the next one would fail too. Once this program is started
                # again, it receives nothing before the database is there.
                raise
            # Left where it is: it comes again when its visibility timeout ends, and after the fifth time the redrive
            # policy moves it to the dead letters. Neither this program nor another verification is held up by it.
            log.error("failed to handle message %s, leaving it: %s", message["MessageId"], type(error).__name__)
            return False
        print(f"{done:<10}  {event['type']}  {event['subject']}  {event['id']}", flush=True)
        self.delete(message)
        return True

    def delete(self, message: dict) -> None:
        try:
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        except (BotoCoreError, ClientError) as error:
            log.warning("failed to delete message %s, so it comes again: %s", message["MessageId"], error)

    def give_back(self, message: dict) -> None:
        """Lets the next consumer receive it at once."""
        try:
            handle = message["ReceiptHandle"]
            self.sqs.change_message_visibility(QueueUrl=self.queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
        except (BotoCoreError, ClientError) as error:
            log.warning("failed to give message %s back, so it comes later: %s", message["MessageId"], error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stack.add_argument(parser)
    parser.add_argument("--database", metavar="FILE", default="consumer.sqlite")
    parser.add_argument("--batch", type=int, default=10, help="how many messages to receive at once, 1 to 10")
    visibility = "for how long what is received is hidden from others; a batch is let go after half of it"
    parser.add_argument("--visibility", metavar="SECONDS", type=int, default=60, help=visibility)
    parser.add_argument("--until-empty", action="store_true", help="end when nothing comes any more")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")

    addresses = stack.read(options.stack)
    queue_url = stack.required(addresses, "verification_queue_url")
    sqs = stack.client(addresses, "sqs")
    database = sqlite3.connect(options.database)
    database.executescript(SCHEMA)
    consumer = Consumer(sqs, queue_url, database, options)
    signal.signal(signal.SIGTERM, consumer.stop)
    signal.signal(signal.SIGINT, consumer.stop)
    consumer.run()


if __name__ == "__main__":
    main()
