"""framehook: plugin-based video analytics.

Compose a `Pipeline`, run it over sources or push frames into a session, and read `FrameResult` records.

Each name, all listed in `__init__.pyi`, is imported when it is first used: `import framehook` itself costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
