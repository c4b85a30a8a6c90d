"""A relay of aiosmtpd that keeps each mail in a file of the folder named by its
argument, and says no to some, by the first word of an address. Further
arguments are `starttls` or `smtps` and a folder with cert.pem and key.pem; then
it wants the user `ci` with the password `geheim`. Its first line of output is
its port."""

import asyncio
import json
import os
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder = pathlib.Path(sys.argv[1])
mode, certificates = sys.argv[2:4] if len(sys.argv) > 2 else (None, None)
counts = {"connections": 0, "mails": 0}


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname):
        session.host_name = hostname
        counts["connections"] += 1
        return "250 HELP"

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith("unwanted"):
            return "553 5.7.1 sender not owned by you"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user here"
        if address.startswith("later"):
            return "451 4.7.1 greylisted, come again"
        if address.startswith("closing"):
            return "421 4.3.2 going down"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        if any(to.startswith("full") for to in envelope.rcpt_tos):
            return "452 4.2.2 mailbox is full"
        if any(to.startswith("spam") for to in envelope.rcpt_tos):
            return "554 5.7.1 looks like spam"
        counts["mails"] += 1
        name = folder / f"{counts['mails']:06}"
        name.with_suffix(".eml").write_bytes(envelope.original_content)
        about = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "connections": counts["connections"]}
        name.with_suffix(".new").write_text(json.dumps(about))
        os.rename(name.with_suffix(".new"), name.with_suffix(".json"))
        return f"250 2.0.0 Ok: kept as {counts['mails']}"


def proven(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"ci", b"geheim"), handled=False)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pathlib.Path(certificates) / "cert.pem", pathlib.Path(certificates) / "key.pem")
    return made


def make():
    options = {}
    if mode:
        options = {"authenticator": proven, "auth_required": True, "auth_require_tls": mode == "starttls"}
    if mode == "starttls":
        options |= {"tls_context": context(), "require_starttls": True}
    return SMTP(Handler(), hostname="sink.example.org", enable_SMTPUTF8=True, **options)


async def main():
    loop = asyncio.get_running_loop()
    tls = context() if mode == "smtps" else None
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Ends with whoever started it.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
