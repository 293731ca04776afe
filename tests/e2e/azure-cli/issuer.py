"""An issuer of tokens for one tenant: what az signs in at, and what the controller trusts."""

import base64
import http.server
import json
import pathlib
import secrets
import ssl
import subprocess
import threading
import time
import urllib.parse

ADDRESS = "127.0.0.1:9443"
LIFETIME = 3600


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=30, check=True).stdout


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Serves from now on to the end of the process, in the present folder. Its path is the
    one for which az asks none of Microsoft's hosts whether the issuer may be trusted."""

    authority = f"https://{ADDRESS}/adfs"
    name = authority
    identity_url = f"https://{ADDRESS}/identity"
    certificate = "issuer.pem"
    keys = "issuer.jwks"

    def __init__(self, tenant):
        self._tenant = tenant
        self.secret = secrets.token_urlsafe(16)
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
                "-out", "issuer.key")
        openssl("req", "-x509", "-key", "issuer.key", "-out", self.certificate, "-days", "1",
                "-subj", "/CN=issuer", "-addext", "subjectAltName=IP:127.0.0.1")
        modulus = openssl("rsa", "-in", "issuer.key", "-noout", "-modulus")
        number = bytes.fromhex(modulus.decode().strip().removeprefix("Modulus="))
        pathlib.Path(self.keys).write_text(json.dumps({"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": encoded(number),
             "e": encoded(b"\1\0\1")}]}))
        self._serve()

    @staticmethod
    def principal(subject):
        """As the controller names it."""
        return f"{subject}@{Issuer.name.removeprefix('https://')}"

    def token(self, subject, audience):
        now = int(time.time())
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "1"},
                 {"iss": self.name, "aud": audience, "sub": subject, "tid": self._tenant,
                  "nbf": now, "iat": now, "exp": now + LIFETIME}]
        text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        signature = openssl("dgst", "-sha256", "-sign", "issuer.key", data=text.encode())
        return {"access_token": f"{text}.{encoded(signature)}", "token_type": "Bearer",
                "expires_in": LIFETIME, "expires_on": str(now + LIFETIME), "resource": audience}

    def answer(self, method, target, headers, body):
        """The status and the body; None where there is nothing of that kind."""
        address = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(address.query))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        match method, address.path.rstrip("/"):
            case "GET", "/adfs/.well-known/openid-configuration":
                return 200, {"issuer": self.name,
                             "authorization_endpoint": f"{self.authority}/oauth2/authorize",
                             "token_endpoint": f"{self.authority}/oauth2/token"}
            case "POST", "/adfs/oauth2/token":
                if (form["grant_type"] != "client_credentials"
                        or form["client_secret"] != self.secret):
                    return 401, {"error": "invalid_client"}
                [scope] = [word for word in form["scope"].split() if word.endswith("/.default")]
                return 200, self.token(form["client_id"], scope.removesuffix("/.default"))
            case "GET", "/identity":
                if headers["secret"] != self.secret:
                    return 401, {"error": "invalid_client"}
                return 200, self.token("machine", query["resource"])
        return 404, {"error": "invalid_request"}

    def _serve(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 30

            def reply(self):
                size = int(self.headers.get("Content-Length", 0))
                status, answer = issuer.answer(self.command, self.path, self.headers,
                                               self.rfile.read(size))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = reply

            def log_message(self, *words):  # pylint: disable=arguments-differ
                pass

        host, port = ADDRESS.split(":")
        server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate, "issuer.key")
        server.socket = tls.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
