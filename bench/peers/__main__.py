import sys

from bench.peers.environments import main

sys.exit(main())
