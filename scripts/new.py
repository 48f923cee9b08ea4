"""Answer the questions and make a project that remembers its template, so that `cruft update` can renew it.

Usage: python scripts/new.py TEMPLATE FOLDER
"""

import logging
import sys
from pathlib import Path

from click.exceptions import Abort
from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cruft import create
from cruft.exceptions import CruftError


def main() -> None:
    """Make a project; a hook that refuses the answers has said all that there is to say."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    try:
        create(sys.argv[1], output_dir=Path(sys.argv[2]), no_input=False)
    except FailedHookException:
        sys.exit(1)
    except (Abort, EOFError, KeyboardInterrupt):
        sys.exit("\nnew: nothing was made")
    except (CookiecutterException, CruftError) as error:
        sys.exit(f"new: {error}")


if __name__ == "__main__":
    main()
