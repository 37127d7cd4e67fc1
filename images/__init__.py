"""The container images of the stack: the lock of references, and what is built locally.

``lock.json`` says which upstream image each service runs; ``local/<name>/`` builds an equivalent from
package registries alone (Debian, PyPI, Go modules); ``postgres/`` and ``probe/`` are built by the stack
itself on a pinned base. README.md tells how to use them.
"""

from pathlib import Path
from typing import Final

IMAGES_DIR: Final = Path(__file__).resolve().parent
PROJECT_DIR: Final = IMAGES_DIR.parent
LOCK_FILE: Final = IMAGES_DIR / "lock.json"
BUILT_FILE: Final = PROJECT_DIR / ".agentstack" / "images.json"
"""What the local builds produced: {name: {id, recipe, tag, stand_in}}."""
