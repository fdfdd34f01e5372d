"""Made-up files: a good file of a format, changed at random in the ways that files go wrong."""

import io
import json
import struct
import zipfile

EXTREMES = (0, 1, -1, 127, 255, 2**15, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
ODD = (
    *(None, True, False, 0, -1, 1, 2, 10**6, 2**31, 2**63, 10**20, 10**400, -(10**20)),
    *(0.5, -0.0, 1e-320, 1e300, float("nan"), float("inf")),
    *("", "0", "ann", "a\0b", "\ud800", "x" * 300, "../x", "-1", "nan"),
    *([], [[]], [0, 0], [-1], [2**40, 2**40], {}, {"a": 1}, [None], ["a"], [0.5]),
)


def deep(n=3000):
    """A list in a list in a list ..."""
    found = []
    for _ in range(n):
        found = [found]
    return found


def some_bytes(rng, raw):
    """Bytes changed, cut, copied, put in or taken out."""
    found = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if not found:
            return bytes(found)
        # heads are where sizes stand
        reach = len(found) if rng.random() < 0.5 else min(len(found), 256)
        place, size = rng.randrange(reach), rng.choice((1, 2, 4, 8, 16, 64))
        match rng.randrange(7):
            case 0:
                found[place] ^= 1 << rng.randrange(8)
            case 1:
                found[place] = rng.randrange(256)
            case 2:
                number = rng.choice(EXTREMES) % 2 ** (8 * min(size, 8))
                order = rng.choice(("little", "big"))
                found[place : place + min(size, 8)] = number.to_bytes(min(size, 8), order)
            case 3:
                del found[place : place + size]
            case 4:
                found[place:place] = found[place : place + size]
            case 5:
                found[place : place + size] = rng.randbytes(size)
            case _:
                if rng.random() < 0.2:
                    del found[place:]
    return bytes(found)


def some_text(rng, raw):
    """A number, a word or a sign of a text replaced."""
    text = raw.decode("latin-1")
    digits = [k for k, letter in enumerate(text) if letter.isdigit()]
    if not digits or rng.random() < 0.4:
        place = rng.randrange(len(text) + 1)
        return (text[:place] + rng.choice('{}[]",:=.\n#\0\xff') + text[place + 1 :]).encode(
            "latin-1"
        )
    start = end = rng.choice(digits)
    while end < len(text) and text[end].isdigit():
        end += 1
    odd = rng.choice(("-1", "0", "1e999", "nan", "true", '"a"', "9" * 30, "[]", "[" * 3000))
    return (text[:start] + odd + text[end:]).encode("latin-1")


def places(data, way=()):
    """The paths to everything in a document."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield (*way, key)
            yield from places(value, (*way, key))


def some_json(rng, raw):
    """A value of a document replaced, or taken out."""
    if rng.random() < 0.15:
        return some_text(rng, raw)
    data = json.loads(raw)
    for _ in range(rng.choice((1, 1, 2))):
        ways = list(places(data))
        if not ways:
            break
        *way, last = rng.choice(ways)
        inner = data
        for key in way:
            inner = inner[key]
        if rng.random() < 0.15:
            del inner[last]
        else:
            too_deep = rng.random() < 0.03 and len(way) < 50  # once: json can't write more
            inner[last] = deep(900) if too_deep else rng.choice(ODD)
    text = json.dumps(data)
    if rng.random() < 0.02:
        text = "[" * 100_000 + text
    return text.encode()


def some_safetensors(rng, raw):
    """The header's JSON, the document within it, or bytes."""
    if rng.random() < 0.4:
        return some_bytes(rng, raw)
    size = struct.unpack("<Q", raw[:8])[0]
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    metadata = header.get("__metadata__", {})
    if metadata and rng.random() < 0.7:
        key = rng.choice(sorted(metadata))
        metadata[key] = some_json(rng, metadata[key].encode()).decode("latin-1")
        text = json.dumps(header).encode()
    else:
        text = some_json(rng, json.dumps(header).encode())
    return struct.pack("<Q", len(text)) + text + body


def some_zip(rng, raw):
    """A member changed, renamed, taken out or packed; or bytes of the archive."""
    if rng.random() < 0.3 or not zipfile.is_zipfile(io.BytesIO(raw)):
        return some_bytes(rng, raw)
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old:
        entries = [(entry.filename, old.read(entry)) for entry in old.infolist()]
    chosen = rng.randrange(len(entries))
    packed = rng.random() < 0.1
    with zipfile.ZipFile(
        content, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    ) as new:
        for k, (name, body) in enumerate(entries):
            if k == chosen:
                action = rng.random()
                if action < 0.05:
                    continue
                if action < 0.1:
                    name += "x"
                elif name.endswith(".json") and action < 0.8:
                    body = some_json(rng, body)
                elif action < 0.3:
                    body = some_text(rng, body[:128]) + body[128:]
                else:
                    body = some_bytes(rng, body)
            new.writestr(name, body)
    return content.getvalue()
