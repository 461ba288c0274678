from __future__ import annotations

import time

import pytest

from stores import secrets
from stores.connections import parse_uri
from stores.errors import InputError
from stores.secrets import masked, remember, remember_address

SECRET = "Xq7zTopSecret"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(secrets, "_remembered", set())


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://me:{SECRET}@h/x",
        f"mongodb://me:a@b:{SECRET}@h/x",
        f"mongodb://me:a/{SECRET}?#@h:27017,g:27018/x?replicaSet=r",
        f"mongodb+srv://me:{SECRET}%40%2F@h/x",
        f"mongodb://:{SECRET}@h",
        f"https://{SECRET}@host/optimade",
        f"https://host/optimade?token={SECRET}&a=b",
        f"https://host/?api_key={SECRET}",
        f"mongodb://h/x?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET},b:c",
        f"mongodb://h/x?tlsCertificateKeyFilePassword={SECRET}",
        f"failed at mongodb://me:{SECRET}@h/x, retrying http://you:{SECRET}@g",
        f"Authorization: Bearer {SECRET}",
        f"AWS_SECRET_ACCESS_KEY={SECRET} is wrong",
        f"DB_PASSWORD={SECRET}",
        f'{{"password": "{SECRET}", "user": "me"}}',
        f"client_secret={SECRET};x",
        f"found ['mongodb://me:a b {SECRET}@h/x']",
        f"store: mongodb://me:a: {SECRET}@127.0.0.1:9/x ^ (line: 1)",
        f"'mongodb://me:a b\\t@{SECRET}@h/x' and 'mongodb://you:{SECRET}@h/x'",
    ],
    ids=len,  # the text itself would be in PYTEST_CURRENT_TEST, and so known
)
def test_secret_is_known_by_its_form(text):
    assert SECRET not in masked(text)
    assert "***" in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://h:27017/x",
        "mongodb://h:27017,g:27018/x?replicaSet=r&w=majority",
        "sqlite:////data/x.sqlite",
        "C:\\x.db",
        "memory://x",
        "c.yaml:3: store: expected text; see https://host/page",
        "termination_key: Mg|Ag",
        "that cannot start any token: line 3",
        "12:30:00 done, tokens: 5",
        "mongodb://h:27017/x: write to me@h",
        "see https://host: write to me@h",
    ],
    ids=len,
)
def test_other_text_stays(text):
    assert masked(text) == text


@pytest.mark.parametrize(
    ("password", "shown"),
    [
        ("p%40ss%3Aword", ("p%40ss%3Aword", "p@ss:word")),
        ("p@ss:w/rd", ("p@ss:w/rd", "p%40ss%3Aw%2Frd")),
        ("with blank#?", ("with blank#?",)),
    ],
)
def test_password_of_an_address_is_hidden_in_every_form_wherever_it_is_quoted(password, shown):
    remember_address(f"mongodb://me:{password}@host/db")
    for form in shown:
        assert form not in masked(f"auth failed for {form} at host")


@pytest.mark.parametrize("sign", ["&", ",", ";", " "])
def test_token_in_an_address_is_hidden_whatever_its_characters(sign):
    address = f"mongodb://h/x?authMechanismProperties=AWS_SESSION_TOKEN:a{sign}{SECRET}"
    remember_address(address)
    assert SECRET not in masked(f"The store {address} failed")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MP_API_KEY", SECRET),
        ("AWS_SESSION_TOKEN", SECRET),
        ("MY_CLIENT_SECRET", SECRET),
        ("PGPASSWORD", SECRET),
        ("MGSURF_STORE", f"mongodb://me:{SECRET}@h/x"),
        ("HTTPS_PROXY", f"http://me:{SECRET}@proxy:3128"),
    ],
)
def test_secrets_of_the_environment_are_hidden(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert SECRET not in masked(f"the server reports {SECRET!r}")


def test_a_short_secret_hides_no_words():
    remember("ab")
    remember_address("mongodb://me:x@h")
    assert masked("a table of 3 x 3") == "a table of 3 x 3"


@pytest.mark.parametrize("password", ["a@b", "a/b", "a?b", "a#b", "a:b", "a[b", "a b", "a%b", "a%zz"])
def test_mongodb_password_without_percent_encoding_is_refused_before_any_part_is_taken_for_a_host(password):
    with pytest.raises(InputError, match="%40") as caught:
        parse_uri(f"mongodb://me:{SECRET}{password}@host/db")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["a:" * 50_000 + "@", "token" * 20_000, "//" * 50_000, "a" * 200_000])
def test_long_texts_take_no_time(text):
    start = time.perf_counter()
    masked(text)
    assert time.perf_counter() - start < 3
