from snnconv.api import *  # noqa: F403 - the names of its __all__, which __init__.py gives lazily

__version__: str
