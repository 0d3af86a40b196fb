"""As much of PromQL as it takes to look into an expression: what it selects, and what it says without its filters.

An alert that does not fire returns nothing, and so does one with a misspelt metric. To tell them apart, every part of
an expression has to be looked at on its own. A comparison becomes one with `bool`, which keeps both sides' series;
`unless` becomes `and`, which shows that the labels of both sides can match at all. What is left has to return data.

test_live.py verifies that an expression was parsed correctly: Prometheus has to answer the original and what `text`
makes of the tree equally.
"""

import re
from dataclasses import dataclass, field, replace

AGGREGATIONS = {"sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile",
                "count_values"}
COMPARISONS = {"==", "!=", "<=", ">=", "<", ">"}
SETS = {"and", "or", "unless"}
PRECEDENCE = [{"or"}, {"and", "unless"}, COMPARISONS, {"+", "-"}, {"*", "/", "%", "atan2"}, {"^"}]

TOKEN = re.compile(r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+|\$__\w+)
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<symbol>=~|!~|==|!=|<=|>=|[-+*/%^<>=(){}\[\],:])
""", re.VERBOSE)


class Unreadable(Exception):
    """Not the PromQL that is known here."""


@dataclass(frozen=True)
class Number:
    text: str


@dataclass(frozen=True)
class String:
    text: str


@dataclass(frozen=True)
class Matcher:
    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Selector:
    metric: str
    matchers: tuple
    window: str = ""
    offset: str = ""


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple


@dataclass(frozen=True)
class Aggregation:
    operator: str
    arguments: tuple
    grouping: str = ""
    labels: tuple = ()


@dataclass(frozen=True)
class Unary:
    operator: str
    of: object


@dataclass(frozen=True)
class Matching:
    how: str = ""
    labels: tuple = ()
    group: str = ""
    include: tuple = ()


@dataclass(frozen=True)
class Binary:
    operator: str
    left: object
    right: object
    keeps_all: bool = False
    matching: Matching = field(default_factory=Matching)


def parse(text):
    """The tree of an expression."""
    reader = Reader(text)
    tree = reader.binary()
    if reader.kind:
        raise Unreadable(f"{reader.value!r} after the end of {text!r}")
    return tree


class Reader:
    def __init__(self, text):
        self.tokens, at = [], 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise Unreadable(f"{text[at:at + 20]!r} in {text!r}")
            at = match.end()
            if match.lastgroup != "space":
                self.tokens.append((match.lastgroup, match.group()))
        self.tokens.append((None, ""))

    @property
    def kind(self):
        return self.tokens[0][0]

    @property
    def value(self):
        return self.tokens[0][1]

    def take(self, expected=None):
        if expected is not None and self.value != expected:
            raise Unreadable(f"{self.value!r} where {expected!r} should be")
        return self.tokens.pop(0)[1]

    def takes(self, value):
        if self.value == value and self.kind != "string":
            self.take()
            return True
        return False

    def binary(self, level=0):
        if level == len(PRECEDENCE):
            return self.unary()
        left = self.binary(level + 1)
        while self.value in PRECEDENCE[level] and self.kind in {"symbol", "name"}:
            operator = self.take()
            keeps_all = operator in COMPARISONS and self.takes("bool")
            matching = self.matching()
            # Everything associates to the left, but for powers.
            right = self.binary(level if operator == "^" else level + 1)
            left = Binary(operator, left, right, keeps_all, matching)
        return left

    def matching(self):
        if self.value not in {"on", "ignoring"}:
            return Matching()
        how, labels, group, include = self.take(), self.labels(), "", ()
        if self.value in {"group_left", "group_right"}:
            group = self.take()
            include = self.labels() if self.value == "(" else ()
        return Matching(how, labels, group, include)

    def labels(self):
        self.take("(")
        labels = []
        while not self.takes(")"):
            labels.append(self.take())
            if self.value != ")":
                self.take(",")
        return tuple(labels)

    def unary(self):
        if self.value in {"-", "+"} and self.kind == "symbol":
            # Weaker than a power: -x ^ 2 is -(x ^ 2).
            return Unary(self.take(), self.binary(len(PRECEDENCE) - 1))
        return self.suffixed(self.atom())

    def atom(self):
        if self.kind in {"number", "duration"}:
            return Number(self.take())
        if self.kind == "string":
            return String(self.take())
        if self.takes("("):
            inner = self.binary()
            self.take(")")
            return inner
        if self.value == "{":
            return Selector("", self.matchers())
        if self.kind != "name":
            raise Unreadable(f"{self.value!r} where an expression should be")
        name = self.take()
        if name.lower() in {"inf", "nan"}:
            return Number(name)
        if name in AGGREGATIONS and self.value in {"(", "by", "without"}:
            grouping, labels = self.grouping()
            arguments = self.arguments()
            if not grouping:
                grouping, labels = self.grouping()
            return Aggregation(name, arguments, grouping, labels)
        if self.value == "(":
            return Call(name, self.arguments())
        return Selector(name, self.matchers() if self.value == "{" else ())

    def grouping(self):
        if self.value not in {"by", "without"}:
            return "", ()
        return self.take(), self.labels()

    def arguments(self):
        self.take("(")
        arguments = []
        while not self.takes(")"):
            arguments.append(self.binary())
            if self.value != ")":
                self.take(",")
        return tuple(arguments)

    def matchers(self):
        self.take("{")
        matchers = []
        while not self.takes("}"):
            label, operator = self.take(), self.take()
            if operator not in {"=", "!=", "=~", "!~"}:
                raise Unreadable(f"{operator!r} where labels are matched")
            matchers.append(Matcher(label, operator, self.take()))
            if self.value != "}":
                self.take(",")
        return tuple(matchers)

    def suffixed(self, tree):
        if self.takes("["):
            if not isinstance(tree, Selector):
                raise Unreadable("a window after something that is no selector")
            tree = replace(tree, window=self.take())
            self.take("]")
        if self.takes("offset"):
            tree = replace(tree, offset=self.take())
        return tree


def text(tree):
    """A tree as PromQL, with every parenthesis there can be."""
    match tree:
        case Number() | String():
            return tree.text
        case Selector():
            matchers = ",".join(m.label + m.operator + m.value for m in tree.matchers)
            braces = f"{{{matchers}}}" if matchers or not tree.metric else ""
            return tree.metric + braces + suffix(tree.window, tree.offset)
        case Call():
            return f"{tree.function}({', '.join(map(text, tree.arguments))})"
        case Aggregation():
            grouping = f" {tree.grouping} ({', '.join(tree.labels)}) " if tree.grouping else ""
            return f"{tree.operator}{grouping}({', '.join(map(text, tree.arguments))})"
        case Unary():
            return f"{tree.operator}({text(tree.of)})"
        case Binary():
            how = tree.operator + (" bool" if tree.keeps_all else "")
            matching = tree.matching
            if matching.how:
                how += f" {matching.how} ({', '.join(matching.labels)})"
            if matching.group:
                how += f" {matching.group} ({', '.join(matching.include)})"
            return f"({text(tree.left)}) {how} ({text(tree.right)})"
    raise AssertionError(tree)


def suffix(window, offset):
    return (f"[{window}]" if window else "") + (f" offset {offset}" if offset else "")


def children(tree):
    match tree:
        case Call() | Aggregation():
            return tree.arguments
        case Unary():
            return (tree.of,)
        case Binary():
            return (tree.left, tree.right)
    return ()


def every(tree):
    """The tree and all that is in it."""
    yield tree
    for child in children(tree):
        yield from every(child)


def selectors(tree):
    return [part for part in every(tree) if isinstance(part, Selector)]


def unfiltered(tree):
    """The same without what makes an expression return nothing when all is well."""
    match tree:
        case Call("absent" | "absent_over_time", (of,)):
            return unfiltered(replace(of, window="") if isinstance(of, Selector) else of)
        case Call():
            return replace(tree, arguments=tuple(map(unfiltered, tree.arguments)))
        case Aggregation():
            return replace(tree, arguments=tuple(map(unfiltered, tree.arguments)))
        case Unary():
            return replace(tree, of=unfiltered(tree.of))
        case Binary():
            left, right = unfiltered(tree.left), unfiltered(tree.right)
            operator = "and" if tree.operator == "unless" else tree.operator
            keeps_all = operator in COMPARISONS
            return replace(tree, operator=operator, left=left, right=right, keeps_all=keeps_all)
    return tree


def scalar(tree):
    """Whether it is a number rather than series."""
    match tree:
        case Number() | String():
            return True
        case Unary():
            return scalar(tree.of)
        case Call("time" | "scalar" | "pi", _):
            return True
        case Binary():
            return scalar(tree.left) and scalar(tree.right)
    return False
