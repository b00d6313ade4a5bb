"""Stand-ins for Claude in the clouds: the Messages API behind each cloud's own door.

    with BedrockApi() as api: ...   # AWS_* of `api.variables`, base URL `api.base_url`
    with VertexApi() as api: ...    # likewise; `api.credentials_in(folder)` writes the account's file

They are as strict as `AnthropicApi` and, like the clouds, know no `cache_control` on the whole request.
Bedrock's signature is computed anew over what arrived. Vertex hands out its access tokens itself, at `/token`.
"""

import hashlib
import hmac
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.standins.anthropic_api import AnthropicApi
from tests.standins.loopback import Answer, Fail, Request

ALONE = {
    # No test may find the account of the person at the keyboard, or ask the machine's metadata service.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    "CLOUDSDK_CONFIG": "/nowhere",
    "NO_GCE_CHECK": "true",
    "GCE_METADATA_HOST": "127.0.0.1:9",
    "GCE_METADATA_IP": "127.0.0.1:9",
}
GONE = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "CLOUD_ML_REGION",
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


class BedrockApi(AnthropicApi):
    """Bedrock's Messages API, for one access key and one bearer token in one region."""

    known = AnthropicApi.known - {"cache_control"}
    region = "eu-central-1"
    access_key = "AKIACANARY0123456789"
    secret = "canary/secret/of/the/access/key/0123456789"
    session = "canarysessiontoken0123456789abcdef=="

    @property
    def base_url(self) -> str:
        return f"{self.url}/anthropic"

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_SESSION_TOKEN": self.session,
        }

    def gate(self, request: Request) -> Fail | None:
        if (request.method, request.path) != ("POST", "/anthropic/v1/messages"):
            return Fail(404, "Not found")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("anthropic-version", "")):
            return Fail(400, "anthropic-version: header is required")
        given = request.headers.get("authorization", "")
        if given.startswith("AWS4-HMAC-SHA256 ") and request.headers.get("x-amz-security-token") == self.session:
            # As AWS does, it quotes what it was to check: a credential that must not be handed on.
            quoted = f"The signature does not match. Canonical: x-amz-security-token:{self.session} {given}"
            return None if given.endswith(self.signature(request, given)) else Fail(403, quoted)
        return None if given == f"Bearer {self.key}" else Fail(401, f"UnrecognizedClientException {given}")

    def signature(self, request: Request, given: str) -> str:
        """Signature Version 4 of the request as it arrived, for the headers that `given` says were signed."""
        credential, signed = re.findall(r"(?:Credential|SignedHeaders)=([^,]+)", given)
        scope = credential.partition("/")[2]
        if not re.fullmatch(rf"\d{{8}}/{self.region}/bedrock-mantle/aws4_request", scope):
            return f"not for {scope}"
        headers = [f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed.split(";")]
        body = hashlib.sha256(request.raw).hexdigest()
        canonical = "\n".join([request.method, request.path, "", "".join(headers), signed, body])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest])
        return hmac.new(key, text.encode(), "sha256").hexdigest()


class VertexApi(AnthropicApi):
    """Vertex AI, for one project in one region and the service account whose key file it writes."""

    known = AnthropicApi.known - {"cache_control"} | {"anthropic_version"}
    region = "europe-west1"
    project = "canary-project"
    token = "ya29.canary-access-token-0123456789"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def variables(self) -> dict[str, str]:
        return {"CLOUD_ML_REGION": self.region, "ANTHROPIC_VERTEX_PROJECT_ID": self.project}

    @property
    def bodies(self) -> list[Any]:
        return [request.body for request in self.requests if request.path != "/token"]

    def credentials_in(self, folder: Path) -> Path:
        """Write the key file of a service account that gets its tokens here."""
        account = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": "canary",
            "private_key": _private_key(),
            "client_email": "worker@canary-project.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path = folder / "service-account.json"
        path.write_text(json.dumps(account))
        return path

    def answer(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/token"):
            return super().answer(request)
        if self.script and isinstance(self.script[0], Fail) and self.script[0].code == "token":
            failure = self.script.popleft()
            assert isinstance(failure, Fail)
            return failure.status, failure.headers, {"error": failure.message, "error_description": self.token}
        if b"jwt-bearer" not in request.raw or b"assertion=ey" not in request.raw:
            return 400, {}, {"error": "invalid_grant"}
        return 200, {}, {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}

    def gate(self, request: Request) -> Fail | None:
        models = f"/v1/projects/{self.project}/locations/{self.region}/publishers/anthropic/models/"
        if not re.fullmatch(rf"{models}[^/:]+:rawPredict", request.path):
            return Fail(404, "Not found")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Fail(401, f"Request had invalid authentication credentials: {self.token}")
        said = request.body if isinstance(request.body, dict) else {}
        if "model" in said:
            return Fail(400, "model: Extra inputs are not permitted")
        return None if said.get("anthropic_version") else Fail(400, "anthropic_version: Field required")

    def message(self, request: Request) -> Any:
        if not isinstance(request.body, dict):
            return None
        return {**request.body, "model": request.path.rpartition("/")[2].removesuffix(":rawPredict")}


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
