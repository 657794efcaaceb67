"""`python -m tradebox` and the `tradebox` command."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from tradebox.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
