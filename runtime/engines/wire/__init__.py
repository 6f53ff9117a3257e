"""Where what a hosted service sends enters: bytes to checked fields.

Nothing that a service says is believed before it went through here.  `session` reads a response
within bounds of size and time, and follows nobody elsewhere; `fields` reads what a body or a header
says, value by value, and tells what is wrong with it in plain words; `secrets` takes out what was
sent with a request and came back.
"""
