"""The outside, one vendor per file. An adapter imports its vendor when it is first used, never sooner."""
