"""The generated secrets of a stack, out of its state. Pure."""

import json
from typing import Final

PASSWORD: Final = "random:index/randomPassword:RandomPassword"


def generated_secrets(exported: str) -> dict[str, str]:
    """Purpose -> secret, from a `pulumi stack export --show-secrets`."""
    deployment = json.loads(exported).get("deployment") or {}
    found = {}
    for resource in deployment.get("resources") or []:
        if resource.get("type") != PASSWORD:
            continue
        result = (resource.get("outputs") or {}).get("result")
        if isinstance(result, dict):
            plain = result.get("plaintext", "")
            result = json.loads(plain) if plain else ""
        if isinstance(result, str) and result:
            found[resource["urn"].rsplit("::", 1)[-1]] = result
    return found
