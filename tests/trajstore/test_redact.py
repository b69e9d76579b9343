"""What is hidden before it is stored: by name, by pattern, everywhere; and what must survive."""

import base64
import random
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajstore.codec import to_json
from trajstore.errors import UsageError
from trajstore.recollection import recollect, stored_embedder
from trajstore.redact import PLACEHOLDER, KeyedRedactor, Redactor
from trajstore.redaction_rules import OPTIONAL_PATTERNS, PATTERNS, is_luhn, load_rules, rules_from
from trajstore.schema import Candidate, Step, Task, Trajectory
from trajstore.store import TrajectoryStore

KEY = b"a key for these tests only"
REDACTOR = Redactor().keyed(KEY)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits, seed: int = 0) -> str:
    return "".join(random.Random(f"{seed}{count}{alphabet}").choices(alphabet, k=count))


def segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def card(prefix: str, length: int) -> str:
    body = prefix + letters(length - len(prefix) - 1, string.digits)
    return next(body + digit for digit in string.digits if is_luhn(body + digit))


PEM = "".join(f"{letters(64, seed=line)}\n" for line in range(6))
JWT = ".".join([segment('{"alg": "HS256"}'), segment('{"sub": "1234567890"}'), letters(43)])
# Each secret with texts that hold it.  None is real: they are drawn here.
SECRETS: dict[str, tuple[str, ...]] = {
    letters(16): ("password={}", '{{"password": "{}"}}', "--password {}", "DB_PASSWORD='{}'", "my password is {}"),
    "AKIA" + letters(16, string.ascii_uppercase + string.digits): ("key {}", "aws_access_key_id={},"),
    letters(40, string.ascii_letters + string.digits + "+/"): (
        "aws_secret_access_key = {}",
        '\\"secret_key\\": \\"{}\\"',
    ),
    "ghp_" + letters(36): ("{}", "https://x-access-token:{}@example.org/r.git"),
    "github_pat_" + letters(60): ("use {} to push",),
    "glpat-" + letters(20): ("{}.",),
    "xoxb-" + letters(40, string.digits): ("slack {}",),
    "sk-" + letters(48): ("OPENAI {} ok", "('{}')"),
    "sk_live_" + letters(24): ("stripe:{}",),
    "AIza" + letters(35): ("maps?key={}&q=x",),
    "hf_" + letters(34): ("{}",),
    "npm_" + letters(36): ("//registry/:_authToken={}",),
    JWT: ("{}", "Bearer {}"),
    letters(32): ("Authorization: Bearer {}", "curl -H 'Authorization: token {}'", "bearer {}"),
    "sid=" + letters(32): ("Cookie: {}", "Set-Cookie: {}"),
    f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}-----END RSA PRIVATE KEY-----": ("file:\n{}\ndone",),
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PEM}": ("cut off: {}",),
    card("4", 16): ("card {}", "pay with {}, please"),
    card("37", 15): ("amex {}",),
    "DE89 3704 0044 0532 0130 00": ("transfer to {} today",),
    "GB29NWBK60161331926819": ("IBAN {}",),
    "ann.o'neil+x@mail.example.org": ("write to {}.",),
    "s3cr3t!pw": ("postgres://admin:{}@db.internal:5432/x",),
}
PAIRS = [(secret, text.format(secret)) for secret, texts in SECRETS.items() for text in texts]


def hidden_part(secret: str) -> str:
    """What of a secret must be gone: of a name with an apostrophe the address that mail goes to."""
    return secret.partition("'")[2] or secret


@pytest.mark.parametrize(("secret", "text"), PAIRS)
def test_a_secret_is_hidden_in_every_text_that_shows_it(secret: str, text: str):
    found = REDACTOR.text(text)
    assert hidden_part(secret) not in found
    assert PLACEHOLDER.search(found)
    assert REDACTOR.text(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "order #W5918442 with item 9612497925 and product 6086499569",
        "credit_card_7815826, gift_card_1234567",
        "flight HAT045 on 2024-05-16T18:00:00, reservation Z7GOZK",
        "user_id yusuf_rossi_9620, zip 19122",
        "1700000000000 1700000000000000 1700000000000000000",
        "EAN 4006381333931, ISBN 978-3-16-148410-0",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "9e107d9d372bb6826bd81d3542a419d6",
        "commit e2028d6, sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "max_tokens=4096, token: the smallest unit",
        "SELECT password FROM users",
        "I forgot my password",
        "what is the password?",
        "token_type: bearer",
        "ssh://git@host/repo",
        "http://localhost:8080/a@b",
        "basic understanding of internationalization",
        "1234567890123456",
        "3.141592653589793238",
        "2 + 2 = 4",
        "x @ y.z",
        "@mention",
        "a secret: none",
        "password: ********",
        "the passenger's name",
        "secretary: Bob Dylan99",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]",
    ],
)
def test_what_retrieval_needs_survives(text: str):
    assert REDACTOR.text(text) == text


