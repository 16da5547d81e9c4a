"""Runs schemathesis, all checks, against all three APIs of a `millrace dev` of its own.

    python3 -m venv target/schemathesis
    target/schemathesis/bin/pip install schemathesis==4.32.5
    cargo build
    target/schemathesis/bin/python tests/schemathesis/run.py [OPTIONS OF schemathesis run …]

Exits with 1 if anything is found. MILLRACE_BIN names another binary; the server's log is
target/schemathesis.log.
"""

import base64
import http.server
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile
import threading

import requests

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "target"
BINARY = os.environ.get("MILLRACE_BIN", TARGET / "debug/millrace")
PASSWORD = "Correct-horse-7-battery!"
SECRET = secrets.token_urlsafe()
# Whose password, as hooks.py reads it, and the first person of the back office.
VARIABLES = {
    "MILLRACE_ADMIN_EMAIL": "admin@example.com",
    "MILLRACE_ADMIN_PASSWORD": PASSWORD,
    "MILLRACE_BO_BOOTSTRAP_SECRET": SECRET,
    "MILLRACE_BO_BOOTSTRAP_EMAIL": "office@example.com",
    "MILLRACE_BO_BOOTSTRAP_PASSWORD": PASSWORD,
    "MILLRACE_BO_BOOTSTRAP_FIRST_NAME": "Olga",
    "MILLRACE_BO_BOOTSTRAP_LAST_NAME": "Office",
    "MILLRACE_BO_BOOTSTRAP_PHONE": "+49 30 1",
}
CHEAP = ["--argon2-memory-kib=8", "--argon2-passes=1", "--argon2-lanes=1"]
WIDE = [f"{what}-per-{whom}" for what in ("logins", "hashes", "mails") for whom in
        ("account", "address")]


class Jwks(http.server.BaseHTTPRequestHandler):
    """The keys of a Google that signs nothing."""

    KEY = base64.urlsafe_b64encode(b"\xff" + secrets.token_bytes(254) + b"\x01").rstrip(b"=")
    SET = {"keys": [{"kty": "RSA", "alg": "RS256", "kid": "1", "e": "AQAB", "n": KEY.decode()}]}

    def do_GET(self):
        body = json.dumps(self.SET).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def keys():
    """Where those keys are."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jwks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/"


def serve(data):
    """A server, and what it says of itself."""
    args = [BINARY, "dev", "--json", "--data", data, "--listen=127.0.0.1:0"]
    args += ["--admin-listen=127.0.0.1:0", "--google-client-id=client", "--google-jwks-url", keys()]
    args += CHEAP + [f"--{limit}=1000000/1" for limit in WIDE]
    log = open(TARGET / "schemathesis.log", "w")
    server = subprocess.Popen(args, env=os.environ | VARIABLES, stdout=subprocess.PIPE, stderr=log)
    greeting = server.stdout.readline()
    if not greeting:
        sys.exit(f"the server did not start; {log.name} says why")
    return server, json.loads(greeting)


def people(data, url):
    """Makes the admin and the first person of the back office."""
    create = [BINARY, "user", "create", "--data", data, "--name=Admin", "--role=admin"]
    create += ["--email", VARIABLES["MILLRACE_ADMIN_EMAIL"], "--password-stdin"]
    subprocess.run(create, input=PASSWORD, text=True, check=True)
    bootstrap = url + "/users/v1/bo/back-office/bootstrap"
    requests.post(bootstrap, json={"secret": SECRET}, timeout=30).raise_for_status()


def check(url, api_key, folder):
    variables = {"MILLRACE_URL": url, "MILLRACE_API_KEY": api_key}
    variables |= {"SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"), "PYTHONDONTWRITEBYTECODE": "1"}
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    args = [program, "--config-file", HERE / "schemathesis.toml", "run", url + "/openapi.json"]
    args += ["--exclude-tag=Admin", "--continue-on-failure"]
    # It keeps what it has learned in the folder where it runs.
    environment = os.environ | VARIABLES | variables
    return subprocess.run(args + sys.argv[1:], env=environment, cwd=folder).returncode


def main():
    with tempfile.TemporaryDirectory() as folder:
        data = folder + "/data"
        server, greeting = serve(data)
        try:
            url = greeting["url"].rstrip("/")
            people(data, url)
            return check(url, greeting["api_key"], folder)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
