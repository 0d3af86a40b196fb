"""Calls the Management API with Auth0's SDK, and prints what its caller sees: call_auth0.py USER [wait]."""

import json
import sys

from auth0.management.core.api_error import ApiError
from management import management

users = management.users
user, *waiting = sys.argv[1:]


def refusal(call, *arguments):
    """What the SDK's error says."""
    try:
        call(*arguments)
    except ApiError as error:
        body = error.body if isinstance(error.body, dict) else json.loads(error.body.json())
        return {"isOfApi": True, "status": error.status_code, "body": body}
    raise AssertionError("there was no refusal")


got = users.get(user)
if waiting:
    print(json.dumps({"got": got.user_id}))
else:
    changed = users.update(user, user_metadata={"theme": "dark"})
    page = users.list(per_page=2)
    print(json.dumps({
        "got": got.user_id,
        "theme": changed.user_metadata["theme"],
        "listed": len(page.items),
        "unknown": refusal(users.get, "auth0|nobody"),
        "forbidden": refusal(users.delete, user),
        "dots": refusal(users.get, ".."),
    }))
