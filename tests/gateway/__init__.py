"""The gateway: what it answers, over a real Temporal server and a stand-in for the runner."""
