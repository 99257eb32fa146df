"""`python -m postsense` is the command `postsense`."""

from postsense.cli import main

if __name__ == "__main__":
    main()
