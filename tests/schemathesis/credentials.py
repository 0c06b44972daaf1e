"""Makes callbacks authentic where the credential is in the body, and announcements ones that can be kept: that is more
than a schema says."""

import hashlib
import hmac
import re
import time

import schemathesis

# What the local stack knows, and what tests/local_stack.rs announces.
CREDENTIALS = {
    # made from the registrations: credentials
    "identomat": {"callbackApiKey": "local-identomat-secret"},
    # up to here
    "wallet-verification": {"code": "a-code-of-the-contract-for-a-verification"},
    "wallet-issuance": {"code": "a-code-of-the-contract-for-an-issuance"},
}


def alone(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def with_time(secret, body):
    now = str(int(time.time()))
    return f"t={now},v1={alone(secret, now.encode() + b'.' + body)}"


# The header of the signature: the secret, how it is made, and the headers beside it.
SIGNATURES = {
    # made from the registrations: signatures
    "x-sha2-signature": ("local-onfido-secret", alone, {}),
    "persona-signature": ("local-persona-secret", with_time, {}),
    "x-payload-digest": ("local-sumsub-secret", alone, {"x-payload-digest-alg": "HMAC_SHA256_HEX"}),
    "x-hmac-signature": ("local-veriff-secret", alone, {}),
    # up to here
}


class Signer:
    """Signs a request whose signature is `to be signed`, as schemathesis.toml says."""

    def __call__(self, request):
        for header, (secret, sign, beside) in SIGNATURES.items():
            if request.headers.get(header) == "to be signed":
                body = request.body or b""
                body = body.encode() if isinstance(body, str) else body
                request.headers[header] = sign(secret, body)
                request.headers.update(beside)
        return request


@schemathesis.hook
def before_call(context, case, kwargs):
    kwargs.setdefault("auth", Signer())


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
