// Lambda's Runtime API for a handler in JavaScript, where aws-lambda-ric, Lambda's own, cannot be built. It does less
// than that one does, and so costs the peer less: one connection, no console of its own, no streams.
//
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

import { Agent, type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Context } from "aws-lambda";

type Handler = (event: unknown, context: Context) => Promise<unknown>;

const API = `http://${process.env["AWS_LAMBDA_RUNTIME_API"]}/2018-06-01/runtime`;
const agent = new Agent({ keepAlive: true, maxSockets: 1, noDelay: true });

async function call(
  method: "GET" | "POST",
  path: string,
  body?: string,
): Promise<{ head: IncomingMessage; text: string }> {
  return new Promise((resolve, reject) => {
    const headers =
      body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request(`${API}${path}`, { method, agent, headers }, (head) => {
      const chunks: Buffer[] = [];
      head.on("data", (chunk: Buffer) => chunks.push(chunk));
      head.on("end", () => resolve({ head, text: Buffer.concat(chunks).toString() }));
      head.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function contextOf({ headers }: IncomingMessage): Context {
  const header = (name: string) => String(headers[name] ?? "");
  const variable = (name: string) => process.env[name] ?? "";
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const context = {
    callbackWaitsForEmptyEventLoop: false,
    functionName: variable("AWS_LAMBDA_FUNCTION_NAME"),
    functionVersion: variable("AWS_LAMBDA_FUNCTION_VERSION"),
    invokedFunctionArn: header("lambda-runtime-invoked-function-arn"),
    memoryLimitInMB: variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
    awsRequestId: header("lambda-runtime-aws-request-id"),
    logGroupName: variable("AWS_LAMBDA_LOG_GROUP_NAME"),
    logStreamName: variable("AWS_LAMBDA_LOG_STREAM_NAME"),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  // The ways to answer of old are in its type only.
  return context as unknown as Context;
}

function report(error: unknown): string {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return JSON.stringify({ errorType: name, errorMessage: message, trace: stack?.split("\n") ?? [] });
}

async function load(): Promise<Handler> {
  const [file, name] = (process.env["_HANDLER"] ?? "").split(".");
  const path = join(process.env["LAMBDA_TASK_ROOT"] ?? ".", `${file}.mjs`);
  const exported = (await import(pathToFileURL(path).href)) as Record<string, Handler | undefined>;
  const handler = exported[name ?? ""];
  if (handler === undefined) throw new Error("there is no such handler");
  return handler;
}

let handler: Handler;
try {
  handler = await load();
} catch (error) {
  await call("POST", "/init/error", report(error));
  throw error;
}
for (;;) {
  const { head, text } = await call("GET", "/invocation/next");
  const id = String(head.headers["lambda-runtime-aws-request-id"]);
  let answer: [path: string, body: string];
  try {
    const result = await handler(JSON.parse(text), contextOf(head));
    answer = ["response", JSON.stringify(result ?? null)];
  } catch (error) {
    answer = ["error", report(error)];
  }
  await call("POST", `/invocation/${id}/${answer[0]}`, answer[1]);
}
