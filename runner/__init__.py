"""Files become schedules, schedules become runs.

In the order that data flows: `files` reads the folder, `schemas.load` reads one file, `plan` decides,
`schedules` applies, Temporal waits, `workflow` drives `agent`, `activities` do one thing each through
`ports`, `adapters` talk to one vendor each. `sync` and `worker` are the two processes, `dev` runs both.
"""
