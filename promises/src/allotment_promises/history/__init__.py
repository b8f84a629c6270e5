# SPDX-License-Identifier: Apache-2.0
"""What promises measured before: one small SQLite file per partition, bounded in size, that survives kills.

Records are kept one by one for two days, counted by the hour for a year; so is each change of state.
"""

from allotment_promises.history.file import FOLDER, NAME, HistoryError
from allotment_promises.history.records import MESSAGE_LIMIT, Latest, Point, Record, Streak, Uptime
from allotment_promises.history.store import History

__all__ = [
    "FOLDER",
    "MESSAGE_LIMIT",
    "NAME",
    "History",
    "HistoryError",
    "Latest",
    "Point",
    "Record",
    "Streak",
    "Uptime",
]
