"""`python -m atts_harness` is `atts`."""

from atts_harness.cli import main

if __name__ == "__main__":
    main()
