"""What is secret or personal: names whose values are hidden, and patterns that show a value for what it is.

No pattern backtracks without bound: quantifiers are bounded or possessive, and a run can begin only where no character
of its own kind stands before it, so that the time grows with the length of the text alone.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from trajstore.errors import UsageError

Check = Callable[[re.Match[str]], bool]


def _always(match: re.Match[str]) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of value by its pattern; what its last named group matched is hidden, without one the whole match.

    A text without any of `hints` (in small letters) is not searched.  `check` may still say that a match is none.
    """

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...] = ()
    check: Check = _always

    def may_be_in(self, small: str) -> bool:
        """Whether a text in small letters must be searched."""
        for hint in self.hints:
            if hint in small:
                return True
        return not self.hints


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """Patterns in the order in which they are tried, and names beside `is_secret_name` whose values are hidden."""

    patterns: tuple[Rule, ...]
    names: frozenset[str] = field(default_factory=frozenset)

    def is_secret(self, name: str) -> bool:
        """Whether the value under this name is hidden whatever it looks like."""
        return is_secret_name(name) or name.lower() in self.names


SECRET_WORDS = frozenset(
    {"password", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets", "authorization", "cookie", "cookies",
     "credential", "credentials", "apikey", "jwt", "otp", "cvv", "cvc"}
)  # fmt: skip
SECRET_PAIRS = frozenset({(first, "key") for first in ("api", "access", "private", "signing", "encryption")})
NO_SECRET_TOKENS = frozenset(
    {"page", "next", "continuation", "cursor", "sync", "stop", "pad", "eos", "bos", "start", "end"}
)
ABOUT_SECRETS = frozenset(
    {"count", "length", "type", "policy", "required", "hint", "expiry", "expires", "strength", "name", "url", "uri",
     "reset", "id"}
)  # fmt: skip
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


@lru_cache(1 << 12)
def is_secret_name(name: str) -> bool:
    """Whether a value under this name is a secret by the name alone.

    >>> [is_secret_name(name) for name in ("password", "clientSecret", "X-API-Key", "access_token")]
    [True, True, True, True]
    >>> [is_secret_name(name) for name in ("max_tokens", "next_page_token", "password_policy", "order_id")]
    [False, False, False, False]
    """
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    if not words or words[-1] in ABOUT_SECRETS:
        return False
    if not SECRET_WORDS.isdisjoint(words) or name.lower() == "pin":
        return True
    if words[-1] == "token":
        return NO_SECRET_TOKENS.isdisjoint(words)
    return any(pair in SECRET_PAIRS for pair in pairwise(words))


