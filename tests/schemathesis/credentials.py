"""Makes callbacks authentic where the credential is in the body: that is more than a schema says."""

import schemathesis

# What the local stack knows, and what tests/local_stack.rs announces.
CREDENTIALS = {
    "identomat": {"callbackApiKey": "local-identomat-secret"},
    "wallet-verification": {"code": "a-code-of-the-contract-for-a-verification"},
    "wallet-issuance": {"code": "a-code-of-the-contract-for-an-issuance"},
}


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    credentials = CREDENTIALS.get(context.operation.definition.raw["operationId"], {})
    # A field that is missing or of another type stays so.
    right = {name: value for name, value in credentials.items() if isinstance(body.get(name), str)}
    if "code" in right:
        # It was announced without a state.
        body = {name: value for name, value in body.items() if name != "state"}
    return {**body, **right}
