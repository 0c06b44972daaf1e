// What both functions do alike: read a request, make an event of it, tell of it once, answer.
//
// Clients are made once, when the function starts, and used by every utility.

import { createHash } from "node:crypto";
import type { JSONValue } from "@aws-lambda-powertools/commons/types";
import type { RequestContext } from "@aws-lambda-powertools/event-handler/types";
import { Router } from "@aws-lambda-powertools/event-handler/http";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { Logger } from "@aws-lambda-powertools/logger";
import { MetricUnit, Metrics } from "@aws-lambda-powertools/metrics";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import type { Context } from "aws-lambda";

/** A variable of the environment. */
export function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const QUEUE_URL = required("VERIFICATION_QUEUE_URL");

export const logger = new Logger();
export const metrics = new Metrics();
export const dynamodb = new DynamoDBClient({});
const sqs = new SQSClient({});

const idempotency = new IdempotencyConfig({
  expiresAfterSeconds: 365 * 24 * 60 * 60,
  // The utility calls this instead of the function when an event is there already.
  responseHook: (response) => {
    metrics.addMetric("Duplicates", MetricUnit.Count, 1);
    return response;
  },
});
const events = new DynamoDBPersistenceLayer({ tableName: required("IDEMPOTENCY_TABLE"), awsSdkV3Client: dynamodb });

/** An authentic callback that is not understood. Its message is the reason. */
export class Unrecognized extends Error {
  readonly subject: string | undefined;

  constructor(reason: string, subject?: string) {
    super(reason);
    this.subject = subject;
  }
}

/** A callback that is not authentic. Its message is the reason. */
export class NotAuthentic extends Error {}

/** What a callback means. */
export interface Event {
  readonly kind: string;
  readonly subject: string;
  readonly outcome: string;
  /** What makes it the same event as another. */
  readonly identity: readonly (string | undefined)[];
  readonly reasons: readonly string[];
  readonly details: Readonly<Record<string, unknown>>;
}

export type JsonObject = Record<string, unknown>;

export function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

/** The event that a callback is which is not understood. */
export function unrecognized(body: string | Buffer, error: Unrecognized): Event {
  const digest = sha256(body);
  const subject = error.subject ?? `unrecognized-${digest}`;
  const details = { unrecognized: error.message };
  return { kind: "unrecognized", subject, outcome: "none", identity: [digest], reasons: [], details };
}

/** The bytes that were posted. */
export function bodyOf({ event }: RequestContext): Buffer {
  return Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A body that is a JSON object. */
export function readObject(body: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new Unrecognized("not_json");
  }
  if (!isObject(value)) throw new Unrecognized("unexpected_shape");
  return value;
}

/** A field as text, also if it is a number or a boolean. What is empty is none. */
export function text(value: unknown): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "object") throw new Unrecognized("unexpected_shape");
  return String(value);
}

/** A provider's code; what is none could hold personal data. */
export function code(value: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(value) ? value : "OTHER";
}

/** Tells of an event. The utility sees to it that this happens once. */
const tell = makeIdempotent(
  async (id: string, provider: string, event: Event, body: string): Promise<void> => {
    const message = {
      specversion: "1.0",
      id,
      source: `/callbacks/${provider}`,
      type: `verification.${provider}.${event.kind}`,
      subject: event.subject,
      outcome: event.outcome,
      datacontenttype: "application/json",
      data: { reasons: event.reasons, details: event.details, body },
    };
    await sqs.send(
      new SendMessageCommand({
        QueueUrl: QUEUE_URL,
        MessageBody: JSON.stringify(message),
        MessageGroupId: event.subject,
        MessageDeduplicationId: id,
      }),
    );
  },
  { persistenceStore: events, config: idempotency },
);

/** Tells of an event unless that was done before, and says so in log and metrics. */
export async function keep(provider: string, event: Event, body: string): Promise<void> {
  const id = sha256(JSON.stringify([provider, event.kind, event.subject, ...event.identity.map((it) => it ?? null)]));
  await tell(id, provider, event, body);
  logger.info("callback kept", { event_id: id, kind: event.kind, outcome: event.outcome });
  metrics.addMetric("Received", MetricUnit.Count, 1);
}

const JSON_HEADERS = { "content-type": "application/json" };

/** The answer to a body that is too large. */
export function refuseSize(): Response {
  metrics.addMetric("Refused", MetricUnit.Count, 1);
  return new Response("{}", { status: 413, headers: JSON_HEADERS });
}

/** A router that answers what is not authentic and what cannot be kept as it should be answered. */
export function router(): Router {
  const app = new Router({ logger });
  app.errorHandler(NotAuthentic, async (error) => {
    logger.warn("callback refused", { refusal: error.message });
    metrics.addMetric("Refused", MetricUnit.Count, 1);
    return new Response("{}", { status: 401, headers: JSON_HEADERS });
  });
  app.errorHandler(Error, async (error) => {
    logger.error("failed to take in a callback", error);
    metrics.addMetric("Unavailable", MetricUnit.Count, 1);
    return new Response("{}", { status: 503, headers: JSON_HEADERS });
  });
  return app;
}

/** The handler of a function with these routes. */
export function handlerOf(app: Router): (event: unknown, context: Context) => Promise<JSONValue> {
  return async (event, context) => {
    logger.addContext(context);
    idempotency.registerLambdaContext(context);
    try {
      return (await app.resolve(event, context)) as unknown as JSONValue;
    } finally {
      metrics.publishStoredMetrics();
    }
  };
}
