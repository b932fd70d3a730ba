"""
A producer for tests.
"""

from __future__ import annotations

from collections.abc import Callable


class Producer:
    """Remembers what it is told; C{produce} is called by each C{resumeProducing}."""

    def __init__(self, produce: Callable[[], object] = lambda: None) -> None:
        self.told: list[str] = []
        self.produce = produce

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.produce()

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def stopProducing(self) -> None:
        self.told.append("stop")
