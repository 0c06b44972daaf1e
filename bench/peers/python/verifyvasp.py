"""The callbacks of a VerifyVASP enclave, with Powertools for AWS Lambda (Python)."""

import hmac
import os
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.typing import LambdaContext

from callbacks import (
    Event,
    NotAuthentic,
    Unrecognized,
    answer,
    body_of,
    code,
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

PROVIDER = "verifyvasp"
MAX_BODY_BYTES = 256 * 1024
OUTCOMES = {"VERIFIED": "approved", "DENIED": "rejected", "ERROR": "failed", "UNKNOWN": "review"}
SECRET = os.environ["SECRET"]

metrics.set_default_dimensions(provider=PROVIDER)
secrets = SecretsProvider(boto3_client=boto3.client("secretsmanager"))
app = APIGatewayHttpResolver()


def authenticate(authorization: str | None) -> None:
    """Raises unless this bears the current or the previous token."""
    if authorization is None:
        raise NotAuthentic("missing")
    scheme, _, presented = authorization.partition(" ")
    if scheme.lower() != "bearer" or not presented:
        raise NotAuthentic("malformed")
    presented = presented.strip()
    # Kept by the provider for five minutes.
    pair: Any = secrets.get(SECRET, transform="json", max_age=300)
    is_current = hmac.compare_digest(presented.encode(), pair["current"].encode())
    is_previous = hmac.compare_digest(presented.encode(), (pair.get("previous") or "").encode())
    if not presented or presented == "undefined" or not (is_current or is_previous):
        raise NotAuthentic("wrong")


def parse(body: bytes) -> Event:
    """What a callback means."""
    callback = read_object(body)
    data = callback.get("data")
    if data is None:
        raise Unrecognized("missing_field:data")
    if not isinstance(data, dict):
        raise Unrecognized("unexpected_shape")
    subject = text(data.get("verificationUuid", data.get("verification_uuid")))
    kind = text(callback.get("callbackType", callback.get("callback_type")))
    verdict = text(data.get("verificationResult")) or text(data.get("result"))
    reason, tx_hash, vout = (text(data.get(name)) for name in ("reason", "txHash", "vout"))

    if kind is None:
        raise Unrecognized("missing_field:callbackType", subject)
    if kind == "VERIFICATION_RESULT":
        if verdict is None:
            raise Unrecognized("missing_field:result", subject)
        if verdict not in OUTCOMES:
            raise Unrecognized("unknown_result", subject)
        name, outcome = "verification-result", OUTCOMES[verdict]
    elif kind == "TX_REPORT":
        if tx_hash is None:
            raise Unrecognized("missing_field:txHash", subject)
        name, outcome = "tx-report", "none"
    elif kind == "ERROR_REPORT":
        name, outcome = "error-report", "failed"
    else:
        raise Unrecognized("unknown_type", subject)
    if subject is None:
        raise Unrecognized("missing_field:verificationUuid")

    details: dict[str, Any] = {"verification_uuid": subject, "result": verdict, "tx_hash": tx_hash, "vout": vout}
    return Event(
        kind=name,
        subject=subject,
        outcome=outcome,
        identity=[kind, verdict, reason, tx_hash, vout],
        reasons=[] if reason is None else [code(reason.strip().upper().replace(" ", "-").replace("_", "-"))],
        details={name: value for name, value in details.items() if value is not None},
    )


@app.post("/callbacks/verifyvasp")
def callback() -> Response:
    body = body_of(app.current_event)
    if len(body) > MAX_BODY_BYTES:
        return refuse_size()
    authenticate(app.current_event.headers.get("authorization"))
    try:
        event = parse(body)
    except Unrecognized as error:
        event = unrecognized(body, error)
    keep(PROVIDER, event, body.decode(errors="replace"))
    return answer(200, '{"result": true}')


app.exception_handler(NotAuthentic)(refuse)
app.exception_handler(Exception)(unavailable)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    idempotency.register_lambda_context(context)
    return app.resolve(event, context)
