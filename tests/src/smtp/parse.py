"""Reads one mail from standard input with Python's email package, and says in
JSON what a reader of mail would see."""

import email
import email.policy
import json
import sys

raw = sys.stdin.buffer.read()
mail = email.message_from_bytes(raw, policy=email.policy.default)


def part(p):
    content = None
    if not p.is_multipart():
        content = p.get_content()
        if isinstance(content, bytes):
            content = content.decode("utf-8", "replace")
        if p.get_content_disposition() is None:
            content = content.replace("\r\n", "\n")
    return {
        "type": p.get_content_type(),
        "charset": p.get_content_charset(),
        "disposition": p.get_content_disposition(),
        "filename": p.get_filename(),
        "encoding": p.get("Content-Transfer-Encoding"),
        "content": content,
    }


def defects(p):
    found = [type(d).__name__ for d in p.defects]
    for value in p.values():
        found += [type(d).__name__ for d in getattr(value, "defects", [])]
    return found


head = raw.split(b"\r\n\r\n", 1)[0]
print(json.dumps({
    "headers": [[name, str(value)] for name, value in mail.items()],
    "to": [[a.display_name, a.addr_spec] for a in mail["To"].addresses],
    "from": [[a.display_name, a.addr_spec] for a in mail["From"].addresses],
    "date": mail["Date"].datetime.timestamp(),
    "parts": [part(p) for p in mail.walk()],
    "defects": [d for p in mail.walk() for d in defects(p)],
    "longest_line": max(len(line) for line in raw.split(b"\r\n")),
    "ascii_head": head.isascii(),
    "bare_line_ends": raw.replace(b"\r\n", b"").count(b"\n") + raw.replace(b"\r\n", b"").count(b"\r"),
}))
