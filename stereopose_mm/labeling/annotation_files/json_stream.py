# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""JSON files of any size, record by record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import WHITESPACE
from pathlib import Path
from typing import Any, TextIO

_COMMA = re.compile(r'[ \t\n\r]*,[ \t\n\r]*')
# Characters read at a time.
_CHUNK = 1 << 20
# An error this far before the end of what was read is one of the file, not of where reading stopped.
_TAIL = 1 << 20


def first_record(path: Path) -> tuple[type, Any]:
    """What a JSON file is: ``dict`` and None, or ``list`` and its first element, None where it has none.

    Raises:
        ValueError: If it cannot be read or starts with no JSON; names the file.
    """
    kind = dict
    for key, index, value in stream_json(path):
        if key is not None:
            break
        kind = list
        if index is not None:
            return kind, value
    return kind, None


def stream_json(path: Path) -> Iterator[tuple[str | None, int | None, Any]]:
    """Walk through the lists of a JSON file without holding them.

    Args:
        path: A file with a dict, the values of which may be long lists, or with one list.

    Yields:
        ``(key, index, value)``. Lists come as ``(key, None, [])``, then ``(key, 0, element)`` and so on; what is no
        list comes whole, as ``(key, None, value)``. The key is None where the file itself is the list.

    Raises:
        ValueError: If the file cannot be read, is no JSON, cut short, or neither dict nor list; names the file, and
            the element.
    """
    try:
        with path.open(encoding='utf-8-sig') as file:
            yield from _Window(file).items()
    except OSError as error:
        raise ValueError(f'{path}: cannot be read: {error.strerror or error}') from error
    except _JsonError as error:
        raise ValueError(f'{path}: {error}') from error


class _JsonError(Exception):
    """What is wrong with the text, and where."""


class _Window:
    """A part of a text, moved along it."""

    def __init__(self, file: TextIO):
        self.file, self.text, self.pos, self.ended = file, '', 0, False
        self.where: str | tuple[str | None, int] = 'the file'
        self.decode = json.JSONDecoder().raw_decode

    def items(self) -> Iterator[tuple[str | None, int | None, Any]]:
        """What :func:`stream_json` yields."""
        first = self._peek()
        if not first:
            raise _JsonError('the file is empty')
        if first == '[':
            yield from self._elements(None)
        elif first == '{':
            yield from self._members()
        else:
            raise _JsonError('takes JSON, a dict or a list')
        if self._peek():
            raise _JsonError('no readable JSON: text follows its end')

    def _members(self) -> Iterator[tuple[str | None, int | None, Any]]:
        seen = set()
        self.pos += 1
        if self._peek() == '}':
            self.pos += 1
            return
        while True:
            key = self._value() if self._peek() == '"' else self._fail()
            if key in seen:
                raise _JsonError(f'{key} stands twice')
            seen.add(key)
            self.where = key
            self._expect(':')
            if self._peek() == '[':
                yield from self._elements(key)
            else:
                yield key, None, self._value()
            self.where = f'what follows {key}'
            if self._expect(',}') == '}':
                return

    def _elements(self, key: str | None) -> Iterator[tuple[str | None, int | None, Any]]:
        yield key, None, []
        self.pos += 1
        if self._peek() == ']':
            self.pos += 1
            return
        index = 0
        while True:
            # Names and messages are made when they are needed: most of the time goes into decoding already.
            self.where = key, index
            value = self._value()
            yield key, index, value
            comma = _COMMA.match(self.text, self.pos)
            if comma and comma.end() < len(self.text):
                self.pos = comma.end()
            elif self._expect(',]') == ']':
                return
            else:
                self._peek()
            index += 1

    def _value(self) -> Any:
        """The value that starts here."""
        while True:
            try:
                value, end = self.decode(self.text, self.pos)
            except RecursionError:
                self._fail('nested too deeply')
            except json.JSONDecodeError as error:
                # Text that does not end yet is told of where it begins.
                if self.ended or (error.pos < len(self.text) - _TAIL and not error.msg.startswith('Unterminated')):
                    self._fail(error.msg)
            except ValueError as error:  # a number of thousands of digits
                self._fail(str(error))
            else:
                # A number near the end may go on: 1, 1.5 and 1e+5 all start with one.
                if end < len(self.text) - 2 or self.ended:
                    self.pos = end
                    return value
            self._more()

    def _peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self.pos = WHITESPACE.match(self.text, self.pos).end()
            if self.pos < len(self.text) or self.ended:
                return self.text[self.pos : self.pos + 1]
            self._more()

    def _expect(self, characters: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            self._fail(f'takes {" or ".join(characters)}')
        self.pos += 1
        return found

    def _fail(self, why: str = 'takes a name in quotes') -> Any:
        where = self.where if isinstance(self.where, str) else '{}[{}]'.format(self.where[0] or '', self.where[1])
        raise _JsonError(f'no readable JSON: {where}: {"the file is cut short" if self._is_cut() else why}') from None

    def _is_cut(self) -> bool:
        """Whether what is wrong is that the text ends here."""
        if not self.ended:
            return False
        try:
            self.decode(self.text, self.pos)
        except json.JSONDecodeError as error:
            return error.pos >= len(self.text.rstrip()) or error.msg.startswith('Unterminated')
        except (ValueError, RecursionError):
            return False
        return False

    def _more(self) -> None:
        try:
            # As much again as there is: decoding a long value from its start each time then takes twice its time.
            chunk = self.file.read(max(_CHUNK, len(self.text) - self.pos))
        except UnicodeDecodeError as error:
            raise _JsonError(f'no readable JSON: no UTF-8: {error.reason}') from error
        self.ended = not chunk
        self.text = self.text[self.pos :] + chunk
        self.pos = 0
