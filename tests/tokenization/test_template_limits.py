"""Chat templates are programs of strangers: those that do not end, or fill the memory, are stopped in words."""

from __future__ import annotations

import time

import jinja2
import pytest

from minitransformers.errors import InputError
from minitransformers.tokenization.chat import limits
from minitransformers.tokenization.chat.templates import read_inputs, render


def rendered(template: str, messages: int = 2) -> str:
    conversation = [{"role": "user", "content": f"hello {number}"} for number in range(messages)]
    inputs, _ = read_inputs(conversation, None, None, {})
    return render(template, inputs, special_tokens={"bos_token": "<s>"})[0][0]


ENDLESS = {
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops that run nothing": "{% for i in range(99999) %}{% for j in range(99999) if no %}{% endfor %}{% endfor %}",
    "recursive loops": (
        "{% for x in [1] recursive %}{% if loop.depth < 5 %}{{ loop(range(99999)) }}{% endif %}{% endfor %}"
    ),
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "long texts in loops": "{% set t = 'a' * 999999 %}{% for i in range(9999) %}{{ t | upper | length }}{% endfor %}",
    "comparisons": "{% set t = 'a' * 999999 %}{% for i in range(9999) %}{% if 'b' in t %}{% endif %}{% endfor %}",
}
LARGE = {
    "a product": "{{ 'a' * 10**12 }}",
    "a product of lists": "{{ [1] * 10**12 }}",
    "a power": "{{ 2 ** (10**9) }}",
    "texts that double": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "sums that double": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "lists that double": (
        "{% set n = namespace(x=1) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"
    ),
    "blocks that double": (
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}"
        "{% set n.x = y %}{% endfor %}"
    ),
    "padding": "{{ 'a'.ljust(10**11) }}",
    "a centre": "{{ 'a' | center(10**11) }}",
    "a printed width": "{{ '%1000000000d' % 1 }}",
    "a width in a format": "{{ '{:1000000000}'.format(1) }}",
    "a width from an argument": "{{ '{:{}}'.format(1, 10**9) }}",
    "a width in a filter": "{{ '%1000000000d' | format(1) }}",
    "an indent of JSON": "{{ messages | tojson(indent=10**9) }}",
    "an indent": "{{ ('a\n' * 99999) | indent(10**6) }}",
    "a replacement": "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "a replacing filter": "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "a translation": "{{ ('a' * 99999).translate({97: 'b' * 99999}) }}",
    "a separator": "{{ range(99999) | join('a' * 99999) }}",
    "a separator's method": "{{ ('a' * 99999).join('b' * 99999) }}",
    "tabs": "{{ ('\t' * 99999).expandtabs(10**6) }}",
    "nested lists": "{% set n = namespace(x=1) %}{% for i in range(200) %}{% set n.x = [n.x] %}{% endfor %}",
    "slices": "{{ [1] | batch(10**9, 'x') | list }}",
    "output": "{% set t = 'a' * 999999 %}{% for i in range(100) %}{{ t }}{% endfor %}",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_templates_that_do_not_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_STEPS", 20_000)
    monkeypatch.setattr(limits, "MOST_WORK", 2**25)
    started = time.process_time()
    with pytest.raises(InputError, match=r"The chat template takes too long: it was stopped after 20,000 steps"):
        rendered(ENDLESS[name])
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", LARGE)
def test_templates_that_fill_the_memory(name: str) -> None:
    started = time.process_time()
    with pytest.raises(InputError, match=r"too large|too long|levels deep"):
        rendered(LARGE[name])
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% if %}", "can't be read .line 1.: Expected an expression"),
        ("{{ a", "can't be read"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "can't be read: RecursionError"),
        ("{% for i in x %}" * 30 + "{% endfor %}" * 30, "can't be read .* SyntaxError"),
        ("{{ no.such.name }}", "fails: 'no' is undefined"),
        ("{{ 1 / 0 }}", "fails: ZeroDivisionError"),
        ("{{ no | tojson }}", "fails: TypeError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails: RecursionError"),
        ("{% include 'x' %}", "fails: TypeError: no loader"),
        ("{{ raise_exception('no such role') }}", "fails: no such role"),
        ("{{ ().__class__.__mro__ }}", "fails: access to attribute '__class__'"),
        ("x" * 1_000_001, "has 1,000,001 characters"),
    ],
)
def test_templates_that_are_wrong(template: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        rendered(template)
    # A caller of the reference catches Jinja's error.
    assert "characters" in words or isinstance(caught.value, jinja2.exceptions.TemplateError)


def test_long_chats_are_well_within_the_limits() -> None:
    template = (
        "{% for m in messages %}{% if loop.index0 < messages | length - 1 and m['role'] in ['user', 'assistant'] %}"
        "{{ '<' + m.role + '>' + m['content'] | trim ~ '\n' }}{% endif %}{% endfor %}{{ messages[1:] | length }}"
        "{{ '%03d' % 7 }}{{ 'a{}'.format(1) }}{{ messages | map(attribute='role') | unique | join(', ') }}"
    )
    text = rendered(template, messages=1_000)
    assert text.startswith("<user>hello 0\n<user>hello 1\n")
    assert text.endswith("<user>hello 998\n999007a1user")


def test_what_loops_see_is_unchanged() -> None:
    template = (
        "{% for m in messages if m.content != 'hello 0' %}{{ loop.index }}/{{ loop.length }} {{ loop.first }}"
        "{% endfor %}{% for k, v in {'a': (1, 2)}.items() %}{{ k }}{{ v[1] }}{% endfor %}{% for x in [] %}{% else %}-"
        "{% endfor %}{% for x in [1, 2] %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% break %}{% endfor %}"
    )
    assert rendered(template, messages=3) == "1/2 True2/2 Falsea2-2"
