// The wallet gateway's callbacks about verifications, with Powertools for AWS Lambda (TypeScript) and jose.

import { MetricUnit } from "@aws-lambda-powertools/metrics";
import { GetItemCommand } from "@aws-sdk/client-dynamodb";
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import {
  bodyOf,
  code,
  dynamodb,
  type Event,
  handlerOf,
  isObject,
  type JsonObject,
  keep,
  logger,
  metrics,
  NotAuthentic,
  readObject,
  refuseSize,
  required,
  router,
  sha256,
  text,
  Unrecognized,
  unrecognized,
} from "./callbacks.ts";

const PROVIDER = "wallet";
const MAX_BODY_BYTES = 3 * 1024 * 1024;
const MAX_CREDENTIALS = 64;
const LEEWAY_SECONDS = 60;
const EXPECTATIONS_TABLE = required("EXPECTATIONS_TABLE");

interface PinnedIssuer {
  readonly issuer: string;
  readonly jwks_url: string;
  readonly algorithms: string[];
}

// The keys are looked up when they are first needed, then every five minutes, and for an unknown key after 30 s.
const ISSUERS = new Map(
  (JSON.parse(required("ISSUERS")) as PinnedIssuer[]).map((pinned) => [
    pinned.issuer,
    {
      ...pinned,
      keys: createRemoteJWKSet(new URL(pinned.jwks_url), { cacheMaxAge: 300_000, cooldownDuration: 30_000 }),
    },
  ]),
);

metrics.setDefaultDimensions({ provider: PROVIDER });

/** A token that is not trusted. Its message is the reason. */
class Untrusted extends Error {}

/** The reasons that jose gives. */
const REASONS = new Map([
  [errors.JWTExpired.code, "token_expired"],
  [errors.JWSSignatureVerificationFailed.code, "token_signature"],
  [errors.JOSEAlgNotAllowed.code, "token_algorithm"],
  [errors.JWKSNoMatchingKey.code, "token_unknown_key"],
  [errors.JWKSTimeout.code, "token_keys_unavailable"],
  [errors.JWKSInvalid.code, "token_keys_unavailable"],
  [errors.JOSEError.code, "token_keys_unavailable"],
]);

function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === "nbf" && error.reason === "check_failed" ? "token_not_yet_valid" : "token_time";
  }
  if (error instanceof errors.JOSEError) return REASONS.get(error.code) ?? "token_malformed";
  return "token_keys_unavailable";
}

/** The claims of a token that a pinned issuer signed. */
async function verify(token: string | undefined): Promise<JWTPayload> {
  if (token === undefined) throw new Untrusted("token_missing");
  let header: JsonObject;
  let claims: JWTPayload;
  try {
    // Nothing in these is believed before `jwtVerify` has checked the signature.
    header = { ...decodeProtectedHeader(token) };
    claims = decodeJwt(token);
  } catch {
    throw new Untrusted("token_malformed");
  }
  const { alg, kid } = header;
  if (typeof alg !== "string" || alg.startsWith("HS")) throw new Untrusted("token_algorithm");
  if (typeof kid !== "string" || !kid) throw new Untrusted("token_no_key_id");
  const pinned = claims.iss === undefined ? undefined : ISSUERS.get(claims.iss);
  if (pinned === undefined) throw new Untrusted("token_issuer");
  if ((claims["jwks_uri"] ?? pinned.jwks_url) !== pinned.jwks_url) throw new Untrusted("token_jwks_uri");
  try {
    const verified = await jwtVerify(token, pinned.keys, {
      issuer: pinned.issuer,
      algorithms: pinned.algorithms,
      clockTolerance: LEEWAY_SECONDS,
    });
    return verified.payload;
  } catch (error) {
    throw new Untrusted(reasonOf(error));
  }
}

