"""What a law is: a statement about every method of a kind, which code can check.

A law is a function of a subject, for example of a neuron with its settings. It returns if the law
holds, and raises ``AssertionError`` if it does not. A case is one law for one subject.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel

from snnconv.core.metadata import Parameters
from snnconv.core.registry import Registry
from snnconv.errors import one_line

Subject = TypeVar("Subject")


class Check(Protocol):
    """A function of a subject that raises ``AssertionError`` if its law does not hold."""

    __name__: str
    __doc__: str | None

    def __call__(self, subject: Any, /) -> None:
        """Check the law."""


def _always(subject: Any) -> str:
    return ""


@dataclass(frozen=True)
class Law(Generic[Subject]):
    """A law of a kind of methods.

    Attributes:
        check: whether a subject obeys it.
        unless: why the law can't be asked of a subject; empty if it can.
    """

    check: Check
    unless: Callable[[Subject], str] = _always

    @property
    def name(self) -> str:
        """The law in words."""
        return self.check.__name__.replace("_", " ")

    @property
    def sentence(self) -> str:
        """What the law says."""
        return (self.check.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True)
class Case:
    """One law for one subject; call it to check the law.

    Attributes:
        law: which.
        subject: of which the law is asked.
        setting: what sets the subject apart from others of the same method.
        left_out: why the law can't be asked of the subject; empty if it can.
    """

    law: Law[Any]
    subject: Any
    setting: str
    left_out: str

    def __call__(self) -> None:
        """Check the law.

        Raises:
            AssertionError: it does not hold.
        """
        self.law.check(self.subject)

    def __str__(self) -> str:
        return f"{self.law.name} [{self.setting}]" if self.setting else self.law.name

    def broken(self) -> str:
        """Say what is wrong, whatever the method raises; empty if the law holds."""
        try:
            self()
        except Exception as error:  # whatever the user's method raises
            wrong = one_line(error).removeprefix("AssertionError").removeprefix(": ")
            told = filter(None, (wrong, *getattr(error, "__notes__", ())))
            return "\n".join(told) or "it does not hold"
        return ""


def variants(params: type[Parameters]) -> list[dict[str, Any]]:
    """Return settings to check laws with: the defaults, and a method's examples or alternatives."""
    return [
        {**params.trial, **setting} for setting in ({}, *(params.examples or _alternatives(params)))
    ]


def _alternatives(params: type[Parameters]) -> Iterator[dict[str, Any]]:
    """Yield each value of each switch that is not its default."""
    for name, switch in params.model_fields.items():
        values: tuple[Any, ...] = ()
        if switch.annotation is bool:
            values = (False, True)
        elif get_origin(switch.annotation) is Literal:
            values = get_args(switch.annotation)
        yield from ({name: value} for value in values if value != switch.default)


def in_words(params: Mapping[str, Any]) -> str:
    """Write a setting of parameters in words: ``levels=4 omega=bounded``."""
    return " ".join(f"{name}={value}" for name, value in params.items())


def described(params: type[BaseModel]) -> None:
    """Check that each parameter has a default, and a description for help texts."""
    params()
    silent = [name for name, field in params.model_fields.items() if not field.description]
    assert not silent, f"no description: {', '.join(silent)}"


@dataclass(frozen=True)
class Kind(Generic[Subject]):
    """A kind of methods and the laws that they obey.

    Attributes:
        registry: of the kind.
        laws: that every method of the kind obeys.
        subjects: of a method, the subjects to ask for each law, each with the words that set it
            apart.
        loads: the method from its name; the registry's own way, if not given.
    """

    registry: Registry[Any]
    laws: tuple[Law[Subject], ...]
    subjects: Callable[[Any], Iterable[tuple[str, Subject]]]
    loads: Callable[[str], Any] | None = None

    def names(self, name: str) -> bool:
        """Whether a name, up to its first colon, is that of a method of this kind."""
        return name.partition(":")[0] in self.registry.names()

    def load(self, name: str) -> Any:
        """Return the method of a name."""
        return (self.loads or self.registry.load)(name)

    def cases(self, method: Any) -> Iterator[Case]:
        """Yield each law for each subject of a method."""
        for law in self.laws:
            for setting, subject in self.subjects(method):
                yield Case(law, subject, setting, law.unless(subject))
