"""``python -m mltetris_cli`` is ``mltetris``."""

from mltetris_cli.main import main

if __name__ == "__main__":
    main()
