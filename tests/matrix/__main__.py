"""Write the recorded results into the documentation: `python -m tests.matrix`."""

from tests.matrix.page import PAGE, fill
from tests.matrix.results import read

if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(), read()))
