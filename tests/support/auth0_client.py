"""Auth0's own Python SDK against the simulated tenant; prints what it got as JSON.

Usage: auth0_client.py DOMAIN CLIENT_ID CLIENT_SECRET USER_ID...
The tenant's authority is trusted through SSL_CERT_FILE (httpx) and REQUESTS_CA_BUNDLE (requests).
"""

import json
import sys

from auth0.authentication import GetToken
from auth0.authentication.exceptions import Auth0Error
from auth0.management import ManagementClient
from auth0.management.core.api_error import ApiError

domain, client_id, client_secret, *user_ids = sys.argv[1:]
audience = f"https://{domain}/api/v2/"

# The Authentication SDK posts JSON, the Management SDK obtains its own token with a form.
grant = GetToken(domain, client_id, client_secret=client_secret).client_credentials(audience)
try:
    GetToken(domain, client_id, client_secret="wrong").client_credentials(audience)
    refusal = None
except Auth0Error as error:
    refusal = {"status": error.status_code, "code": error.error_code, "message": error.message}

management = ManagementClient(domain=domain, client_id=client_id, client_secret=client_secret)


def read(user_id):
    try:
        user = management.users.get(user_id, fields="user_id,identities,last_login", include_fields=True)
    except ApiError as error:
        return {"status": error.status_code, "body": error.body}
    return {
        "user_id": user.user_id,
        "last_login": str(user.last_login),
        "email": user.email,
        "identities": [json.loads(identity.json()) for identity in user.identities],
    }


print(json.dumps({
    "grant": {name: value for name, value in grant.items() if name != "access_token"},
    "refusal": refusal,
    "users": {user_id: read(user_id) for user_id in user_ids},
}))
