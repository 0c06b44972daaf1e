"""The wallet gateway's callbacks about verifications, with Powertools for AWS Lambda (Python) and PyJWT."""

import hashlib
import hmac
import json
import os
from typing import Any

import jwt
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from callbacks import (
    Event,
    NotAuthentic,
    Unrecognized,
    answer,
    body_of,
    code,
    dynamodb,
    idempotency,
    keep,
    logger,
    metrics,
    read_object,
    refuse,
    refuse_size,
    text,
    unavailable,
    unrecognized,
)

PROVIDER = "wallet"
MAX_BODY_BYTES = 3 * 1024 * 1024
MAX_CREDENTIALS = 64
LEEWAY_SECONDS = 60
EXPECTATIONS_TABLE = os.environ["EXPECTATIONS_TABLE"]
SYMMETRIC = {"HS256", "HS384", "HS512"}

ISSUERS = {pinned["issuer"]: pinned for pinned in json.loads(os.environ["ISSUERS"])}
# Each looks the keys up when they are first needed, then every five minutes, and for an unknown key after 30 s.
KEYS = {issuer: jwt.PyJWKClient(pinned["jwks_url"], timeout=5) for issuer, pinned in ISSUERS.items()}

metrics.set_default_dimensions(provider=PROVIDER)
app = APIGatewayHttpResolver()


class Untrusted(Exception):
    """A token that is not trusted. Its text is the reason."""


def verify(token: str | None) -> dict[str, Any]:
    """The claims of a token that a pinned issuer signed."""
    if token is None:
        raise Untrusted("token_missing")
    try:
        # The claims are read once; nothing in them is believed before `decode` has checked the signature.
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
        header, claims = unverified["header"], unverified["payload"]
        if header.get("alg") in SYMMETRIC:
            raise Untrusted("token_algorithm")
        if not header.get("kid"):
            raise Untrusted("token_no_key_id")
        pinned = ISSUERS.get(claims.get("iss"))
        if pinned is None:
            raise Untrusted("token_issuer")
        if claims.get("jwks_uri", pinned["jwks_url"]) != pinned["jwks_url"]:
            raise Untrusted("token_jwks_uri")
        key = KEYS[pinned["issuer"]].get_signing_key(header["kid"])
        return jwt.decode(
            token,
            key,
            algorithms=pinned["algorithms"],
            issuer=pinned["issuer"],
            leeway=LEEWAY_SECONDS,
            options={"verify_aud": False, "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        raise Untrusted("token_expired") from None
    except jwt.ImmatureSignatureError:
        raise Untrusted("token_not_yet_valid") from None
    except jwt.InvalidSignatureError:
        raise Untrusted("token_signature") from None
    except jwt.InvalidAlgorithmError:
        raise Untrusted("token_algorithm") from None
    except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError):
        raise Untrusted("token_keys_unavailable") from None
    except jwt.PyJWKClientError:
        raise Untrusted("token_unknown_key") from None
    except (jwt.PyJWTError, AttributeError, TypeError):
        raise Untrusted("token_malformed") from None


def authenticate(callback: dict[str, Any]) -> tuple[str, list[str]]:
    """The hash of the code, if that is expected, and the templates that are. The code is taken out of the callback."""
    one_time_code = callback.pop("code", None)
    if one_time_code is None:
        raise NotAuthentic("missing")
    if not isinstance(one_time_code, str):
        raise NotAuthentic("malformed")
    code_sha256 = hashlib.sha256(one_time_code.encode()).hexdigest()
    found = dynamodb.get_item(TableName=EXPECTATIONS_TABLE, Key={"pk": {"S": code_sha256}}, ConsistentRead=True)
    expected = found.get("Item")
    if expected is None or not hmac.compare_digest(expected["pk"]["S"], code_sha256):
        raise NotAuthentic("wrong")
    if "S" in expected.get("state", {}) and expected["state"]["S"] != callback.get("state"):
        raise NotAuthentic("wrong")
    return code_sha256, [template["S"] for template in expected.get("template_ids", {}).get("L", [])]


def verdict(credential: dict[str, Any]) -> dict[str, Any]:
    """What came of one credential."""
    status = text(credential.get("status"))
    if status != "COMPLETED":
        return {"verdict": "failed", "status": code(status or "STATUS_MISSING")}
    try:
        claims = verify(text(credential.get("token")))
    except Untrusted as error:
        logger.warning("token not trusted", extra={"reason": str(error)})
        metrics.add_metric(name="UntrustedTokens", unit=MetricUnit.Count, value=1)
        return {"verdict": "untrusted", "reason": str(error)}
    return {"verdict": "approved", "verification_id": claims.get("verification_id")}


def parse(callback: dict[str, Any], code_sha256: str, expected: list[str]) -> Event:
    """What a callback means."""
    credentials = callback.get("tokens")
    if not credentials:
        raise Unrecognized("missing_field:tokens", code_sha256)
    if not isinstance(credentials, dict) or not all(isinstance(each, dict) for each in credentials.values()):
        raise Unrecognized("unexpected_shape", code_sha256)
    if len(credentials) > MAX_CREDENTIALS:
        raise Unrecognized("too_many:tokens", code_sha256)

    verdicts = {template: verdict(credential) for template, credential in credentials.items()}
    for template in expected:
        verdicts.setdefault(template, {"verdict": "failed", "reason": "credential_missing"})
    results = {each["verdict"] for each in verdicts.values()}
    outcome = "failed" if "failed" in results else "review" if "untrusted" in results else "approved"

    identity: list[str | None] = [code_sha256]
    for template in sorted(credentials):
        token = text(credentials[template].get("token"))
        digest = None if token is None else hashlib.sha256(token.encode()).hexdigest()
        unchecked = verdicts[template].get("reason") == "token_keys_unavailable"
        status = text(credentials[template].get("status"))
        identity += [template, status, digest, "token_keys_unavailable" if unchecked else None]
    state = text(callback.get("state"))
    return Event(
        kind="verification",
        subject=code_sha256 if state is None or state == "none" else state,
        outcome=outcome,
        identity=identity,
        reasons=[each.get("reason") or each["status"] for each in verdicts.values() if each["verdict"] != "approved"],
        details={"credentials": verdicts},
    )


@app.post("/callbacks/wallet/verification")
def callback() -> Response:
    body = body_of(app.current_event)
    if len(body) > MAX_BODY_BYTES:
        return refuse_size()
    try:
        posted = read_object(body)
    except Unrecognized:
        raise NotAuthentic("malformed") from None
    code_sha256, expected = authenticate(posted)
    # The code is a secret, and is not in what is told.
    told = json.dumps(posted)
    try:
        event = parse(posted, code_sha256, expected)
    except Unrecognized as error:
        event = unrecognized(told.encode(), error)
    keep(PROVIDER, event, told)
    return answer(200, "{}")


app.exception_handler(NotAuthentic)(refuse)
app.exception_handler(Exception)(unavailable)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    idempotency.register_lambda_context(context)
    return app.resolve(event, context)
