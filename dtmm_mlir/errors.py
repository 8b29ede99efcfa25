"""The one exception that users meet."""

from __future__ import annotations


class DtmmError(Exception):
    """What is wrong, where, and what to do, in one paragraph.

    Args:
        message: what is wrong and what to do about it; whole sentences, no trailing newline.
        where: the op, file or location it is about, e.g. ``model.mlir:3:8`` or ``tosa.conv2d at "conv_1"``.
    """

    def __init__(self, message: str, where: str | None = None) -> None:
        self.message = message
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)
