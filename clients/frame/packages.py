"""`python3 -m clients.frame.packages`: the Debian packages that bring the toolchains that are
missing here.

It needs nothing but Python itself, so that a machine can be asked on which nothing has been
installed yet.
"""

from clients.frame.languages import languages


def main() -> None:
    wanted = {
        package for language in languages() if language.missing() for package in language.packages
    }
    print(*sorted(wanted))


if __name__ == "__main__":
    main()
