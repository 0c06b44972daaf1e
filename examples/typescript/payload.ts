// Fetches the payload of a message: the callback's body as it came, which the message itself does not carry.
// It is personal data. See docs/payload.md.

import { parseArgs } from "node:util";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { clientConfig, readStack, required } from "./stack.ts";

/** The payload of the message with this subject and id. Undefined if it is not kept any more. */
export async function fetchPayload(
  dynamodb: DynamoDBClient,
  table: string,
  subject: string,
  eventId: string,
): Promise<Uint8Array | undefined> {
  const key = { pk: { S: subject }, sk: { S: eventId } };
  const { Item: item } = await dynamodb.send(new GetItemCommand({ TableName: table, Key: key, ConsistentRead: true }));
  if (item === undefined) return undefined;
  if (item["parts"]?.N === undefined) return item["body"]?.B;
  // A body that is too large for one item: each part is an item of its own.
  const parts: Uint8Array[] = [];
  for (let number = 0; number < Number(item["parts"].N); number++) {
    const key = { pk: { S: `${eventId}#${String(number).padStart(3, "0")}` }, sk: { S: "part" } };
    const { Item: part } = await dynamodb.send(
      new GetItemCommand({ TableName: table, Key: key, ConsistentRead: true }),
    );
    if (part?.["body"]?.B === undefined) throw new Error("parts of the payload are missing: try again");
    parts.push(part["body"].B);
  }
  return Buffer.concat(parts);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { stack: { type: "string" } }, allowPositionals: true });
  const [subject, eventId] = positionals;
  if (!subject || !eventId) throw new Error("usage: node payload.ts [--stack FILE] SUBJECT ID");
  const stack = readStack(values.stack);
  const dynamodb = new DynamoDBClient(clientConfig(stack));
  const payload = await fetchPayload(dynamodb, required(stack.events_table, "EVENTS_TABLE"), subject, eventId);
  if (payload === undefined) {
    console.error("there is no such event, or it is not kept any more");
    process.exitCode = 1;
  } else {
    process.stdout.write(payload);
  }
}
