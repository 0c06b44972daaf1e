"""Makes callbacks authentic where the credential is in the body, and announcements ones that can be kept: that is more
than a schema says."""

import re

import schemathesis

# What the local stack knows, and what tests/local_stack.rs announces.
CREDENTIALS = {
    # made from the registrations: credentials
    "identomat": {"callbackApiKey": "local-identomat-secret"},
    # up to here
    "wallet-verification": {"code": "a-code-of-the-contract-for-a-verification"},
    "wallet-issuance": {"code": "a-code-of-the-contract-for-an-issuance"},
}


def announcement(body):
    """Due in a time that counts. What is no time stays so."""
    due_at = body.get("due_at")
    if isinstance(due_at, str) and re.match(r"\d{4}-\d\d-\d\d[Tt]", due_at):
        return {**body, "due_at": "2026-01-31T10:00:00Z"}
    return body


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    operation = context.operation.definition.raw["operationId"]
    if operation.startswith("expectations-of-") and operation != "expectations-of-wallet":
        return announcement(body)
    credentials = CREDENTIALS.get(operation, {})
    # A field that is missing or of another type stays so.
    right = {name: value for name, value in credentials.items() if isinstance(body.get(name), str)}
    if "code" in right:
        # It was announced without a state.
        body = {name: value for name, value in body.items() if name != "state"}
    return {**body, **right}
