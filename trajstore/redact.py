"""Hides secrets and personal data before anything is hashed, embedded or stored.

A value that is hidden leaves a placeholder, `<email:0f3a9c2d1b>`: its kind and a short keyed hash (BLAKE2b), so that
equal values stay equal while nobody without the key can test a guess.  The key lies in the store and nowhere else.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

from trajstore.redaction_rules import DEFAULT_RULES, RedactionRules, Rule
from trajstore.schema import Candidate, Step, Task, Trajectory

Json: TypeAlias = Any
"""Whatever JSON holds."""

SECRET = "secret"  # noqa: S105 - the kind of a placeholder
HASH_BYTES = 5
REMEMBERED_TEXTS = 1 << 13
REMEMBERED_CHARACTERS = 512
PLACEHOLDER = re.compile(r"<[a-z][a-z_]{0,23}:[0-9a-f]{10}>")
_MASK = re.compile(r"[*•xX.]+|\[?(?i:redacted|masked|hidden|none|null|true|false)\]?|" + PLACEHOLDER.pattern)
_FIRST_PRIVATE, _PRIVATE_LETTERS = 0xE000, 0x1900  # the letters that Unicode leaves to private use
_MARK = re.compile("[\ue000-\uf8ff]{2}")
_KEPT = re.compile(PLACEHOLDER.pattern + "|[\ue000-\uf8ff]")
_PAIRS = (("name", "value"), ("key", "value"))
_TEXT = frozenset({str})
Hide = Callable[[str], str]
Hider = Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Redactor:
    """Which values are hidden; a store gives it a key of its own.

    `Redactor(load_rules(path))` follows a user's rules.
    """

    rules: RedactionRules = DEFAULT_RULES

    def keyed(self, key: bytes) -> "KeyedRedactor":
        """The same, ready for use with a key of 16 to 64 bytes."""
        return KeyedRedactor(self.rules, key)


@dataclass(frozen=True)
class KeyedRedactor:
    """Hides values in texts, JSON and records; what it has hidden once it leaves as it is.

    >>> redactor = Redactor().keyed(b"only an example.")
    >>> hidden = redactor.text("write to ann@mail.org"); hidden[:16], hidden == redactor.text(hidden)
    ('write to <email:', True)
    >>> redactor.text("order #W5918442, item 9612497925")
    'order #W5918442, item 9612497925'
    """

    rules: RedactionRules
    key: bytes = field(repr=False)
    _short: Hide = field(init=False, repr=False, compare=False)
    _is_clean: Callable[[str, tuple[tuple[str, str], ...]], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_short", lru_cache(REMEMBERED_TEXTS)(self._searched))
        object.__setattr__(self, "_is_clean", lru_cache(REMEMBERED_TEXTS)(self._has_nothing))

    def placeholder(self, kind: str, value: str) -> str:
        """What stands for a value of this kind."""
        digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES, key=self.key[:64])
        return f"<{kind}:{digest.hexdigest()}>"

    def text(self, text: str) -> str:
        """The text with every value hidden that a pattern finds; what is no text is left for the store to refuse."""
        if not isinstance(text, str):
            return text
        if len(text) > REMEMBERED_CHARACTERS:
            return self._searched(text)
        return self._short(text)

    def secret(self, value: str) -> str:
        """A value that its name gives away; a mask stays what it is."""
        if not value or _MASK.fullmatch(value):
            return value
        found = self.text(value)
        return found if PLACEHOLDER.fullmatch(found) else self.placeholder(SECRET, value)

    def value(self, value: Json) -> Json:
        """JSON with its texts, its names and the values of secret names hidden."""
        return self._walked(value, self.text)

    def task(self, task: Task) -> Task:
        """A task; its namespace is a name and stays."""
        return self._task(task, self.text)

    def candidate(self, candidate: Candidate) -> Candidate:
        """A candidate, itself where nothing is hidden; its tool is a name and stays."""
        args = candidate.args
        if _TEXT.issuperset(map(type, args.values())) and self._is_clean(candidate.text, tuple(args.items())):
            return candidate
        return self._candidate(candidate, self._with(_secrets_of([args], self.rules)))

    def step(self, step: Step) -> Step:
        """A step; its secret arguments are hidden wherever else it repeats them."""
        return self._step(step, self._with(_secrets_of(_arguments([step]), self.rules)))

    def trajectory(self, trajectory: Trajectory) -> Trajectory:
        """A trajectory; its secret arguments are hidden wherever else it repeats them.

        Names by which things are found and forgotten stay: source, agent, namespace, tools.
        """
        hide = self._with(_secrets_of([*_arguments(trajectory.steps), trajectory.metadata], self.rules))
        return replace(
            trajectory,
            task=self._task(trajectory.task, hide),
            steps=tuple(self._step(step, hide) for step in trajectory.steps),
            stop_reason=hide(trajectory.stop_reason),
            metadata=self._walked(trajectory.metadata, hide),
        )

    def _task(self, task: Task, hide: Hide) -> Task:
        named = {name: hide(getattr(task, name)) for name in ("text", "task_id", "group", "family")}
        return replace(task, **named)

    def _step(self, step: Step, hide: Hide) -> Step:
        hidden: dict[str, Json] = {
            "state": hide(step.state),
            "args": self._walked(step.args, hide),
            "observation": hide(step.observation),
            "error": None if step.error is None else hide(step.error),
            "candidates": tuple(self._candidate(one, hide) for one in step.candidates),
        }
        is_as_it_was = all(value == getattr(step, name) for name, value in hidden.items())
        return step if is_as_it_was else replace(step, **hidden)

    def _candidate(self, candidate: Candidate, hide: Hide) -> Candidate:
        args, text = self._walked(candidate.args, hide), hide(candidate.text)
        if text == candidate.text and args == candidate.args:
            return candidate
        return Candidate(candidate.tool, args, text)

    def _has_nothing(self, text: str, args: tuple[tuple[str, str], ...]) -> bool:
        """Whether nothing is hidden in a candidate of these arguments."""
        return self.text(text) == text and self._walked(dict(args), self.text) == dict(args)

    def _walked(self, value: Json, hide: Hide, *, is_secret: bool = False) -> Json:
        if isinstance(value, str):
            return self.secret(value) if is_secret else hide(value)
        if isinstance(value, Mapping):
            named = _named_secret(value, self.rules)
            return {
                hide(key) if isinstance(key, str) else key: self._walked(
                    inner, hide, is_secret=is_secret or key == named or _is_secret(key, inner, self.rules)
                )
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._walked(inner, hide, is_secret=is_secret) for inner in value]
        if is_secret and isinstance(value, int) and not isinstance(value, bool):
            return self.placeholder(SECRET, str(value))
        return value

    def _with(self, secrets: Iterable[str]) -> Hide:
        """Hides what patterns find, and these values."""
        found = sorted(
            {secret for secret in secrets if _is_distinctive(secret)}, key=lambda secret: (-len(secret), secret)
        )
        if not found:
            return self.text
        anywhere = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, found))})(?!\w)")
        return lambda text: self.text(anywhere.sub(lambda match: self.secret(match[0]), str(text)))

    def _searched(self, text: str) -> str:
        small, aside = text.lower(), _Aside()
        found = text if "<" not in text and text.isascii() else _KEPT.sub(lambda match: aside.put(match[0]), text)
        for rule in self.rules.patterns:
            if rule.may_be_in(small):
                found = rule.pattern.sub(self._hider(rule, aside), found)
        return aside.restored(found)

    def _hider(self, rule: Rule, aside: "_Aside") -> Hider:
        def hidden(match: re.Match[str]) -> str:
            group = match.lastgroup or 0
            if _MASK.fullmatch(match[group]) or not rule.check(match):
                return match[0]
            start, end = match.start(group) - match.start(), match.end(group) - match.start()
            placeholder = self.placeholder(rule.kind, aside.restored(match[group]))
            return match[0][:start] + aside.put(placeholder) + match[0][end:]

        return hidden


class _Aside:
    """Parts of one text that are put aside, each behind a mark of two letters that no pattern of ours takes in.

    So no placeholder is searched for values again, whether it was in the text or has just been made.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []

    def put(self, part: str) -> str:
        """The mark that stands for a part."""
        self._parts.append(part)
        high, low = divmod(len(self._parts) - 1, _PRIVATE_LETTERS)
        return chr(_FIRST_PRIVATE + high) + chr(_FIRST_PRIVATE + low)

    def restored(self, text: str) -> str:
        """The text with every mark replaced by its part."""
        return _MARK.sub(self._part, text) if self._parts else text

    def _part(self, match: re.Match[str]) -> str:
        high, low = (ord(letter) - _FIRST_PRIVATE for letter in match[0])
        number = high * _PRIVATE_LETTERS + low
        return self._parts[number] if number < len(self._parts) else match[0]


