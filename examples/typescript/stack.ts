// Where the queues and the table are: in a local stack's file, or in the environment.

import { readFileSync } from "node:fs";

/** The addresses, by the names that they have in stack.json. */
export interface Stack {
  readonly verification_queue_url?: string | undefined;
  readonly events_table?: string | undefined;
  /** Where AWS is, for a local stack. */
  readonly endpoint_url?: string | null;
  readonly region?: string;
}

export function readStack(file: string | undefined): Stack {
  if (file !== undefined) return JSON.parse(readFileSync(file, "utf8")) as Stack;
  return { verification_queue_url: process.env["VERIFICATION_QUEUE_URL"], events_table: process.env["EVENTS_TABLE"] };
}

/** What a client of AWS has to be told: of a deployed stack nothing, as the environment has it all. */
export function clientConfig(stack: Stack) {
  if (!stack.endpoint_url) return {};
  // A local stack takes any credentials, but some there have to be.
  const credentials = { accessKeyId: "local", secretAccessKey: "local" };
  return { endpoint: stack.endpoint_url, region: stack.region ?? "", credentials };
}

/** An address that has to be there. */
export function required(value: string | undefined, name: string): string {
  if (value) return value;
  throw new Error(`no ${name}: name a stack.json with --stack, or set ${name} in the environment`);
}
