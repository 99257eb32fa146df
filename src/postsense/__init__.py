"""postsense classifies social-media posts made of a picture and a few words."""

__version__ = "0.1.0"
