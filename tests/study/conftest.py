"""Property tests on a busy machine: no deadline, the same examples every time, nothing left on disk."""

from hypothesis import settings

settings.register_profile("ml-suite", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("ml-suite")