def test_equal_values_stay_equal_and_different_ones_different():
    one, same, other = (REDACTOR.text(text) for text in ("ann@mail.org", "for ann@mail.org", "bob@mail.org"))
    assert same == f"for {one}"
    assert other != one


def test_without_the_key_a_guess_cannot_be_tested():
    assert Redactor().keyed(b"another key, as long").text("ann@mail.org") != REDACTOR.text("ann@mail.org")


def test_a_placeholder_names_its_kind():
    kinds = [
        REDACTOR.text(text)[1:].split(":")[0] for text in ("ann@mail.org", card("4", 16), "GB29NWBK60161331926819")
    ]
    assert kinds == ["email", "card", "iban"]


@pytest.mark.parametrize(
    "args",
    [
        {"password": "hunter2"},
        {"clientSecret": "abc"},
        {"X-API-Key": "k"},
        {"auth": {"access_token": "t"}},
        {"cookies": ["one", "two"]},
        {"headers": [{"name": "Authorization", "value": "zzz"}]},
        {"pin": 1234},
        {"credentials": {"user": "me", "pass": "you"}},
    ],
)
def test_what_stands_under_a_secret_name_is_hidden_whatever_it_looks_like(args):
    hidden = REDACTOR.value(args)
    assert PLACEHOLDER.search(to_json(hidden))
    assert REDACTOR.value(hidden) == hidden
    for value in ("hunter2", '"abc"', '"k"', '"t"', "one", "two", "zzz", "1234", '"me"', '"you"'):
        assert value not in to_json(hidden)


def test_numbers_switches_and_nothing_keep_their_kind_where_they_are_no_secret():
    args = {"max_token": 5, "password": None, "secret": True, "cookie": "", "api_key": "****", "token_count": "12"}
    assert REDACTOR.value(args) == args


def test_a_secret_argument_is_hidden_wherever_its_trajectory_repeats_it():
    login = Step(index=1, tool="login", args={"password": "tiger-77"}, observation="welcome, tiger-77!")
    before = Step(
        index=0, tool="read", state="the note says tiger-77", candidates=(Candidate("type", {"t": "tiger-77"}),)
    )
    hidden = REDACTOR.trajectory(
        Trajectory(Task("log in with tiger-77"), (before, login), metadata={"x": ["tiger-77"]})
    )
    assert "tiger-77" not in repr(hidden)
    assert len(set(PLACEHOLDER.findall(repr(hidden)))) == 1


def test_a_short_word_is_not_hidden_everywhere_because_it_was_a_password_once():
    step = Step(index=0, tool="login", args={"password": "test"}, observation="a test of the system")
    assert REDACTOR.step(step).observation == "a test of the system"


def test_what_holds_no_secret_is_the_same_record():
    step = Step(index=0, tool="t", args={"q": "x"}, candidates=(Candidate("t", {"q": "x"}),), observation="fine")
    assert REDACTOR.step(step) is step
    assert REDACTOR.candidate(step.candidates[0]) is step.candidates[0]


texts = st.lists(st.one_of(st.text(max_size=20), st.sampled_from([text for _, text in PAIRS])), max_size=4).map(
    " ".join
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["q", "password", "name", "value", "access_token"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_hiding_twice_hides_nothing_more(value):
    hidden = REDACTOR.value(value)
    assert REDACTOR.value(hidden) == hidden


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=200))
def test_any_text_at_all_can_be_searched(text: str):
    assert isinstance(REDACTOR.text(text), str)


HOSTILE = (
    "a",
    "1",
    "1 ",
    "1-",
    "A1 ",
    "AB12",
    "a.",
    "a@",
    "@a.",
    "a@a.",
    "eyJ",
    "-eyJ",
    "eyJaaaaa.",
    "sk-",
    "xox",
    "password=",
    "password:",
    "password=\\",
    "token ",
    "--token",
    "bearer ",
    "Cookie: ",
    "://",
    "://a:",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    '\\"',
    "é",
    "\ue000",
    "GB29 ",
    "4111 1111 1111 1111 ",
    "SG.",
    "hooks.slack.com/services/",
    "9:AA",
    "(555)",
    "+1 ",
    "1.1.",
    "1.1.1.1.",
)


