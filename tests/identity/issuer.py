"""An issuer that is not ours: keys by `cryptography`, key set and tokens by PyJWT. Prints one object of JSON.

    issuer.py NOW
"""

import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

now = int(sys.argv[1])
keys = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=3072),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
}
kinds = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "ES384": ECAlgorithm}


def published(algorithm):
    key = kinds[algorithm].to_jwk(keys[algorithm].public_key(), as_dict=True)
    return {**key, "kid": algorithm, "use": "sig", "alg": algorithm}


claims = {"iss": "https://idp.example.com", "aud": "api", "sub": "acme", "iat": now, "nbf": now, "exp": now + 300}


def token(algorithm, claims=claims, key=None, **headers):
    signer = keys[key or algorithm]
    return jwt.encode(claims, signer, algorithm=algorithm, headers={"kid": key or algorithm, **headers})


print(
    json.dumps(
        {
            "keys": {"keys": [published(algorithm) for algorithm in keys]},
            "good": [
                token("RS256"),
                token("ES256"),
                token("ES256", typ="at+jwt"),
                token("ES256", {**claims, "aud": ["web", "api"], "scope": "a b", "name": "Zoë \U0001f600"}),
                jwt.encode(claims, keys["RS256"], algorithm="RS256"),
            ],
            "bad": {
                "algorithm_not_allowed": token("ES384"),
                "token_expired": token("RS256", {**claims, "iat": now - 600, "nbf": now - 600, "exp": now - 300}),
                "wrong_audience": token("ES256", {**claims, "aud": "web"}),
                "critical_header": token("ES256", crit=["exp"], exp=now),
                "unknown_key": jwt.encode(claims, keys["RS256"], algorithm="RS256", headers={"kid": "ES256"}),
            },
            "pss": jwt.encode(claims, keys["RS256"], algorithm="PS256", headers={"kid": "RS256"}),
        }
    )
)
