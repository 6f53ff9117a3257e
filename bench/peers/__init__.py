"""Other ways to do the orchestration benchmark's work, each a script that is run as a process.

`aiohttp_loop` and `openai_sdk` need what the project's own environment has.  The others are run in
a virtual environment of their own, below `.venvs`, and only where it is there:

    python -m bench.peers install datatrove
"""
