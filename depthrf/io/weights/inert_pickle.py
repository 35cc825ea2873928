"""A reader of pickles from whom nothing can be asked but plain values: it runs no code, and its work is linear.

A pickle is a program for a stack machine. Here it can build numbers, text, containers and what the caller admits by
name; every other class or function is an inert stand-in. Three tricks of small files are closed as well: hashing a
tuple nested within itself takes 2^depth steps, numbers chosen to collide make a dict quadratic, and a length in the
file can ask for any amount of memory.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, ClassVar

_LONGEST_KEY = 16  # items of a tuple
_MOST_NUMBER_KEYS = 20_000
_LONGEST_INT = 1_024  # bytes

Admitted = Mapping[tuple[str, str], Callable[..., Any]]
"""What a pickle may call, by module and name."""


class Inert:
    """Stands for any class, function or instance that is not admitted; swallows whatever a pickle does with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        return Inert()


def load(file: IO[bytes], admitted: Admitted, storage: Callable[[Any], Any] | None = None) -> Any:
    """The value of one pickle.

    Args:
        file: Stands after the pickle when this returns.
        admitted: Callables for the names that are not inert. They must stand any arguments.
        storage: Gives what a persistent id stands for; by default there are none.

    Raises:
        Exception: Whatever the damage leads to. ``pickle.UnpicklingError`` where a bound is exceeded.
    """
    return _Unpickler(file, admitted, storage).load()


# The unpickler written in Python, whose opcodes can be replaced; typeshed knows only the one in C.
_Base: Any = pickle._Unpickler


class _Unpickler(_Base):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Any]] = dict(_Base.dispatch)

    def __init__(self, file: IO[bytes], admitted: Admitted, storage: Callable[[Any], Any] | None) -> None:
        super().__init__(file)
        self._admitted = {
            ("collections", "OrderedDict"): self._ordered_dict,
            ("builtins", "set"): self._set,
            ("__builtin__", "set"): self._set,
            **admitted,
        }
        self._storage = storage
        self._number_keys = 0

    def find_class(self, module: str, name: str) -> Any:
        return self._admitted.get((module, name), Inert)

    def get_extension(self, code: int) -> None:
        self.append(Inert)

    def persistent_load(self, pid: Any) -> Any:
        if self._storage is None:
            raise pickle.UnpicklingError("a storage where there are none")
        return self._storage(pid)

    # Containers

    def _key(self, key: Any) -> Any:
        """The key of a dict or member of a set, if hashing and comparing it takes a bounded time."""
        for part in key if type(key) is tuple and len(key) <= _LONGEST_KEY else (key,):
            if part is not None and not isinstance(part, (str, bytes, int, float, complex, Inert, type)):
                raise pickle.UnpicklingError(f"a {type(part).__name__} as part of a key")
        if not isinstance(key, (str, bytes)):  # whose hashes are randomised
            self._number_keys += 1
            if self._number_keys > _MOST_NUMBER_KEYS:
                raise pickle.UnpicklingError(f"more than {_MOST_NUMBER_KEYS} keys that are no text")
        return key

    def _ordered_dict(self, pairs: Iterable[Any] = ()) -> Any:
        return collections.OrderedDict((self._key(key), value) for key, value in pairs)

    def _set(self, members: Iterable[Any] = ()) -> set[Any]:
        return {self._key(member) for member in members}

    def _put(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Inert):
            return
        if isinstance(target, dict) and len(values) % 2 == 0:
            for key, value in zip(values[::2], values[1::2], strict=True):
                target[self._key(key)] = value
        else:
            raise pickle.UnpicklingError(f"items put into a {type(target).__name__}")

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put(self.stack[-1], [key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        values = self.pop_mark()
        self._put(self.stack[-1], values)

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_dict(self) -> None:
        values = self.pop_mark()
        made: dict[Any, Any] = {}
        self._put(made, values)
        self.append(made)

    dispatch[pickle.DICT[0]] = load_dict

    def _extend(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(self._set(values))
        elif not isinstance(target, Inert):
            raise pickle.UnpicklingError(f"values appended to a {type(target).__name__}")

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._extend(self.stack[-1], values)

    dispatch[pickle.APPENDS[0]] = load_appends
    dispatch[pickle.ADDITEMS[0]] = load_appends

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(Inert())

    dispatch[pickle.FROZENSET[0]] = load_frozenset

    # What can ask for more than the file holds, or reach what is not the pickle's

    def load_build(self) -> None:
        self.stack.pop()  # state could write attributes of the admitted functions

    dispatch[pickle.BUILD[0]] = load_build

    def load_new(self) -> None:
        raise pickle.UnpicklingError("an instruction that weights do not need")

    for _code in (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER):
        dispatch[_code[0]] = load_new

    def load_long4(self) -> None:
        size = int.from_bytes(self.read(4), "little", signed=True)
        if not 0 <= size <= _LONGEST_INT:
            raise pickle.UnpicklingError(f"a number of {size} bytes")
        self.append(pickle.decode_long(self.read(size)))

    dispatch[pickle.LONG4[0]] = load_long4
