"""An SMTP server. Each mail that it takes or refuses is a line of JSON on standard output; the
first line is its port. Recipients whose address begins with "refused" it does not know."""

import argparse
import asyncio
import email
import email.policy
import json
import logging
import ssl
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--login", nargs=2, metavar=("USER", "PASSWORD"))
parser.add_argument("--tls", choices=["starttls", "implicit"])
parser.add_argument("--certificate")
parser.add_argument("--key")
options = parser.parse_args()
# It also warns of what the tests are about.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


def say(value):
    print(json.dumps(value), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("refused"):
            say({"refused": address})
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say({"taken": {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "is_encrypted": session.ssl is not None or options.tls == "implicit",
            "is_authenticated": bool(session.authenticated),
            "mail": {
                "headers": [[name, str(value)] for name, value in mail.items()],
                "text": mail.get_content().replace("\r\n", "\n"),
            },
        }})
        return "250 taken"


def authenticate(server, session, envelope, mechanism, given):
    right = [part.encode() for part in options.login]
    return AuthResult(success=[given.login, given.password] == right, handled=False)


async def main():
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
    by_starttls = options.tls == "starttls"

    def connection():
        return SMTP(
            Handler(),
            hostname="sink",
            tls_context=context if by_starttls else None,
            require_starttls=by_starttls,
            authenticator=authenticate if options.login else None,
            auth_required=bool(options.login),
            auth_require_tls=by_starttls,
        )

    wrapped = context if options.tls == "implicit" else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", options.port, ssl=wrapped)
    say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