/** The hash of the code, if that is expected, and the templates that are. The code is taken out of the callback. */
async function authenticate(callback: JsonObject): Promise<{ codeSha256: string; expected: string[] }> {
  const oneTimeCode = callback["code"];
  delete callback["code"];
  if (oneTimeCode === undefined) throw new NotAuthentic("missing");
  if (typeof oneTimeCode !== "string") throw new NotAuthentic("malformed");
  const codeSha256 = sha256(oneTimeCode);
  const get = new GetItemCommand({
    TableName: EXPECTATIONS_TABLE,
    Key: { pk: { S: codeSha256 } },
    ConsistentRead: true,
  });
  const { Item: expected } = await dynamodb.send(get);
  if (expected === undefined || expected["pk"]?.S !== codeSha256) throw new NotAuthentic("wrong");
  const state = expected["state"]?.S;
  if (state !== undefined && state !== callback["state"]) throw new NotAuthentic("wrong");
  return { codeSha256, expected: (expected["template_ids"]?.L ?? []).map((template) => template.S ?? "") };
}

interface Verdict {
  readonly verdict: "approved" | "failed" | "untrusted";
  readonly verification_id?: unknown;
  readonly status?: string;
  readonly reason?: string;
}

/** What came of one credential. */
async function verdictOf(credential: JsonObject): Promise<Verdict> {
  const status = text(credential["status"]);
  if (status !== "COMPLETED") return { verdict: "failed", status: code(status ?? "STATUS_MISSING") };
  try {
    const claims = await verify(text(credential["token"]));
    return { verdict: "approved", verification_id: claims["verification_id"] ?? null };
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    logger.warn("token not trusted", { reason: error.message });
    metrics.addMetric("UntrustedTokens", MetricUnit.Count, 1);
    return { verdict: "untrusted", reason: error.message };
  }
}

/** What a callback means. */
async function parse(callback: JsonObject, codeSha256: string, expected: readonly string[]): Promise<Event> {
  const tokens = callback["tokens"];
  if (tokens === undefined || tokens === null) throw new Unrecognized("missing_field:tokens", codeSha256);
  if (!isObject(tokens)) throw new Unrecognized("unexpected_shape", codeSha256);
  const credentials = Object.entries(tokens);
  if (credentials.length === 0) throw new Unrecognized("missing_field:tokens", codeSha256);
  if (credentials.length > MAX_CREDENTIALS) throw new Unrecognized("too_many:tokens", codeSha256);

  const verdicts = new Map<string, Verdict>();
  const identity: (string | undefined)[] = [codeSha256];
  for (const [template, credential] of credentials.sort(([one], [other]) => (one < other ? -1 : 1))) {
    if (!isObject(credential)) throw new Unrecognized("unexpected_shape", codeSha256);
    const verdict = await verdictOf(credential);
    verdicts.set(template, verdict);
    const token = text(credential["token"]);
    const unchecked = verdict.reason === "token_keys_unavailable" ? verdict.reason : undefined;
    identity.push(template, text(credential["status"]), token === undefined ? undefined : sha256(token), unchecked);
  }
  for (const template of expected) {
    if (!verdicts.has(template)) verdicts.set(template, { verdict: "failed", reason: "credential_missing" });
  }

  const all = [...verdicts.values()];
  const any = (verdict: Verdict["verdict"]) => all.some((each) => each.verdict === verdict);
  const state = text(callback["state"]);
  return {
    kind: "verification",
    subject: state === undefined || state === "none" ? codeSha256 : state,
    outcome: any("failed") ? "failed" : any("untrusted") ? "review" : "approved",
    identity,
    reasons: all.flatMap((each) => each.reason ?? each.status ?? []),
    details: { credentials: Object.fromEntries(verdicts) },
  };
}

const app = router();

app.post("/callbacks/wallet/verification", async (context) => {
  const body = bodyOf(context);
  if (body.length > MAX_BODY_BYTES) return refuseSize();
  let posted: JsonObject;
  try {
    posted = readObject(body.toString());
  } catch {
    throw new NotAuthentic("malformed");
  }
  const { codeSha256, expected } = await authenticate(posted);
  // The code is a secret, and is not in what is told.
  const told = JSON.stringify(posted);
  let event: Event;
  try {
    event = await parse(posted, codeSha256, expected);
  } catch (error) {
    if (!(error instanceof Unrecognized)) throw error;
    event = unrecognized(told, error);
  }
  await keep(PROVIDER, event, told);
  return {};
});

export const handler = handlerOf(app);