def is_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> is_luhn("4111111111111111"), is_luhn("4111111111111112")
    (True, False)
    """
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


_CARDS = re.compile(
    r"4\d{15}(?:\d{3})?|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|64[4-9]\d|65\d\d|35(?:2[89]|[3-8]\d)|62\d\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
)


def is_card(match: re.Match[str]) -> bool:
    """Whether digits are a payment card's: an issuer's prefix and length, and a check digit that fits."""
    digits = re.sub(r"[ -]", "", match[0])
    return bool(_CARDS.fullmatch(digits)) and is_luhn(digits)


_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 "
    "SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
)
IBAN_LENGTHS: Mapping[str, int] = {word[:2]: int(word[2:]) for word in re.findall(r"\w+", _IBAN_LENGTHS)}
"""Length of an account number by country (ISO 13616 registry)."""


def is_iban(text: str) -> bool:
    """Whether a text is an account number by ISO 13616: the country's length, and remainder 1 modulo 97.

    >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE88 3704 0044 0532 0130 00")
    (True, False)
    """
    packed = text.replace(" ", "")
    if IBAN_LENGTHS.get(packed[:2]) != len(packed):
        return False
    return int("".join(str(int(letter, 36)) for letter in packed[4:] + packed[:4])) % 97 == 1


def _looks_made(match: re.Match[str]) -> bool:
    """Whether what stands after the name of a secret is a value, and not a word of a sentence."""
    value, name = match[match.lastgroup or 0].rstrip(":."), match[0][:6].lower()
    is_quoted, has_other = match.lastgroup == "quoted", not value.isalpha()
    if name.startswith(("token", "cookie")):
        return len(value) >= 6 and has_other
    return is_quoted or has_other


def _has_digit(match: re.Match[str]) -> bool:
    return any(letter.isdigit() for letter in match[match.lastgroup or 0])


def _rule(kind: str, pattern: str, *hints: str, check: Check = _always) -> Rule:
    return Rule(kind, re.compile(pattern), hints, check)


_NAMES = (
    r"(?i:pass(?:word|wd|phrase|code)|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|credentials?|authorization|cookie"
    r"|(?:api|access|private|signing|encryption)[_-]?key|token)(?![A-Za-z])"
)
_NAME_HINTS = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "credential", "authorization", "cookie", "token",
    "apikey", "accesskey", "privatekey", "_key", "-key",
)  # fmt: skip
_BETWEEN = r"[\"'\\]{0,4}+[ \t]{0,3}+(?:=>|:=|==?|:)[ \t]{0,3}+"
_QUOTED = r"\\{0,3}+[\"'](?P<quoted>[^\"'\\\r\n\ue000-\uf8ff]{1,1024}+)"
_BARE = r"(?P<bare>[^\s\"'`\\<>,;&(){}\[\]|\ue000-\uf8ff]{4,1024}+)"
_KEY_PREFIXES = (
    # The first letter comes before what must not stand before it: so the search finds beginnings fast.
    _rule("api_key", r"A(?<![A-Za-z0-9].)(?:KIA|SIA|GPA|IDA|ROA|NPA|NVA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
          "akia", "asia", "agpa", "aida", "aroa", "anpa", "anva", "abia", "acca"),
    _rule("api_key", r"g(?<![A-Za-z0-9].)h[pousr]_[A-Za-z0-9]{30,255}+", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _rule("api_key", r"g(?<![A-Za-z0-9].)(?:ithub_pat_\w{22,255}+|l(?:pat|dt|rt)-[\w-]{20,128}+)",
          "github_pat_", "glpat-", "gldt-", "glrt-"),
    _rule("api_key", r"xox[abeoprs]-[\w-]{10,250}+", "xox"),
    _rule("api_key", r"hooks\.slack\.com/(?:services|workflows)/(?P<value>[\w/+-]{20,200}+)", "hooks.slack"),
    _rule("api_key", r"(?<![A-Za-z0-9])(?:[srp]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,247}+",
          "k_live_", "k_test_", "whsec_"),
    _rule("api_key", r"s(?<![A-Za-z0-9].)k-[\w-]{20,250}+", "sk-", check=_has_digit),
    _rule("api_key", r"A(?<![\w-].)Iza[\w-]{35}(?![\w-])", "aiza"),
    _rule("api_key", r"(?<![\w.])(?:ya29\.[\w-]{20,500}+|GOCSPX-[\w-]{20,64}+)", "ya29.", "gocspx-"),
    _rule("api_key", r"(?<![A-Za-z0-9])(?:hf_|npm_|lin_api_)[A-Za-z0-9]{30,64}+", "hf_", "npm_", "lin_api_"),
    _rule("api_key", r"p(?<![\w-].)ypi-[\w-]{50,300}+", "pypi-"),
    _rule("api_key", r"S(?<![\w.].)G\.[\w-]{16,32}+\.[\w-]{32,64}+", "sg."),
    _rule("api_key", r"d(?<![A-Za-z0-9].)(?:o[opr]_v1_[a-f0-9]{64}|api[a-f0-9]{32}(?![A-Za-z0-9]))", "_v1_", "dapi"),
    _rule("api_key", r"shp(?:at|ca|pa|ss)_[a-f0-9]{32}", "shpat_", "shpca_", "shppa_", "shpss_"),
    _rule("api_key", r"(?<!\d)\d{8,10}:AA[\w-]{33}(?![\w-])", ":aa"),
    _rule("api_key", r"AGE-SECRET-KEY-1[A-Z0-9]{50,64}+", "age-secret"),
)  # fmt: skip

PATTERNS: tuple[Rule, ...] = (
    _rule(
        "private_key",
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[A-Za-z0-9+/=\s\\:,.-]){0,32768}+"
        r"(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?+",
        "private key",
    ),
    _rule("secret", r"://[^\s/:@\"'<>]{0,128}+:(?P<value>[^\s/@\"'<>\ue000-\uf8ff]{1,256}+)@", "://"),
    _rule(
        "secret",
        r"(?i:(?:set-)?cookie): {0,3}+(?P<value>[^\r\n\"'<>\ue000-\uf8ff]{8,4096}+)",
        "cookie:",
        check=_has_digit,
    ),
    _rule(
        "secret",
        r"(?i:authorization)[\"'\\]{0,4}+[ \t]{0,3}+[:=][ \t]{0,3}+[\"'\\]{0,4}+(?i:bearer|basic|token|digest)?+ {0,3}+"
        r"(?P<value>[A-Za-z0-9._~+/=-]{8,4096}+)",
        "authorization",
        check=_has_digit,
    ),
    _rule("secret", rf"{_NAMES}{_BETWEEN}(?:{_QUOTED}|{_BARE})", *_NAME_HINTS, check=_looks_made),
    _rule("secret", rf"--[\w-]{{0,32}}?{_NAMES}[ =]{{1,3}}+[\"']?+{_BARE}", "--"),
    _rule(
        "secret",
        rf"\b(?i:password|passcode|passphrase) (?i:is|was) {_BARE}",
        "password is",
        "password was",
        "passcode is",
        "passphrase is",
        check=_has_digit,
    ),
    _rule(
        "secret",
        r"\b(?i:bearer|basic) {1,3}+(?P<value>[A-Za-z0-9._~+/=-]{16,4096}+)",
        "bearer ",
        "basic ",
        check=_has_digit,
    ),
    _rule("jwt", r"e(?<![\w-].)yJ[\w-]{5,8192}+\.[\w-]{5,16384}+\.[\w-]{0,4096}+", "eyj"),
    *_KEY_PREFIXES,
    _rule("card", r"\d(?<![\w.-].)(?:[ -]?+\d){13,18}+(?![\w-])(?!\.\d)", check=is_card),
    _rule(
        "iban",
        r"[A-Z](?<![A-Za-z0-9].)[A-Z]\d\d(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])",
        check=lambda match: is_iban(match[0]),
    ),
    _rule("email", r"(?<![\w.+-])[\w.+-]{1,64}+@(?:[\w-]{1,63}+\.){1,8}[A-Za-z]{2,24}+(?![\w@])", "@"),
)
"""What is hidden unless other rules are given."""

OPTIONAL_PATTERNS: Mapping[str, Rule] = {
    rule.kind: rule
    for rule in (
        _rule(
            "phone", r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?|\d{2,4}[ .-])\d{3,4}[ .-]\d{3,5}(?![\w-])"
        ),
        _rule("phone_international", r"(?<![\w+])\+[1-9]\d{7,14}(?!\d)", "+"),
        _rule("us_ssn", r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])", "-"),
        _rule(
            "ip_address", r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])", "."
        ),
    )
}
"""Patterns that a rules file may switch on by name: they also meet order numbers, dates and version numbers."""

DEFAULT_RULES = RedactionRules(PATTERNS)
_TABLE_KEYS = frozenset({"names", "optional", "without", "rule"})
_KIND = re.compile(r"[a-z][a-z_]{0,23}")


def load_rules(path: str | Path) -> RedactionRules:
    """The usual rules, changed as a TOML file says; `UsageError` names what is wrong in it.

    `names` = ["badge"] are further names whose values are hidden, `optional` = ["phone"] switches patterns of
    `OPTIONAL_PATTERNS` on, `without` = ["email"] leaves kinds out, and each `[[rule]]` has a `kind` and a `pattern` (of
    which only the group `(?P<value>…)` is hidden, where there is one).  Patterns are searched in every text: bound
    their quantifiers.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the rules in {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the rules in {str(path)!r} are no TOML: {error}") from error
    return rules_from(table)


def rules_from(table: Mapping[str, Any]) -> RedactionRules:
    """The usual rules, changed as `load_rules` says."""
    if unknown := sorted(table.keys() - _TABLE_KEYS):
        raise UsageError(f"redaction rules may hold {', '.join(sorted(_TABLE_KEYS))}, got {unknown[0]!r}")
    names, optional, without = (_texts(table, key) for key in ("names", "optional", "without"))
    own, known = [_own_rule(one) for one in table.get("rule", [])], {rule.kind for rule in PATTERNS}
    if missing := [name for name in optional if name not in OPTIONAL_PATTERNS]:
        raise UsageError(f"optional must be among {', '.join(OPTIONAL_PATTERNS)}, got {missing[0]!r}")
    if missing := [kind for kind in without if kind not in known]:
        raise UsageError(f"without must be among {', '.join(sorted(known))}, got {missing[0]!r}")
    kept = [rule for rule in PATTERNS if rule.kind not in without]
    return RedactionRules(
        (*own, *kept, *map(OPTIONAL_PATTERNS.__getitem__, optional)), frozenset(map(str.lower, names))
    )


def _own_rule(one: Any) -> Rule:
    if not isinstance(one, dict) or one.keys() != {"kind", "pattern"} or not _are_texts(one.values()):
        raise UsageError(f"a [[rule]] needs a kind and a pattern, both text, and nothing else, got {one!r}")
    if not _KIND.fullmatch(one["kind"]):
        raise UsageError(f"a rule's kind must be up to 24 small letters and underscores, got {one['kind']!r}")
    try:
        pattern = re.compile(one["pattern"])
    except re.error as error:
        raise UsageError(f"the pattern of rule {one['kind']!r} is no regular expression: {error}") from error
    if pattern.match(""):
        raise UsageError(
            f"the pattern of rule {one['kind']!r} matches nothing at all everywhere; make it need a character"
        )
    return Rule(one["kind"], pattern)


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not _are_texts(values):
        raise UsageError(f"{key} of the redaction rules must be a list of texts, got {values!r}")
    return tuple(values)


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) and value for value in values)
