"""Write the reference pages: `python -m tests.documentation`."""

from tests.documentation.reference import build

if __name__ == "__main__":
    for path, text in build().items():
        path.write_text(text)
