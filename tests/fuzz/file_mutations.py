"""Files as strangers, bad disks and attackers write them: mutations of good ones, each given by a number.

`mutated(content, random)` changes bytes anywhere, in JSON (a safetensors header included) also values and names, and in
templates also statements and expressions.
"""

from __future__ import annotations

import json
import re
import struct
from random import Random
from typing import Any

DEEP = 50_000
# Values in the place of others. Text that json.dumps does not write stands between marks, see `_as_text`.
HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 10**7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, 10**30),
    *(0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "\0", "\ud800", "a\udfff", "é\u0301", "a" * 300, "a" * 70_000, "../../outside", "/etc/passwd", "C:\\x"),
    *("float32", "gelu", "{{ 1/0 }}", "{% if %}", "[UNK]", "-1", "1e999", "٣", "²", "%s%n", "\n", "\x1b[2J"),
    *([], {}, [[]], [{}], {"": {}}, [None], ["a", 1, None], {"a": 1}, {"1": "a"}, [2**31], {"content": 5}),
    *({"__type": "AddedToken"}, {"__type": "AddedToken", "content": "x", "special": 3}, {"type": "Sequence"}),
    *("<<9:5000>>", "<<9:350>>", "<<[:300>>", f"<<[:{DEEP}>>", f"<<{{:{DEEP}>>"),
]
TOKENS = [b"\0", b"\xff", b"\xff\xfe", b"\n", b"{", b"}", b"[", b"]", b'"', b",", b":", b"-", b"9" * 40, b"\\ud800"]
TOKENS += [b"null", b"true", b"1e999", b"<html>", b"{%", b"%}", b"{{", b"version https://git-lfs", b"\xed\xa0\x80"]


def mutated(content: bytes, random: Random) -> bytes:
    """`content` with one to three changes."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        change = _change_bytes
        if random.random() < 0.75:
            if _header_of(content) is not None:
                change = _change_header
            elif _is_json(content):
                change = _change_json
            elif b"{%" in content:
                change = _change_template
        content = change(content, random)
    return content


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _change_bytes(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    end = min(len(content), start + random.choice([1, 1, 4, 8, 64, 1000]))
    kind = random.randrange(8)
    if kind == 0:  # cut off
        return content[:start]
    if kind == 1:
        return content[:start] + content[end:]
    if kind == 2:
        return content[:start] + random.choice(TOKENS) + content[start:]
    if kind == 3:
        return content[:start] + random.choice(TOKENS) + content[end:]
    if kind == 4:  # a flipped bit
        return content[:start] + bytes(byte ^ 1 << random.randrange(8) for byte in content[start:end]) + content[end:]
    if kind == 5:  # twice
        return content[:end] + content[start:]
    if kind == 6:
        return content[:start] + random.randbytes(end - start) + content[end:]
    return content[start:] if random.random() < 0.3 else content[:start] + bytes(end - start) + content[end:]


# ---- JSON ------------------------------------------------------------------------------------------------------------


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), (dict, list)) and content.count(b"[") < DEEP > content.count(b"{")
    except (ValueError, RecursionError):
        return False


def _change_json(content: bytes, random: Random) -> bytes:
    return _as_text(_changed_value(json.loads(content), random)).encode("utf-8", "surrogatepass")


def _changed_value(value: Any, random: Random) -> Any:
    places = list(_places(value))
    if not places:
        return random.choice(HOSTILE)
    container, key = random.choice(places)
    old, kind = container[key], random.randrange(10)
    if kind < 5:
        container[key] = random.choice(HOSTILE)
    elif kind == 5:  # nearly right
        container[key] = random.choice([[old], {"a": old}, str(old), _near(old, random), [old, old]])
    elif kind == 6:  # the value of another place
        other, its_key = random.choice(places)
        container[key] = json.loads(json.dumps(other[its_key]))
    elif kind == 7:
        del container[key]
    elif kind == 8 and isinstance(container, dict):  # under another name, or a second time
        name = random.choice([str(key) + "s", "", "__class__", "<<twice>>" + str(key), "self", "type", "id"])
        container[name] = old if random.random() < 0.5 else random.choice(HOSTILE)
    else:
        container[key] = random.choice(HOSTILE)
        other, its_key = random.choice(places)
        other[its_key] = random.choice(HOSTILE)
    return value


def _near(value: Any, random: Random) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value * random.choice([2, 1000]) if isinstance(value, (str, list)) and len(value) < 1000 else None
    return random.choice([value + 1, value - 1, -value, value * 2, value * 10**6, float(value), value + 0.5])


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key or index) of every value inside."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def _as_text(value: Any) -> str:
    text = json.dumps(value).replace('"<<twice>>', '"')

    def written(found: re.Match[str]) -> str:
        character, number = found[1], int(found[2])
        if character == "9":
            return "9" * number
        return "[" * number + "]" * number if character == "[" else '{"a":' * number + "1" + "}" * number

    return re.sub(r'"<<([9\[{]):(\d+)>>"', written, text)


# ---- safetensors -----------------------------------------------------------------------------------------------------


def _header_of(content: bytes) -> Any:
    if len(content) < 10 or (length := struct.unpack("<Q", content[:8])[0]) > len(content) - 8:
        return None
    return content[8 : 8 + length] if _is_json(content[8 : 8 + length]) else None


def _change_header(content: bytes, random: Random) -> bytes:
    header = _header_of(content)
    changed = _change_json(header, random)
    if random.random() < 0.2:  # the length is not what it says
        return struct.pack("<Q", random.choice([0, len(changed) - 1, 2**40, 2**63, 2**64 - 1])) + changed
    return struct.pack("<Q", len(changed)) + changed + content[8 + len(header) :]


# ---- templates -------------------------------------------------------------------------------------------------------

EXPRESSIONS = """
    messages; messages[0].content; ns; ns.all; 'a' * 10**9; [messages] * 10**9; 2 ** 10**9; 10**400; 1 / 0;
    range(10**9); range(99999); 'a'.ljust(10**9); 'a' | center(10**9); messages | tojson(indent=10**6);
    ns.all ~ ns.all; [ns.all, ns.all]; ns.n * ns.n * ns.n; said(messages[0]); said; loop; loop.index0;
    loop(messages); caller(); '%s' * 9999 % messages; '%999999999d' % 1; '{:999999999}'.format(1);
    'a'.__class__; messages.__len__(); self; cycler; ().__class__.__bases__[0].__subclasses__();
    namespace(a=ns); dict(messages); dict.fromkeys('abc'); joiner(messages); messages | map('upper') | list;
    messages | map(attribute='content') | join('x' * 9999); messages | sum; lipsum(9**9);
    messages | batch(10**9, 'x') | list; messages | sort(attribute='role');
    ('a' * 99999).replace('a', 'b' * 99999); messages | groupby('role') | list; 'a' in messages;
    messages == messages; messages | pprint; none.x; '' | int / 0; 'a' | indent(10**9); 'x' | wordwrap(0);
    5 | round(10**9); 'a' | filesizeformat; 'a' | urlize; [1] | random; 1e999; strftime_now('%Y' * 9999);
    raise_exception(ns); 'a'.encode('utf-16'); ('a' * 9999).translate({97: 'b' * 9999})
