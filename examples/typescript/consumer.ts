// Consumes verdicts: every message once in effect, in order per verification.
//
// One transaction writes the effect, here two tables in SQLite, and the event's id. A message can come again: the queue
// or an operator repeats it, or this program is killed. The second time, it has no effect.

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
-- The events that were applied. A message with one of these ids is a repeat. Keep the ids for as long as the stack
-- keeps the events: until then, callbacks replay can send the messages again.
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
`;

// The kinds and outcomes that count as verdicts. Later versions may add others: this consumer keeps those in the
// history and does not act on them.
const VERDICTS = new Set([
  // made from the registrations: verdicts
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
  // up to here
]);
const OUTCOMES = new Set(["approved", "rejected", "review", "action_required", "pending", "failed"]);

// How long the queue may let us wait for a message, and so how long SIGTERM may have to wait.
const WAIT_SECONDS = 3;

/** The fields of a message that this consumer needs. It ignores all others. */
interface Event {
  readonly id: string;
  readonly provider: string;
  readonly subject: string;
  readonly track: string;
  readonly type: string;
  readonly outcome: string;
  readonly sequence: string;
}

/** Whether the database failed, rather than refused what a message would put into it (SQLITE_CONSTRAINT). */
function isDatabaseFailure(error: unknown): boolean {
  const { code, errcode } = error as { code?: unknown; errcode?: number };
  return code === "ERR_SQLITE_ERROR" && ((errcode ?? 0) & 0xff) !== 19;
}

/** Reads a message. Throws if a field is missing: this consumer can never handle such a message. */
function read(body: string | undefined): Event {
  // Nothing has checked this type yet. The next lines do.
  const event = JSON.parse(body ?? "") as Partial<Event> & { specversion?: unknown; data?: Partial<Event> };
  const { id, subject, type, outcome, sequence, data } = event;
  const fields = { id, provider: data?.provider, subject, track: data?.track, type, outcome, sequence };
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
      // Not the message's fault, and the next one would fail too. Once this program is started again,
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

  /** Applies a message unless it was applied before. Returns what was done. */
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
      // A message from the dead letters comes after newer ones of its track. It must not replace their verdict. All
      // sequences have 16 digits, so they compare as texts.
      const stored = this.database
        .prepare(
          `INSERT INTO verifications (provider, subject, track, outcome, sequence) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (provider, subject, track) DO UPDATE
           SET outcome = excluded.outcome, sequence = excluded.sequence WHERE excluded.sequence > sequence`,
        )
        .run(event.provider, event.subject, event.track, outcome, event.sequence);
      return Number(stored.changes) === 1 ? outcome : "superseded";
    });
  }

  /** Commits what the work did, or rolls it back if it throws. */
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
