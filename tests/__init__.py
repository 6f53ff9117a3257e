import os
import signal
import sys

# What is compiled is kept, also where the environment says otherwise: pytest would rewrite all modules
# of tests in each worker, and every process that a test starts would compile the product anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell starts what runs in its background deaf to Ctrl-C, and so would be every process of a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
