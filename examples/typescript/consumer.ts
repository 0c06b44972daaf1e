// Consumes verdicts: every message once in effect, in order per verification.
//
// The effect, which here are two tables in SQLite, and the record of the event's id are one transaction. So a message
// that comes again, because a provider, the queue or an operator repeated it or because this program was killed, has no
// second effect.

import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { clientConfig, readStack, required } from "./stack.ts";

const SCHEMA = `
-- The events that had their effect. A message with one of these ids is a repeat. Keep them for as long as messages can
-- be sent again (callbacks replay): as long as the events are kept.
CREATE TABLE IF NOT EXISTS handled (event_id TEXT PRIMARY KEY);
-- The effect: everything that was told, in the order in which it was handled,
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, event_id TEXT, subject TEXT, type TEXT, outcome TEXT);
-- and the latest verdict of each verification.
CREATE TABLE IF NOT EXISTS verifications (subject TEXT PRIMARY KEY, outcome TEXT NOT NULL, received_at TEXT NOT NULL);
`;

// What counts as a verdict here. More kinds and outcomes may come: what is not in these lists is kept in the history,
// and is no verdict, whatever it may say.
const VERDICTS = new Set([
  "verification.identomat.session-change",
  "verification.jumio.document-verification",
  "verification.jumio.netverify-authentication",
  "verification.jumio.netverify-id",
  "verification.signicat.process-status",
  "verification.verifyvasp.verification-result",
  "verification.wallet.verification",
]);
const OUTCOMES = new Set(["approved", "rejected", "review", "action_required", "pending", "failed"]);

// How long the queue may let us wait for a message, and so how long SIGTERM may have to wait.
const WAIT_SECONDS = 3;

/** What this consumer needs of a message. Whatever else is in it, now or in a later version, it does not mind. */
interface Event {
  readonly id: string;
  readonly subject: string;
  readonly type: string;
  readonly outcome: string;
  readonly receivedAt: string;
}

/** Whether the database failed, rather than refused what a message would put into it (SQLITE_CONSTRAINT). */
function isDatabaseFailure(error: unknown): boolean {
  const { code, errcode } = error as { code?: unknown; errcode?: number };
  return code === "ERR_SQLITE_ERROR" && ((errcode ?? 0) & 0xff) !== 19;
}

/** Reads a message. Throws if what is needed is not there: such a message is none that it could ever handle. */
function read(body: string | undefined): Event {
  // The type is a hope; the next lines make sure.
  const event = JSON.parse(body ?? "") as Partial<Event> & { specversion?: unknown; data?: { received_at?: string } };
  const { id, subject, type, outcome, data } = event;
  const fields = { id, subject, type, outcome, receivedAt: data?.received_at };
  const areTexts = Object.values(fields).every((value) => typeof value === "string" && value !== "");
  if (event.specversion !== "1.0" || !areTexts) throw new Error("not a CloudEvent of ours");
  return fields as Event;
}

class Consumer {
  private readonly sqs: SQSClient;
  private readonly queueUrl: string;
  private readonly database: DatabaseSync;
  private readonly options: { batch: number; visibility: number; untilEmpty: boolean };
  private stopping = false;

  constructor(sqs: SQSClient, queueUrl: string, database: DatabaseSync, options: Consumer["options"]) {
    this.sqs = sqs;
    this.queueUrl = queueUrl;
    this.database = database;
    this.options = options;
  }

  /** Finish the message in hand, and end. */
  stop(): void {
    this.stopping = true;
  }

  async run(): Promise<void> {
    while (!this.stopping) {
      const messages = await this.receive();
      if (messages === undefined) {
        await sleep(WAIT_SECONDS * 1000);
        continue;
      }
      if (messages.length === 0 && this.options.untilEmpty) return;
      // A batch that takes half of its time is let go, before others receive the rest of it too.
      await this.handleBatch(messages, performance.now() + (this.options.visibility * 1000) / 2);
    }
  }

  private async receive(): Promise<Message[] | undefined> {
    try {
      const received = await this.sqs.send(
        new ReceiveMessageCommand({
          QueueUrl: this.queueUrl,
          MaxNumberOfMessages: this.options.batch,
          WaitTimeSeconds: WAIT_SECONDS,
          VisibilityTimeout: this.options.visibility,
          MessageSystemAttributeNames: ["MessageGroupId"],
        }),
      );
      return received.Messages ?? [];
    } catch (error) {
      console.error(`failed to receive, trying again: ${error}`);
      return undefined;
    }
  }

