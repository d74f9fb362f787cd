"""The records of runs: JSON Lines, one for each session and each run, only ever added to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from frontier_lib.plan import Config, Record


class Records:
    """A file of records, by key. A line that was cut off by a kill is left out, and written over by its next run.

    A session's line has the provenance of the runs after it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sessions: list[Record] = []
        self.runs: dict[str, Record] = {}
        if not file.is_file():
            return
        text = file.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            file.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        if "session" in record:
            self.sessions.append(record["session"])
        else:
            self.runs[Config(**record["config"]).key] = record

    def begin(self, session: Record) -> None:
        """What the next runs were made with."""
        self._write({"session": session})

    def add(self, config: Config, record: Record) -> None:
        """Write a run down; it is on the disk when this returns."""
        self._write({"config": config.as_dict(), "session_number": len(self.sessions) - 1, **record})

    def _write(self, record: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            out.flush()
            os.fsync(out.fileno())
        self._take(record)