"""
STATEMENTS = """
    {% for i in range(99999) %}; {% for i in messages recursive %}; {% endfor %}; {% break %}; {% endif %};
    {% if ns.n < 9 %}; {% else %}; {% set ns.all = [ns.all, ns.all] %}; {% set ns.all = ns.all ~ ns.all %};
    {% endset %}; {% set ns.all %}; {% macro said(m) %}{{ said(m) }}{{ said(m) }}; {% endmacro %};
    {% set ns = namespace(n=ns, all=ns) %}; {% set ns.n = ns %}; {% include 'x' %}; {% import 'x' as y %};
    {% extends 'x' %}; {% block a %}; {% endblock %}; {% call said(messages[0]) %}; {% endcall %};
    {% filter upper %}; {% endfilter %}; {% generation %}; {% raw %}; {% endgeneration %};
    {% set messages = messages + messages %}; {% set _a = 1 %}; {% autoescape true %}
"""


def _change_template(content: bytes, random: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    pieces = re.split(r"(\{%.*?%\}|\{\{.*?\}\})", text)
    place, kind = random.randrange(len(pieces)), random.randrange(5)
    if kind == 0:
        del pieces[place]
    elif kind == 1:
        pieces.insert(place, random.choice(pieces))
    elif kind == 2:
        pieces.insert(place, random.choice(STATEMENTS.split(";")).strip())
    elif kind == 3:
        pieces.insert(place, "{{ " + random.choice(EXPRESSIONS.split(";")).strip() + " }}")
    else:  # another expression inside of a piece
        changed = random.choice(EXPRESSIONS.split(";")).strip()
        pieces[place] = re.sub(
            r"(?<= )(messages|m\.\w+|ns\.\w+|'[^']*'|\d+)", lambda _: changed, pieces[place], count=1
        )
    return "".join(pieces).encode()
