"""Ask, look, stop: the one door for people and programs that do not own a terminal on the server.

Charter: the gateway starts runs by name, shows what Temporal knows of them and cancels them. It never
runs agent code, loads no vendor, keeps nothing that it could not ask Temporal for again, and changes no
task: git is the source. Of ours it imports `schemas` alone. Without authentication it serves the machine
it runs on and refuses everybody else.
"""
