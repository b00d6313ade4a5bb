"""What crosses a process boundary: the task file, a run's request and result, and the names on the wire.

Charter: a thing belongs here only if another process may have stored it or sent it. This package
imports nothing of ours and no vendor, and a change to one of its types is a change to yesterday's
schedules and to runs in flight.
"""
