"""`python -m postsense` is the command `postsense`."""

from postsense.commands.main import main

if __name__ == "__main__":
    main()