def _arguments(steps: Iterable[Step]) -> Iterable[Json]:
    """Where names give values away: arguments, those of what was offered included."""
    for step in steps:
        yield step.args
        yield from (candidate.args for candidate in step.candidates if candidate.args)


def _secrets_of(values: Iterable[Json], rules: RedactionRules) -> Iterable[str]:
    """Every text that stands under a secret name."""
    waiting = [(value, False) for value in values if value]
    while waiting:
        value, is_secret = waiting.pop()
        if isinstance(value, str):
            if is_secret and not _MASK.fullmatch(value):
                yield value
        elif isinstance(value, Mapping):
            named = _named_secret(value, rules)
            waiting += [
                (inner, is_secret or key == named or _is_secret(key, inner, rules)) for key, inner in value.items()
            ]
        elif isinstance(value, list | tuple):
            waiting += [(inner, is_secret) for inner in value]


def _is_secret(key: Json, value: Json, rules: RedactionRules) -> bool:
    """Whether a name gives its value away; a number under "token" may as well count tokens."""
    if not isinstance(key, str) or not rules.is_secret(key):
        return False
    return not (isinstance(value, int) and key.lower().endswith("token"))


def _named_secret(value: Mapping[str, Json], rules: RedactionRules) -> str | None:
    """The key that holds a secret in {"name": "Authorization", "value": …}, as lists of headers write it."""
    for name, content in _PAIRS:
        if content in value and isinstance(value.get(name), str) and rules.is_secret(value[name]):
            return content
    return None


def _is_distinctive(secret: str) -> bool:
    """Whether a secret can be told from an ordinary word or number wherever it stands."""
    return len(secret) >= 12 or (len(secret) >= 6 and not secret.isalpha())
