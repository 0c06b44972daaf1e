// The callbacks of a VerifyVASP enclave, with Powertools for AWS Lambda (TypeScript).

import { createHash, timingSafeEqual } from "node:crypto";
import { SecretsProvider } from "@aws-lambda-powertools/parameters/secrets";
import {
  bodyOf,
  code,
  type Event,
  handlerOf,
  isObject,
  keep,
  metrics,
  NotAuthentic,
  readObject,
  refuseSize,
  required,
  router,
  text,
  Unrecognized,
  unrecognized,
} from "./callbacks.ts";

const PROVIDER = "verifyvasp";
const MAX_BODY_BYTES = 256 * 1024;
const OUTCOMES = new Map([
  ["VERIFIED", "approved"],
  ["DENIED", "rejected"],
  ["ERROR", "failed"],
  ["UNKNOWN", "review"],
]);
const SECRET = required("SECRET");

metrics.setDefaultDimensions({ provider: PROVIDER });
const secrets = new SecretsProvider();

/** Compares in a time that depends on nothing secret: `timingSafeEqual` takes equal lengths only. */
function isSame(one: string, other: string): boolean {
  const digest = (it: string) => createHash("sha256").update(it).digest();
  return timingSafeEqual(digest(one), digest(other));
}

/** Throws unless this bears the current or the previous token. */
async function authenticate(authorization: string | null): Promise<void> {
  if (authorization === null) throw new NotAuthentic("missing");
  const at = authorization.indexOf(" ");
  if (at < 0 || authorization.slice(0, at).toLowerCase() !== "bearer") throw new NotAuthentic("malformed");
  const presented = authorization.slice(at).trim();
  // Kept by the provider for five minutes.
  const pair = (await secrets.get(SECRET, { transform: "json", maxAge: 300 })) as {
    current: string;
    previous?: string;
  };
  const isCurrent = isSame(presented, pair.current);
  const isPrevious = isSame(presented, pair.previous ?? "");
  if (!presented || presented === "undefined" || !(isCurrent || isPrevious)) throw new NotAuthentic("wrong");
}

/** What a callback means. */
function parse(body: string): Event {
  const callback = readObject(body);
  const data = callback["data"];
  if (data === undefined || data === null) throw new Unrecognized("missing_field:data");
  if (!isObject(data)) throw new Unrecognized("unexpected_shape");
  const subject = text(data["verificationUuid"] ?? data["verification_uuid"]);
  const kind = text(callback["callbackType"] ?? callback["callback_type"]);
  const verdict = text(data["verificationResult"]) ?? text(data["result"]);
  const reason = text(data["reason"]);
  const txHash = text(data["txHash"]);
  const vout = text(data["vout"]);

  let name: string;
  let outcome: string | undefined;
  switch (kind) {
    case undefined:
      throw new Unrecognized("missing_field:callbackType", subject);
    case "VERIFICATION_RESULT":
      if (verdict === undefined) throw new Unrecognized("missing_field:result", subject);
      name = "verification-result";
      outcome = OUTCOMES.get(verdict);
      if (outcome === undefined) throw new Unrecognized("unknown_result", subject);
      break;
    case "TX_REPORT":
      if (txHash === undefined) throw new Unrecognized("missing_field:txHash", subject);
      [name, outcome] = ["tx-report", "none"];
      break;
    case "ERROR_REPORT":
      [name, outcome] = ["error-report", "failed"];
      break;
    default:
      throw new Unrecognized("unknown_type", subject);
  }
  if (subject === undefined) throw new Unrecognized("missing_field:verificationUuid");

  return {
    kind: name,
    subject,
    outcome,
    identity: [kind, verdict, reason, txHash, vout],
    reasons: reason === undefined ? [] : [code(reason.trim().toUpperCase().replaceAll(/[ _]/g, "-"))],
    details: { verification_uuid: subject, result: verdict, tx_hash: txHash, vout },
  };
}

const app = router();

app.post("/callbacks/verifyvasp", async (context) => {
  const body = bodyOf(context);
  if (body.length > MAX_BODY_BYTES) return refuseSize();
  await authenticate(context.req.headers.get("authorization"));
  const posted = body.toString();
  let event: Event;
  try {
    event = parse(posted);
  } catch (error) {
    if (!(error instanceof Unrecognized)) throw error;
    event = unrecognized(body, error);
  }
  await keep(PROVIDER, event, posted);
  return { result: true };
});

export const handler = handlerOf(app);
