"""Auth0's own Python SDK with private_key_jwt against the simulated tenant; prints what it got as JSON.

Usage: auth0_client_with_key.py DOMAIN CLIENT_ID USER_ID ALG KEY_FILE...
The tenant's authority is trusted through SSL_CERT_FILE (httpx) and REQUESTS_CA_BUNDLE (requests).
"""

import json
import sys
from pathlib import Path

from auth0.authentication import GetToken
from auth0.authentication.exceptions import Auth0Error
from auth0.management import ManagementClient

domain, client_id, user_id, alg, *key_files = sys.argv[1:]


def grant(key_file):
    keys = {"client_assertion_signing_key": Path(key_file).read_text(), "client_assertion_signing_alg": alg}
    try:
        answer = GetToken(domain, client_id, **keys).client_credentials(f"https://{domain}/api/v2/")
    except Auth0Error as error:
        return {"status": error.status_code, "code": error.error_code, "message": error.message}
    user = ManagementClient(domain=domain, token=answer["access_token"]).users.get(user_id)
    return {"token_type": answer["token_type"], "user_id": user.user_id}


print(json.dumps([grant(key_file) for key_file in key_files]))
