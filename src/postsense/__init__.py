"""postsense classifies social-media posts made of a picture and a few words."""

from typing import TYPE_CHECKING, Any

from postsense.telemetry import switch_off

if TYPE_CHECKING:
    from postsense.estimator import PostClassifier

__all__ = ["PostClassifier", "__version__"]
__version__ = "0.1.0"
switch_off()  # here, since it must come before any library beneath is imported


def __getattr__(name: str) -> Any:
    """Import PostClassifier, and with it torch, only when somebody asks for it."""
    if name == "PostClassifier":
        from postsense.estimator import PostClassifier

        return PostClassifier
    raise AttributeError(f"module 'postsense' has no attribute '{name}'")
