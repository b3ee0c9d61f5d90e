import typing_extensions as t


class Movie(t.TypedDict, closed=True):
    name: str
    year: t.NotRequired[int]


@t.runtime_checkable
class Named(t.Protocol):
    name: str


class Film(t.NamedTuple):
    name: str


@t.deprecated("old")
def old():
    return 1


def program():
    return [
        sorted(Movie.__required_keys__),
        isinstance(Film("x"), Named),
        t.get_args(t.Literal["a", "b"]),
        old.__deprecated__,
        t.get_origin(t.Annotated[int, 1]) is t.Annotated,
    ]
