"""`python -m framefill` is the `framefill` command."""

import sys

from framefill.cli import main

sys.exit(main())
