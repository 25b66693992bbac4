"""Bytes as text, and the error that says what is wrong in a file."""

import codecs


class UnreadableError(Exception):
    """What is wrong in a file, and where: a clause that begins small and ends without a full stop."""


def as_utf8(content: bytes, encoding: str) -> bytes:
    """Text in UTF-8 without a byte order mark; what is said to be UTF-8 is not looked at.

    Raises:
        UnreadableError: it is not of the encoding; the sentence has the line.
    """
    if codecs.lookup(encoding).name == "utf-8":
        return content.removeprefix(codecs.BOM_UTF8)
    return decoded(content, encoding).removeprefix("\ufeff").encode()


def decoded(content: bytes, encoding: str = "utf-8") -> str:
    """Bytes as text.

    Raises:
        UnreadableError: they are not of the encoding; the sentence has the line.
    """
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line, odd = content.count(b"\n", 0, error.start) + 1, content[error.start : error.end]
        raise UnreadableError(f"line {line} has {odd!r}, which is not {encoding}; set source.encoding") from error
