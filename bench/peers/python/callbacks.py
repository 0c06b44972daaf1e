"""What both functions do alike: read a request, make an event of it, tell of it once, answer.

Clients are made once, when the function starts, and used by every utility.
"""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

QUEUE_URL = os.environ["VERIFICATION_QUEUE_URL"]

logger = Logger()
metrics = Metrics()
dynamodb = boto3.client("dynamodb")
sqs = boto3.client("sqs")


def count_duplicate(response: Any, idempotent_data: DataRecord) -> Any:
    """The utility calls this instead of the function when an event is there already."""
    metrics.add_metric(name="Duplicates", unit=MetricUnit.Count, value=1)
    return response


idempotency = IdempotencyConfig(expires_after_seconds=365 * 24 * 60 * 60, response_hook=count_duplicate)
events = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"], boto3_client=dynamodb)


class Unrecognized(Exception):
    """An authentic callback that is not understood. Its text is the reason."""

    def __init__(self, reason: str, subject: str | None = None) -> None:
        super().__init__(reason)
        self.subject = subject


class NotAuthentic(Exception):
    """A callback that is not authentic. Its text is the reason."""


@dataclass
class Event:
    """What a callback means. `identity` is what makes it the same event as another."""

    kind: str
    subject: str
    outcome: str
    identity: list[str | None]
    reasons: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def unrecognized(body: bytes, error: Unrecognized) -> Event:
    """The event that a callback is which is not understood."""
    digest = hashlib.sha256(body).hexdigest()
    subject = error.subject or f"unrecognized-{digest}"
    return Event("unrecognized", subject, "none", [digest], details={"unrecognized": str(error)})


def body_of(event: APIGatewayProxyEventV2) -> bytes:
    """The bytes that were posted."""
    body = event.body or ""
    return base64.b64decode(body) if event.is_base64_encoded else body.encode()


def read_object(body: bytes | str) -> dict[str, Any]:
    """A body that is a JSON object."""
    try:
        value = json.loads(body)
    except ValueError:
        raise Unrecognized("not_json") from None
    if not isinstance(value, dict):
        raise Unrecognized("unexpected_shape")
    return value


def text(value: Any) -> str | None:
    """A field as text, also if it is a number or a boolean. What is empty is none."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, dict | list):
        raise Unrecognized("unexpected_shape")
    return json.dumps(value)


def is_code(value: str) -> bool:
    """Whether a provider's code is one, and no free text."""
    return len(value) <= 64 and value.isascii() and value.replace("-", "").replace("_", "").isalnum()


def code(value: str) -> str:
    """A provider's code; what is none could hold personal data."""
    return value if is_code(value) else "OTHER"


@idempotent_function(data_keyword_argument="event_id", config=idempotency, persistence_store=events)
def tell(event_id: str, provider: str, event: Event, body: str) -> None:
    """Tells of an event. The utility sees to it that this happens once."""
    message = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/callbacks/{provider}",
        "type": f"verification.{provider}.{event.kind}",
        "subject": event.subject,
        "outcome": event.outcome,
        "datacontenttype": "application/json",
        "data": {"reasons": event.reasons, "details": event.details, "body": body},
    }
    sqs.send_message(
        QueueUrl=QUEUE_URL,
        MessageBody=json.dumps(message),
        MessageGroupId=event.subject,
        MessageDeduplicationId=event_id,
    )


def keep(provider: str, event: Event, body: str) -> None:
    """Tells of an event unless that was done before, and says so in log and metrics."""
    fields = [provider, event.kind, event.subject, *event.identity]
    event_id = hashlib.sha256(json.dumps(fields).encode()).hexdigest()
    tell(event_id=event_id, provider=provider, event=event, body=body)
    logger.info("callback kept", extra={"event_id": event_id, "kind": event.kind, "outcome": event.outcome})
    metrics.add_metric(name="Received", unit=MetricUnit.Count, value=1)


def answer(status: int, body: str) -> Response:
    """An answer in JSON."""
    return Response(status_code=status, content_type=content_types.APPLICATION_JSON, body=body)


def refuse(error: NotAuthentic) -> Response:
    """The answer to a callback that is not authentic."""
    logger.warning("callback refused", extra={"refusal": str(error)})
    metrics.add_metric(name="Refused", unit=MetricUnit.Count, value=1)
    return answer(401, "{}")


def refuse_size() -> Response:
    """The answer to a body that is too large."""
    metrics.add_metric(name="Refused", unit=MetricUnit.Count, value=1)
    return answer(413, "{}")


def unavailable(error: Exception) -> Response:
    """The answer to a callback that could not be kept, so that it comes again."""
    logger.exception("failed to take in a callback")
    metrics.add_metric(name="Unavailable", unit=MetricUnit.Count, value=1)
    return answer(503, "{}")
