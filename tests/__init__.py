import os
import sys

# What is compiled is kept, also where the environment says otherwise: pytest would rewrite all modules
# of tests in each worker, and every process that a test starts would compile the product anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