  private async handleBatch(messages: Message[], deadline: number): Promise<void> {
    const failed = new Set<string>();
    for (const message of messages) {
      // The group is the verification. The queue does not go past a message that it gave out and that was not deleted;
      // in a batch, that is for us to see to.
      const group = message.Attributes?.MessageGroupId ?? "";
      if (this.stopping || performance.now() > deadline) {
        await this.giveBack(message);
      } else if (!failed.has(group) && !(await this.handleMessage(message))) {
        failed.add(group);
      }
      // Signals are heard only between the turns of the loop.
      await sleep(0);
    }
  }

  /** Returns whether the message is done with. */
  private async handleMessage(message: Message): Promise<boolean> {
    try {
      const event = read(message.Body);
      const done = this.handle(event);
      console.log(`${done.padEnd(10)}  ${event.type}  ${event.subject}  ${event.id}`);
    } catch (error) {
      // Not the message's fault, and the next one would fare no better. Whoever runs this program starts it again, and
      // it receives nothing before the database is there.
      if (isDatabaseFailure(error)) throw error;
      // Left where it is: it comes again when its visibility timeout ends, and after the fifth time the redrive policy
      // moves it to the dead letters. Neither this program nor another verification is held up by it.
      const name = error instanceof Error ? error.name : "unknown";
      console.error(`failed to handle message ${message.MessageId}, leaving it: ${name}`);
      return false;
    }
    await this.delete(message);
    return true;
  }

  /** Has the effect of a message unless it had it before. Returns what was done. */
  private handle(event: Event): string {
    const isVerdict = VERDICTS.has(event.type) && OUTCOMES.has(event.outcome);
    const outcome = isVerdict ? event.outcome : "none";
    return this.transaction(() => {
      const noted = this.database.prepare("INSERT OR IGNORE INTO handled VALUES (?)").run(event.id);
      if (Number(noted.changes) === 0) return "repeat";
      this.database
        .prepare("INSERT INTO history (event_id, subject, type, outcome) VALUES (?, ?, ?, ?)")
        .run(event.id, event.subject, event.type, outcome);
      if (!isVerdict) return "no verdict";
      // What comes out of the dead letters comes late: it must not replace a later verdict.
      this.database
        .prepare(
          `INSERT INTO verifications VALUES (?, ?, ?) ON CONFLICT (subject) DO UPDATE
           SET outcome = excluded.outcome, received_at = excluded.received_at
           WHERE excluded.received_at >= received_at`,
        )
        .run(event.subject, outcome, event.receivedAt);
      return outcome;
    });
  }

  /** All of it or, if anything is thrown, nothing. */
  private transaction<T>(work: () => T): T {
    this.database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.database.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw error;
    }
  }

  private async delete(message: Message): Promise<void> {
    try {
      const command = new DeleteMessageCommand({ QueueUrl: this.queueUrl, ReceiptHandle: message.ReceiptHandle });
      await this.sqs.send(command);
    } catch (error) {
      console.error(`failed to delete message ${message.MessageId}, so it comes again: ${error}`);
    }
  }

  /** Lets the next consumer receive it at once. */
  private async giveBack(message: Message): Promise<void> {
    try {
      const { ReceiptHandle } = message;
      const command = { QueueUrl: this.queueUrl, ReceiptHandle, VisibilityTimeout: 0 };
      await this.sqs.send(new ChangeMessageVisibilityCommand(command));
    } catch (error) {
      console.error(`failed to give message ${message.MessageId} back, so it comes later: ${error}`);
    }
  }
}

const { values } = parseArgs({
  options: {
    // A local stack's addresses: target/local/stack.json. Without it, the environment has them.
    stack: { type: "string" },
    database: { type: "string", default: "consumer.sqlite" },
    // How many messages to receive at once, 1 to 10.
    batch: { type: "string", default: "10" },
    // For how many seconds what is received is hidden from others; a batch is let go after half of it.
    visibility: { type: "string", default: "60" },
    // End when nothing comes any more.
    "until-empty": { type: "boolean", default: false },
  },
});
const stack = readStack(values.stack);
const database = new DatabaseSync(values.database, { timeout: 5000 });
database.exec(SCHEMA);
const queueUrl = required(stack.verification_queue_url, "VERIFICATION_QUEUE_URL");
const consumer = new Consumer(new SQSClient(clientConfig(stack)), queueUrl, database, {
  batch: Number(values.batch),
  visibility: Number(values.visibility),
  untilEmpty: values["until-empty"],
});
process.on("SIGTERM", () => consumer.stop());
process.on("SIGINT", () => consumer.stop());
await consumer.run();
