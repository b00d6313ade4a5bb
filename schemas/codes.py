"""Every code that a problem can have, and what it means.

Codes are stable words: people search for them, and tools that read our output rely on them.
"""

CODES = {
    "above-maximum": "The server allows less than the task may use.",
    "alias": "YAML aliases are not allowed: what a file says stands where it is read.",
    "ambiguous-cron": "Day and weekday are both set, and crons disagree about what that means.",
    "bad-cron": "This is no cron that a schedule can be made of.",
    "bad-file-name": "A file in the tasks folder is skipped, for its name is none of a task file.",
    "bad-name": "A name must fit into the id of a schedule.",
    "bad-schema": "A JSON Schema in `inputs` or `output` cannot be used.",
    "bad-timezone": "There is no such IANA time zone.",
    "contradiction": "Two values cannot both be meant.",
    "duplicate-key": "A key is written twice.",
    "duplicate-name": "Two files name the same task.",
    "hidden-text": "A character makes the file look other than what is read.",
    "input-without-default": "A task that starts by itself has nobody to give an input.",
    "invalid-value": "A value is not of the form that its field takes.",
    "missing-goal": "A task without a goal says nothing.",
    "missing-key": "A mapping lacks a key that it needs.",
    "never-runs": "This cron has no date at all.",
    "not-utf8": "The file is not UTF-8 text.",
    "run-as-not-allowed": "The server does not let tasks of this folder act for that user.",
    "secret-in-file": "Something looks like a secret. It is never shown.",
    "tab-indent": "YAML cannot be indented with tabs.",
    "tag": "YAML tags are not allowed.",
    "too-deep": "Nested deeper than any task needs.",
    "too-large": "Larger than 64 KiB.",
    "two-documents": "A file holds one task.",
    "unknown-channel": "The server has no such channel.",
    "unknown-key": "There is no such field.",
    "unknown-placeholder": "Nothing fills a placeholder in the goal.",
    "unknown-price": "What the model costs is not known, so no limit of dollars can be held.",
    "unknown-toolkit": "The server has no such toolkit.",
    "unused-input": "An input is not used in the goal. A warning.",
    "yaml-syntax": "This is not YAML.",
}
