"""Say in plain words when this Python is too old, before pip says it in many."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python a machine has
    sys.exit(
        "Puji needs Python 3.11 or newer; this is {}.{}. Try: make PYTHON=python3.12\n"
        "普及需要 Python 3.11 或更高版本;当前为 {}.{}。请尝试:make PYTHON=python3.12".format(
            *(sys.version_info[:2] * 2)
        )
    )
try:
    import ensurepip  # noqa: F401
except ImportError:
    sys.exit(
        "This Python has no venv: install it first (Debian/Ubuntu: apt install python3-venv).\n请先安装 python3-venv。"
    )