def test_no_text_makes_the_search_hang():
    """Two hundred thousand characters each: a search that backtracks, or is quadratic, would take hours."""
    rules = Redactor(rules_from({"optional": list(OPTIONAL_PATTERNS)})).keyed(KEY)
    for piece in HOSTILE:
        text = piece * (200_000 // len(piece))
        assert rules.text(text)


def trajectory_of(*texts: str) -> Trajectory:
    everywhere = "; ".join(texts)
    step = Step(
        index=0,
        tool="call",
        state=everywhere,
        args={"a": list(texts), "b": {"c": everywhere}},
        observation=everywhere,
        error=everywhere,
        candidates=(Candidate("call", {"a": texts[0]}, everywhere),),
    )
    task = Task(everywhere, task_id=texts[0], group=texts[0], family=texts[0])
    return Trajectory(task, (step,), success=True, stop_reason=everywhere, metadata={"notes": {everywhere: everywhere}})


def test_no_byte_of_a_secret_is_in_any_file_of_the_store(tmp_path: Path):
    path = tmp_path / "agent.db"
    with TrajectoryStore(path) as store:
        store.add_many([trajectory_of(text) for _, text in PAIRS])
        recollect(store, stored_embedder(store))
        files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        exported = "".join(map(repr, store.trajectories())).encode()
    assert any(file.suffix == ".db-wal" or file.name.endswith("-wal") for file in files)
    for content in (*files.values(), path.read_bytes(), exported):
        for secret in SECRETS:
            for line in hidden_part(secret).splitlines():
                assert line.startswith("-----") or line.encode() not in content


def test_the_key_survives_reopening_and_differs_between_stores(tmp_path: Path):
    found = []
    for name in ("one.db", "one.db", "two.db"):
        with TrajectoryStore(tmp_path / name) as store:
            assert isinstance(store.redactor, KeyedRedactor)
            found.append(store.redactor.text("ann@mail.org"))
    assert found[0] == found[1] != found[2]


def test_a_store_without_a_redactor_keeps_what_it_gets():
    trajectory = trajectory_of("ann@mail.org")
    with TrajectoryStore(":memory:", redactor=None) as store:
        stored = store.get(store.add(trajectory))
    assert stored.task.text == "ann@mail.org"


def test_the_same_trajectory_is_not_added_twice():
    trajectory = trajectory_of(*(text for _, text in PAIRS))
    with TrajectoryStore(":memory:") as store:
        first = store.add(trajectory)
        assert store.add(replace(trajectory)) == first == store.add(replace(store.get(first), trajectory_id=""))


def test_a_rules_file_adds_names_and_patterns_and_switches_others(tmp_path: Path):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "names = ['Badge']\noptional = ['phone']\nwithout = ['email']\n"
        "[[rule]]\nkind = 'employee'\npattern = 'E-(?P<value>\\d{6})'\n"
    )
    redactor = Redactor(load_rules(rules)).keyed(KEY)
    assert redactor.text("ann@mail.org") == "ann@mail.org"
    assert PLACEHOLDER.sub("…", redactor.text("E-123456 at 555-123-4567")) == "E-… at …"
    assert PLACEHOLDER.fullmatch(redactor.value({"badge": "blue"})["badge"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("names = 3", "must be a list of texts"),
        ("optional = ['mobile']", "must be among"),
        ("without = ['x']", "must be among"),
        ("rule = [3]", "needs a kind and a pattern"),
        ("[[rule]]\nkind='a'\npattern='('", "no regular expression"),
        ("[[rule]]\nkind='A B'\npattern='x'", "small letters"),
        ("[[rule]]\nkind='a'\npattern='x*'", "matches nothing at all"),
        ("keys = []", "may hold"),
        ("names = ", "no TOML"),
    ],
)
def test_a_wrong_rules_file_is_refused_with_what_is_wrong(tmp_path: Path, table: str, message: str):
    path = tmp_path / "rules.toml"
    path.write_text(table)
    with pytest.raises(UsageError, match=message):
        load_rules(path)


def test_a_missing_rules_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot read the rules"):
        load_rules(tmp_path / "none.toml")


def test_every_pattern_is_tried_on_some_secret():
    found = {rule.kind for rule in PATTERNS}
    shown = {match[1:].split(":")[0] for _, text in PAIRS for match in PLACEHOLDER.findall(REDACTOR.text(text))}
    assert shown == found
